#include "worker/model/decoder_weights.h"

#include <gtest/gtest.h>

#include "tests/worker/model/shard_cases.h"

namespace octet::worker {
namespace {

void ExpectSoundShape(const kernels::LinearShape& shape) {
  ASSERT_GE(shape.leaf_bounds.size(), 2u);
  EXPECT_EQ(shape.leaf_bounds.front(), 0);
  EXPECT_EQ(shape.leaf_bounds.back(), shape.inputs);
  EXPECT_EQ(shape.merges.size() + 1, shape.leaf_bounds.size());
  EXPECT_GE(shape.root_count(), 1);
}

TEST(DecoderShapes, FollowTheShard) {
  for (const ModelSpec& spec : RealSpecs()) {
    for (int64_t ranks = 1; ranks <= 8; ++ranks) {
      int64_t o_inputs = 0, down_inputs = 0, head_outputs = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const auto plan = ShardPlan::Make(spec, ranks, rank);
        ASSERT_TRUE(plan.ok());
        const DecoderShapes shapes = DecoderShapes::Make(spec, *plan, {});
        for (const auto* shape :
             {&shapes.qkv, &shapes.o, &shapes.gate_up, &shapes.down, &shapes.head}) {
          ExpectSoundShape(*shape);
        }
        EXPECT_EQ(shapes.qkv.outputs, (plan->heads() + 2 * plan->kv_heads()) * spec.head_dim);
        EXPECT_EQ(shapes.qkv.inputs, spec.hidden);
        EXPECT_EQ(shapes.qkv.root_count(), 1);
        EXPECT_EQ(shapes.gate_up.outputs, 2 * plan->ffn());
        EXPECT_EQ(shapes.o.outputs, spec.hidden);
        EXPECT_EQ(shapes.o.input_begin, o_inputs);
        EXPECT_EQ(shapes.down.input_begin, down_inputs);
        EXPECT_EQ(shapes.o.root_count(), plan->attention_exchange.roots_of_rank[rank]);
        EXPECT_EQ(shapes.down.root_count(), plan->ffn_exchange.roots_of_rank[rank]);
        EXPECT_EQ(shapes.head.format, kernels::WeightFormat::kInt8);
        EXPECT_EQ(shapes.down.format, kernels::WeightFormat::kInt4);
        o_inputs += shapes.o.inputs;
        down_inputs += shapes.down.inputs;
        head_outputs += shapes.head.outputs;
      }
      EXPECT_EQ(o_inputs, spec.heads * spec.head_dim);
      EXPECT_EQ(down_inputs, spec.ffn);
      EXPECT_EQ(head_outputs, spec.vocab);
    }
  }
}

TEST(WeightPlan, AddsUpWhatTheShapesTake) {
  ModelSpec spec = Demo();
  spec.qkv_bias = true;
  const auto plan = ShardPlan::Make(spec, 2, 1);
  ASSERT_TRUE(plan.ok());
  const WeightOptions options = {.layers = kernels::WeightFormat::kInt4,
                                 .head = kernels::WeightFormat::kInt8,
                                 .embedding = DType::kBF16,
                                 .group = 32};
  const DecoderShapes shapes = DecoderShapes::Make(spec, *plan, options);
  const WeightPlan bytes = WeightPlan::Make(spec, *plan, options);
  int64_t layer = 2 * 256 * 4 + 2 * shapes.qkv.outputs * 4;  // norms, biases and key guards
  for (const auto* shape : {&shapes.qkv, &shapes.o, &shapes.gate_up, &shapes.down}) {
    layer += AlignUp(kernels::PackedLinearBytes(*shape));
  }
  EXPECT_EQ(bytes.layer_bytes, spec.layers * layer);
  EXPECT_EQ(bytes.embedding_bytes, 2048 * 256 * 2);
  EXPECT_EQ(bytes.head_bytes, AlignUp(kernels::PackedLinearBytes(shapes.head)));
  EXPECT_EQ(bytes.norm_bytes, 256 * 4);
  EXPECT_EQ(bytes.bytes(),
            bytes.layer_bytes + bytes.embedding_bytes + bytes.head_bytes + bytes.norm_bytes);
}

TEST(WeightPlan, ARankWithoutVocabularyTakesNoneOfIt) {
  ModelSpec spec = Demo();
  spec.vocab = 512;
  const WeightPlan bytes = WeightPlan::Make(spec, *ShardPlan::Make(spec, 2, 1), {});
  EXPECT_EQ(bytes.embedding_bytes, 0);
  EXPECT_EQ(bytes.head_bytes, 0);
}

}  // namespace
}  // namespace octet::worker
