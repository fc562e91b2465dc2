#include "worker/model/decoder_weights.h"

#include "base/check.h"

namespace octet::worker {
namespace {

kernels::LinearShape MakeShape(kernels::WeightLayout layout, const KeptLinear& kept,
                               int64_t outputs, const SumTree& tree, LeafRange leaves) {
  using enum kernels::WeightLayout;
  kernels::LinearShape shape;
  shape.format = kept.format;
  shape.group = kept.group;
  shape.asymmetric = kept.asymmetric;
  shape.scale_format = kept.scale_format;
  const bool is_float = !kernels::IsQuantized(kept.format);
  shape.layout = layout == kCuda8 && is_float ? kCuda16 : layout;
  shape.outputs = outputs;
  shape.input_begin = tree.bounds()[leaves.begin];
  shape.inputs = tree.bounds()[leaves.end] - shape.input_begin;
  for (int64_t leaf = leaves.begin; leaf <= leaves.end; ++leaf) {
    shape.leaf_bounds.push_back(tree.bounds()[leaf] - shape.input_begin);
  }
  shape.merges = tree.MergesWithin(leaves);
  return shape;
}

int64_t FloatBytes(int64_t count) { return AlignUp(count * int64_t{sizeof(float)}); }

}  // namespace

std::string StoredLinears::Digest() const {
  std::string text = ordered_inputs ? "ordered;" : "";
  for (const std::optional<KeptLinear>* linear : {&qkv, &o, &gate_up, &down, &head}) {
    text += linear == &qkv ? "" : ";";
    if (!linear->has_value()) continue;
    for (const int64_t value :
         {static_cast<int64_t>((*linear)->format), (*linear)->group, int64_t{(*linear)->asymmetric},
          static_cast<int64_t>((*linear)->scale_format)}) {
      text += std::to_string(value) + " ";
    }
  }
  return text;
}

DecoderShapes DecoderShapes::Make(const ModelSpec& spec, const ShardPlan& shard,
                                  const WeightOptions& options) {
  const LeafRange whole = {0, shard.hidden_tree.leaf_count()};
  OCTET_CHECK_EQ(shard.hidden_tree.inputs(), spec.hidden);
  OCTET_CHECK_EQ(shard.ffn_tree.inputs(), spec.ffn);
  const kernels::WeightLayout layout = options.layout;
  const StoredLinears& stored = options.stored;
  const KeptLinear layers = {.format = options.layers, .group = options.group};
  const KeptLinear head = {.format = options.head, .group = options.group};
  DecoderShapes shapes;
  shapes.ordered_inputs = stored.ordered_inputs;
  shapes.qkv =
      MakeShape(layout, stored.qkv.value_or(layers),
                (shard.heads() + 2 * shard.kv_heads()) * spec.head_dim, shard.hidden_tree, whole);
  shapes.o = MakeShape(layout, stored.o.value_or(layers), spec.hidden, shard.attention_tree,
                       shard.attention_leaves);
  shapes.gate_up =
      MakeShape(layout, stored.gate_up.value_or(layers), 2 * shard.ffn(), shard.hidden_tree, whole);
  shapes.down = MakeShape(layout, stored.down.value_or(layers), spec.hidden, shard.ffn_tree,
                          shard.ffn_leaves);
  shapes.head =
      MakeShape(layout, stored.head.value_or(head), shard.vocab(), shard.hidden_tree, whole);
  return shapes;
}

WeightPlan WeightPlan::Make(const ModelSpec& spec, const ShardPlan& shard,
                            const WeightOptions& options) {
  const DecoderShapes shapes = DecoderShapes::Make(spec, shard, options);
  int64_t layer = 2 * FloatBytes(spec.hidden);  // both norms
  for (const kernels::LinearShape* shape :
       {&shapes.qkv, &shapes.o, &shapes.gate_up, &shapes.down}) {
    layer += AlignUp(PackedBytes(*shape));
  }
  if (spec.qkv_bias) layer += FloatBytes(shapes.qkv.outputs);
  if (spec.output_bias) layer += FloatBytes(spec.hidden);
  const int64_t orders = shapes.ordered_inputs ? 2 : 0;
  layer += orders * AlignUp(spec.hidden * int64_t{sizeof(int32_t)});
  const int64_t layer_parts = 6 + orders + (spec.qkv_bias ? 1 : 0) + (spec.output_bias ? 1 : 0);
  return {.layer_bytes = spec.layers * layer,
          .embedding_bytes = AlignUp(shard.vocab() * spec.hidden * DTypeBytes(options.embedding)),
          .head_bytes = AlignUp(PackedBytes(shapes.head)),
          .norm_bytes = FloatBytes(spec.hidden),
          .parts = spec.layers * layer_parts + 3};
}

int64_t PackedBytes(const kernels::LinearShape& shape) {
  return shape.outputs == 0 || shape.inputs == 0 ? 0 : kernels::PackedLinearBytes(shape);
}

}  // namespace octet::worker
