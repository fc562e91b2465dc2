#include "worker/weights/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>

#include "tests/worker/weights/decode_linear.h"
#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/float_rows.h"
#include "worker/weights/round_to_nearest.h"

namespace octet::worker {
namespace {

using kernels::LinearShape;
using kernels::NeutralRows;
using kernels::WeightFormat;

WeightOptions Options(WeightFormat layers, WeightFormat head, DType embedding) {
  return {.layers = layers, .head = head, .embedding = embedding, .group = 32};
}

// One rank of `made`.
Result<DecoderWeights> Load(const MadeCheckpoint& made, int64_t ranks, int64_t rank,
                            const WeightOptions& options, int threads = 1) {
  OCTET_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(made.folder.path()));
  OCTET_ASSIGN_OR_RETURN(const ShardPlan shard, ShardPlan::Make(made.spec, ranks, rank));
  ThreadPool pool(threads);
  return LoadDecoderWeights(checkpoint, made.spec, shard, options, pool, nullptr);
}

// Rows of one unsharded matrix.
struct Part {
  std::string tensor;
  int64_t begin = 0;
  int64_t end = 0;
};

// What `shape` must hold: each row quantized whole, then cut to the shard's columns.
std::vector<std::byte> Expected(const MadeCheckpoint& made, const LinearShape& shape,
                                int64_t inputs, const std::vector<Part>& parts) {
  LinearShape whole = shape;
  whole.inputs = inputs;
  whole.input_begin = 0;
  std::vector<std::byte> packed(PackedBytes(shape));
  int64_t packed_row = 0;
  for (const Part& part : parts) {
    for (int64_t row = part.begin; row < part.end; ++row, ++packed_row) {
      const float* values = made.values.at(part.tensor).data() + row * inputs;
      NeutralRows rows;
      rows.rows = 1;
      if (kernels::IsQuantized(shape.format)) {
        std::vector<uint8_t> codes(inputs);
        std::vector<float> scales(whole.group_count());
        EXPECT_TRUE(QuantizeRow(whole, inputs, values, codes.data(), scales.data()));
        const auto code = codes.begin() + shape.input_begin;
        const auto scale = scales.begin() + shape.group_begin();
        rows.codes.assign(code, code + shape.inputs);
        rows.scales.assign(scale, scale + shape.group_count());
      } else {
        rows.values.resize(shape.inputs * DTypeBytes(DTypeOf(shape.format)));
        EXPECT_TRUE(FromFloats(DTypeOf(shape.format), values + shape.input_begin, shape.inputs,
                               reinterpret_cast<std::byte*>(rows.values.data())));
      }
      kernels::PackLinearRows(shape, packed_row, rows, packed.data());
    }
  }
  EXPECT_EQ(packed_row, shape.outputs);
  return packed;
}

void ExpectPacked(const MadeCheckpoint& made, const LinearShape& shape, const std::byte* packed,
                  int64_t inputs, const std::vector<Part>& parts) {
  const std::vector<std::byte> expected = Expected(made, shape, inputs, parts);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), packed)) << parts.front().tensor;
}

void ExpectFloats(const MadeCheckpoint& made, const float* found, const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    for (int64_t i = part.begin; i < part.end; ++i) {
      ASSERT_EQ(*found++, made.values.at(part.tensor)[i]) << part.tensor << " " << i;
    }
  }
}

void ExpectLayer(const MadeCheckpoint& made, const ShardPlan& shard, const DecoderWeights& loaded,
                 int64_t index) {
  const ModelSpec& spec = made.spec;
  const LayerWeights& layer = loaded.layers[index];
  const DecoderShapes& shapes = loaded.shapes;
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  const int64_t hd = spec.head_dim;
  const auto attention = [&](const std::string& suffix) {
    return std::vector<Part>{
        {prefix + "self_attn.q_proj" + suffix, shard.head_begin * hd, shard.head_end * hd},
        {prefix + "self_attn.k_proj" + suffix, shard.kv_head_begin * hd, shard.kv_head_end * hd},
        {prefix + "self_attn.v_proj" + suffix, shard.kv_head_begin * hd, shard.kv_head_end * hd}};
  };
  ExpectPacked(made, shapes.qkv, layer.qkv, spec.hidden, attention(".weight"));
  ExpectPacked(made, shapes.o, layer.o, spec.heads * hd,
               {{prefix + "self_attn.o_proj.weight", 0, spec.hidden}});
  ExpectPacked(made, shapes.gate_up, layer.gate_up, spec.hidden,
               {{prefix + "mlp.gate_proj.weight", shard.ffn_begin, shard.ffn_end},
                {prefix + "mlp.up_proj.weight", shard.ffn_begin, shard.ffn_end}});
  ExpectPacked(made, shapes.down, layer.down, spec.ffn,
               {{prefix + "mlp.down_proj.weight", 0, spec.hidden}});
  ExpectFloats(made, layer.attention_norm.weight,
               {{prefix + "input_layernorm.weight", 0, spec.hidden}});
  ExpectFloats(made, layer.mlp_norm.weight,
               {{prefix + "post_attention_layernorm.weight", 0, spec.hidden}});
  ASSERT_EQ(layer.qkv_bias != nullptr, spec.qkv_bias);
  if (spec.qkv_bias) ExpectFloats(made, layer.qkv_bias, attention(".bias"));
  ASSERT_EQ(layer.o_bias != nullptr, spec.output_bias);
  if (spec.output_bias) {
    ExpectFloats(made, layer.o_bias, {{prefix + "self_attn.o_proj.bias", 0, spec.hidden}});
  }
}

void ExpectWhole(const MadeCheckpoint& made, int64_t ranks, const WeightOptions& options) {
  const std::string table = "model.embed_tokens.weight";
  for (int64_t rank = 0; rank < ranks; ++rank) {
    SCOPED_TRACE("rank " + std::to_string(rank) + " of " + std::to_string(ranks));
    const auto loaded = Load(made, ranks, rank, options);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    const auto shard = ShardPlan::Make(made.spec, ranks, rank);
    EXPECT_EQ(loaded->arena.taken_bytes(), WeightPlan::Make(made.spec, *shard, options).bytes());
    for (int64_t layer = 0; layer < made.spec.layers; ++layer) {
      ExpectLayer(made, *shard, *loaded, layer);
    }
    ExpectFloats(made, loaded->final_norm.weight, {{"model.norm.weight", 0, made.spec.hidden}});
    ExpectPacked(made, loaded->shapes.head, loaded->head, made.spec.hidden,
                 {{made.spec.tied_embeddings ? table : "lm_head.weight", shard->vocab_begin,
                   shard->vocab_end}});
    EXPECT_EQ(loaded->embedding_dtype, made.dtype);
    std::vector<float> rows(shard->vocab() * made.spec.hidden);
    ToFloats(made.dtype, loaded->embedding, static_cast<int64_t>(rows.size()), rows.data());
    ExpectFloats(
        made, rows.data(),
        {{table, shard->vocab_begin * made.spec.hidden, shard->vocab_end * made.spec.hidden}});
  }
}

TEST(LoadDecoderWeights, EveryShardHoldsItsCutOfTheWhole) {
  const MadeCheckpoint qwen2(SmallConfig(true), DType::kBF16);
  const WeightOptions int4 = Options(WeightFormat::kInt4, WeightFormat::kInt8, DType::kBF16);
  for (int64_t ranks = 1; ranks <= 8; ++ranks) ExpectWhole(qwen2, ranks, int4);
}

TEST(LoadDecoderWeights, EveryFormatFromEveryType) {
  for (const DType stored : {DType::kF32, DType::kF16, DType::kBF16}) {
    const MadeCheckpoint llama(SmallConfig(false), stored);
    for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16,
                                      WeightFormat::kInt8, WeightFormat::kInt4}) {
      ExpectWhole(llama, 3, Options(format, format, stored));
    }
  }
}

TEST(LoadDecoderWeights, AllFourBiasesWhereAttentionBiasSaysSo) {
  nlohmann::json config = SmallConfig(false);
  config["attention_bias"] = true;
  const MadeCheckpoint llama(config, DType::kF32);
  EXPECT_TRUE(llama.spec.output_bias);
  ExpectWhole(llama, 2, Options(WeightFormat::kInt8, WeightFormat::kInt8, DType::kF32));
}

// Through the kernel's own reading of the packed form, not through the packer alone.
TEST(LoadDecoderWeights, TheKernelReadsWhatWasStored) {
  const MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  const auto loaded =
      Load(made, 3, 1, Options(WeightFormat::kBF16, WeightFormat::kInt8, DType::kBF16));
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const LinearShape& shape = loaded->shapes.down;
  const std::vector<float> decoded = DecodeLinear(shape, loaded->layers[1].down);
  const std::vector<float>& stored = made.values.at("model.layers.1.mlp.down_proj.weight");
  for (int64_t n = 0; n < shape.outputs; ++n) {
    for (int64_t k = 0; k < shape.inputs; ++k) {
      ASSERT_EQ(decoded[n * shape.inputs + k], stored[n * made.spec.ffn + shape.input_begin + k]);
    }
  }
  const LinearShape& head = loaded->shapes.head;
  const std::vector<float> logits = DecodeLinear(head, loaded->head);
  const int64_t vocab_begin = ShardPlan::Make(made.spec, 3, 1)->vocab_begin;
  float worst = 0.0f;
  for (int64_t i = 0; i < head.outputs * head.inputs; ++i) {
    const float value = made.values.at("lm_head.weight")[vocab_begin * made.spec.hidden + i];
    worst = std::max(worst, std::fabs(logits[i] - value));
  }
  EXPECT_LT(worst, 0.3f / 127.0f);  // values stay below 0.3: six deviations
}

TEST(LoadDecoderWeights, BytesDoNotDependOnTheThreads) {
  const MadeCheckpoint made(SmallConfig(true), DType::kF16);
  const WeightOptions int4 = Options(WeightFormat::kInt4, WeightFormat::kInt8, DType::kF16);
  const auto one = Load(made, 2, 0, int4, 1);
  const auto four = Load(made, 2, 0, int4, 4);
  ASSERT_TRUE(one.ok() && four.ok());
  EXPECT_EQ(std::memcmp(one->layers[0].attention_norm.weight, four->layers[0].attention_norm.weight,
                        one->arena.taken_bytes()),
            0);
}

TEST(LoadDecoderWeights, ReportsGrowingProgress) {
  const MadeCheckpoint made(SmallConfig(false), DType::kBF16);
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  const auto shard = ShardPlan::Make(made.spec, 2, 0);
  ThreadPool pool(1);
  std::vector<double> fractions;
  const auto loaded =
      LoadDecoderWeights(*checkpoint, made.spec, *shard,
                         Options(WeightFormat::kInt4, WeightFormat::kInt8, DType::kBF16), pool,
                         [&](double fraction) { fractions.push_back(fraction); });
  ASSERT_TRUE(loaded.ok());
  EXPECT_GT(fractions.size(), 10u);
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_EQ(fractions.back(), 1.0);
  EXPECT_EQ(std::count(fractions.begin(), fractions.end(), 1.0), 1);
  // Never silent for longer than a batch takes; the embedding counts too.
  const int64_t elements =
      made.spec.vocab * made.spec.hidden * 2 +
      made.spec.layers * made.spec.hidden *
          (3 * made.spec.ffn + 2 * (made.spec.heads + made.spec.kv_heads) * made.spec.head_dim);
  double before = 0;
  for (const double fraction : fractions) {
    // Half of the elements, on one of two ranks, and as much again for shares that are uneven.
    EXPECT_LE((fraction - before) * static_cast<double>(elements) / 2, 2 * kLoadBatchElements);
    before = fraction;
  }
}

}  // namespace
}  // namespace octet::worker
