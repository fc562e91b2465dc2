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

// As MakeShape, over places instead of inputs.
kernels::LinearShape MakeRunsShape(const KeptRuns& runs, int64_t outputs, const SumTree& tree,
                                   LeafRange leaves) {
  kernels::LinearShape shape =
      MakeShape(kernels::WeightLayout::kCpuPanels, runs.linear, outputs, tree, leaves);
  for (size_t leaf = 0; leaf < shape.leaf_bounds.size(); ++leaf)
    shape.leaf_bounds[leaf] = static_cast<int64_t>(leaf) * runs.leaf_places;
  shape.input_begin = leaves.begin * runs.leaf_places;
  shape.inputs = shape.leaf_bounds.back();
  return shape;
}

// What is asked of the arena, one part after the other.
struct Parts {
  int64_t bytes = 0;
  int64_t count = 0;

  void Add(int64_t part_bytes) {
    bytes += AlignUp(part_bytes);
    ++count;
  }
  void AddFloats(int64_t floats) { Add(floats * int64_t{sizeof(float)}); }
  void AddNorm(const ModelSpec& spec) {
    AddFloats(spec.hidden);
    if (spec.norm == NormType::kLayer) AddFloats(spec.hidden);
  }
};

Parts PartsOfLayer(const ModelSpec& spec, const DecoderShapes& shapes) {
  Parts parts;
  parts.AddNorm(spec);
  parts.AddNorm(spec);
  for (const kernels::LinearShape* shape :
       {&shapes.qkv, &shapes.o, &shapes.gate_up, &shapes.down}) {
    parts.Add(PackedBytes(*shape));
  }
  if (spec.qkv_bias) parts.AddFloats(shapes.qkv.outputs);
  if (shapes.o_in_runs) parts.Add(shapes.o.inputs * int64_t{sizeof(int32_t)});
  if (spec.output_bias) parts.AddFloats(spec.hidden);
  if (spec.gate_up_bias) parts.AddFloats(shapes.gate_up.outputs);
  if (spec.down_bias) parts.AddFloats(spec.hidden);
  if (spec.qk_norm) {
    parts.AddFloats(spec.head_dim);
    parts.AddFloats(spec.head_dim);
  }
  return parts;
}

}  // namespace

std::string StoredLinears::Digest() const {
  std::string text = ordered_inputs ? "ordered;" : "";
  if (o_runs.has_value()) text += "runs of " + std::to_string(o_runs->leaf_places) + ";";
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
  shapes.o_in_runs = stored.o_runs.has_value() && layout == kernels::WeightLayout::kCpuPanels;
  shapes.o = shapes.o_in_runs ? MakeRunsShape(*stored.o_runs, spec.hidden, shard.attention_tree,
                                              shard.attention_leaves)
                              : MakeShape(layout, stored.o.value_or(layers), spec.hidden,
                                          shard.attention_tree, shard.attention_leaves);
  shapes.gate_up = MakeShape(layout, stored.gate_up.value_or(layers),
                             (spec.has_gate() ? 2 : 1) * shard.ffn(), shard.hidden_tree, whole);
  shapes.down = MakeShape(layout, stored.down.value_or(layers), spec.hidden, shard.ffn_tree,
                          shard.ffn_leaves);
  shapes.head =
      MakeShape(layout, stored.head.value_or(head), shard.vocab(), shard.hidden_tree, whole);
  return shapes;
}

WeightPlan WeightPlan::Make(const ModelSpec& spec, const ShardPlan& shard,
                            const WeightOptions& options) {
  const DecoderShapes shapes = DecoderShapes::Make(spec, shard, options);
  const int64_t row_bytes = spec.hidden * DTypeBytes(options.embedding);
  Parts layer = PartsOfLayer(spec, shapes);
  if (HasKeyGuard(spec)) layer.AddFloats(shapes.qkv.outputs);
  if (options.static_kv) layer.Add(KvScaleBytes(shard));
  for (int i = 0; shapes.ordered_inputs && i < 2; ++i)
    layer.Add(spec.hidden * int64_t{sizeof(int32_t)});
  Parts embedding, positions, head, norm;
  embedding.Add(shard.vocab() * row_bytes);
  if (spec.position_rows > 0) positions.Add(spec.position_rows * row_bytes);
  head.Add(PackedBytes(shapes.head));
  norm.AddNorm(spec);
  return {.layer_bytes = spec.layers * layer.bytes,
          .embedding_bytes = embedding.bytes,
          .head_bytes = head.bytes,
          .position_bytes = positions.bytes,
          .norm_bytes = norm.bytes,
          .parts = spec.layers * layer.count + embedding.count + positions.count + head.count +
                   norm.count};
}

bool HasKeyGuard(const ModelSpec& spec) {
  return spec.qkv_bias && !spec.qk_norm && spec.rotary_dim() > 0;
}

int64_t KvScaleBytes(const ShardPlan& shard) {
  return shard.kv_heads() * 4 * static_cast<int64_t>(sizeof(uint16_t));
}

int64_t PackedBytes(const kernels::LinearShape& shape) {
  return shape.outputs == 0 || shape.inputs == 0 ? 0 : kernels::PackedLinearBytes(shape);
}

}  // namespace octet::worker
