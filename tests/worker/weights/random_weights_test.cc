#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/worker/weights/decode_linear.h"
#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

using kernels::LinearShape;
using kernels::WeightFormat;

ModelSpec SmallSpec() {
  ModelSpec spec = *SpecFromConfig(SmallConfig(true).dump());
  spec.layers = 1;
  return spec;
}

struct Rank {
  ShardPlan shard;
  DecoderWeights weights;
};

Rank MakeRank(const ModelSpec& spec, int64_t ranks, int64_t rank, WeightFormat format,
              uint64_t seed = 9) {
  ThreadPool pool(2);
  Rank made = {*ShardPlan::Make(spec, ranks, rank), {}};
  made.weights = MakeRandomWeights(spec, made.shard,
                                   {.layers = format, .head = format, .group = 32}, seed, pool);
  return made;
}

TEST(MakeRandomWeights, AllDegreesHaveTheSameModel) {
  const ModelSpec spec = SmallSpec();
  for (const WeightFormat format :
       {WeightFormat::kInt4, WeightFormat::kInt8, WeightFormat::kBF16}) {
    const Rank whole = MakeRank(spec, 1, 0, format);
    const LinearShape& down = whole.weights.shapes.down;
    const std::vector<float> whole_down = DecodeLinear(down, whole.weights.layers[0].down);
    const std::vector<float> whole_qkv =
        DecodeLinear(whole.weights.shapes.qkv, whole.weights.layers[0].qkv);
    for (int64_t rank = 0; rank < 3; ++rank) {
      const Rank part = MakeRank(spec, 3, rank, format);
      const LinearShape& shape = part.weights.shapes.down;
      const std::vector<float> part_down = DecodeLinear(shape, part.weights.layers[0].down);
      for (int64_t n = 0; n < shape.outputs; ++n) {
        for (int64_t k = 0; k < shape.inputs; ++k) {
          ASSERT_EQ(part_down[n * shape.inputs + k],
                    whole_down[n * down.inputs + shape.input_begin + k]);
        }
      }
      // The rows of k begin after this rank's query heads.
      const std::vector<float> part_qkv =
          DecodeLinear(part.weights.shapes.qkv, part.weights.layers[0].qkv);
      const int64_t part_row = part.shard.heads() * spec.head_dim;
      const int64_t whole_row = (spec.heads + part.shard.kv_head_begin) * spec.head_dim;
      for (int64_t i = 0; i < spec.head_dim * spec.hidden; ++i) {
        ASSERT_EQ(part_qkv[part_row * spec.hidden + i], whole_qkv[whole_row * spec.hidden + i]);
      }
      const float* whole_bias = whole.weights.layers[0].qkv_bias;
      EXPECT_EQ(part.weights.layers[0].qkv_bias[part_row], whole_bias[whole_row]);
      EXPECT_EQ(std::memcmp(part.weights.embedding,
                            whole.weights.embedding + part.shard.vocab_begin * spec.hidden * 2,
                            part.shard.vocab() * spec.hidden * 2),
                0);
    }
  }
}

TEST(MakeRandomWeights, MeanIsZeroAndVarianceOneOverInputs) {
  const ModelSpec spec = SmallSpec();
  for (const WeightFormat format : {WeightFormat::kInt4, WeightFormat::kInt8, WeightFormat::kF32}) {
    const Rank made = MakeRank(spec, 1, 0, format);
    const std::vector<float> down =
        DecodeLinear(made.weights.shapes.down, made.weights.layers[0].down);
    double sum = 0.0, squares = 0.0;
    for (const float weight : down) {
      sum += weight;
      squares += double{weight} * weight;
    }
    const auto count = static_cast<double>(down.size());
    const double deviation = 1.0 / std::sqrt(static_cast<double>(spec.ffn));
    EXPECT_NEAR(sum / count, 0.0, 0.01 * deviation);
    EXPECT_NEAR(std::sqrt(squares / count), deviation, 0.03 * deviation);
  }
}

TEST(MakeRandomWeights, DependOnTheSeed) {
  const ModelSpec spec = SmallSpec();
  const Rank a = MakeRank(spec, 1, 0, WeightFormat::kInt4, 1);
  const Rank b = MakeRank(spec, 1, 0, WeightFormat::kInt4, 1);
  const Rank c = MakeRank(spec, 1, 0, WeightFormat::kInt4, 2);
  const auto same = [](const Rank& x, const Rank& y) {
    return std::memcmp(x.weights.layers[0].attention_norm.weight,
                       y.weights.layers[0].attention_norm.weight,
                       x.weights.arena.taken_bytes()) == 0;
  };
  EXPECT_TRUE(same(a, b));
  EXPECT_FALSE(same(a, c));
}

}  // namespace
}  // namespace octet::worker
