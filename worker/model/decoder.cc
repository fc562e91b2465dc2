#include "worker/model/decoder.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/device/device.h"
#include "kernels/activation/activation.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather/gather.h"
#include "kernels/kv_cache/rope_append.h"
#include "kernels/norm/head_norm.h"
#include "kernels/rope/rope.h"
#include "worker/model/all_reduce_norm.h"

namespace octet::worker {

Decoder::Decoder(const ModelSpec& spec, const ShardPlan& shard, const DecoderWeights& weights,
                 const DecoderOptions& options, const DecoderBuffers& buffers,
                 comm::Communicator* comm, Stream* stream)
    : spec_(spec),
      shard_(shard),
      weights_(weights),
      options_(options),
      buffers_(buffers),
      comm_(comm),
      stream_(stream) {
  OCTET_CHECK_EQ(static_cast<int64_t>(weights.layers.size()), spec.layers);
  if (spec.rotary_dim() == 0 || spec.rope.depends_on_length()) return;
  const std::vector<float> frequencies = spec.rope.InverseFrequencies(spec.head_dim);
  CopyToDevice(buffers_.inverse_frequency, frequencies.data(),
               static_cast<int64_t>(frequencies.size() * sizeof(float)), *stream);
  Synchronize(*stream);
}

kernels::PackedLinear Decoder::FirstOf(int64_t layer) const {
  if (layer == spec_.layers) return {&weights_.shapes.head, weights_.head};
  return {&weights_.shapes.qkv, weights_.layers[layer].qkv};
}

void Decoder::Project(const kernels::PackedLinear& linear, const float* bias, const float* x,
                      const kernels::ActivationRows& x_rows, int64_t rows, float* out,
                      const kernels::PackedLinear& next) {
  kernels::Linear({.shape = linear.shape,
                   .weights = linear.weights,
                   .x = x,
                   .x_stride = linear.shape->inputs,
                   .rows = rows,
                   .bias = bias,
                   .out = out,
                   .activation = options_.activations,
                   .workspace = buffers_.workspace,
                   .activations = x_rows,
                   .arrivals = buffers_.arrivals,
                   .next = next},
                  *stream_);
}

float* Decoder::RootsFor(const ExchangeTree& tree, int64_t rows) {
  float* place = comm_->RootsPlace(tree, rows * spec_.hidden);
  return place != nullptr ? place : buffers_.roots;
}

const LinearInput& Decoder::Ordered(const int32_t* order, int64_t rows) {
  if (order == nullptr) return buffers_.normed;
  const LinearInput& ordered = buffers_.ordered;
  kernels::GatherColumns({.x = buffers_.normed.values,
                          .order = order,
                          .y = ordered.values,
                          .rows = rows,
                          .width = spec_.hidden,
                          .y_stride = ordered.values_stride(),
                          .x_width = spec_.hidden},
                         *stream_);
  return ordered;
}

void Decoder::ProjectAttention(const LayerWeights& layer, int64_t rows, float* roots) {
  const DecoderBuffers& b = buffers_;
  const kernels::LinearShape& shape = weights_.shapes.o;
  const kernels::PackedLinear o = {&shape, layer.o};
  const kernels::PackedLinear next = {&weights_.shapes.gate_up, layer.gate_up};
  if (layer.o_order == nullptr) return Project(o, nullptr, b.attention, rows, roots, next);
  kernels::GatherColumns({.x = b.attention.values,
                          .order = layer.o_order,
                          .y = b.attention_places,
                          .rows = rows,
                          .width = shape.inputs,
                          .y_stride = shape.inputs,
                          .x_width = shard_.heads() * spec_.head_dim},
                         *stream_);
  Project(o, nullptr, b.attention_places, {}, rows, roots, next);
}

const float* Decoder::AttentionBlock(const LayerWeights& layer, const ForwardBatch& batch,
                                     std::byte* cache) {
  const DecoderBuffers& b = buffers_;
  const int64_t head_dim = spec_.head_dim;
  const int64_t q_width = shard_.heads() * head_dim;
  const int64_t kv_width = shard_.kv_heads() * head_dim;
  const int64_t stride = q_width + 2 * kv_width;

  Project({&weights_.shapes.qkv, layer.qkv}, layer.qkv_bias, Ordered(layer.qkv_order, batch.rows),
          batch.rows, b.qkv, {&weights_.shapes.o, layer.o});
  if (layer.q_norm != nullptr) {
    kernels::HeadNorm({.x = b.qkv,
                       .x_stride = stride,
                       .q_weight = layer.q_norm,
                       .k_weight = layer.k_norm,
                       .rows = batch.rows,
                       .heads = shard_.heads(),
                       .kv_heads = shard_.kv_heads(),
                       .head_dim = head_dim,
                       .eps = static_cast<float>(spec_.norm_eps)},
                      *stream_);
  }
  kernels::RopeAppendKv({.layout = options_.kv,
                         .cache = cache,
                         .qkv = b.qkv,
                         .stride = stride,
                         .cos = b.cos,
                         .sin = b.sin,
                         .slots = batch.cache_slots,
                         .rows = batch.rows,
                         .heads = shard_.heads(),
                         .rotary_dim = spec_.rotary_dim(),
                         .static_pairs = layer.kv_scales,
                         .key_guard = layer.kv_scales != nullptr ? nullptr : layer.key_guard,
                         .query_scale = batch.query_scales},
                        *stream_);
  kernels::Attention({.layout = options_.kv,
                      .cache = cache,
                      .q = b.qkv,
                      .q_stride = stride,
                      .out = b.attention.ValuesUnlessRows(),
                      .out_stride = q_width,
                      .sequences = batch.sequences,
                      .groups = shard_.head_groups,
                      .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))),
                      .window = spec_.sliding_window,
                      .workspace = b.attention_workspace,
                      .plan = batch.attention_plan,
                      .block_tables = batch.block_tables,
                      .y = b.attention.Rows(batch.rows)},
                     *stream_);
  float* roots = RootsFor(shard_.attention_exchange, batch.rows);
  ProjectAttention(layer, batch.rows, roots);
  return roots;
}

void Decoder::Activate(int64_t rows) {
  const DecoderBuffers& b = buffers_;
  float* const y = b.gated.ValuesUnlessRows();
  const kernels::ActivationRows out = b.gated.Rows(rows);
  if (spec_.has_gate()) {
    kernels::SiluMul(
        {.gate_up = b.gate_up, .y = y, .rows = rows, .width = shard_.ffn(), .out = out}, *stream_);
  } else {
    kernels::Relu({.x = b.gate_up, .y = y, .rows = rows, .width = shard_.ffn(), .out = out},
                  *stream_);
  }
}

const float* Decoder::MlpBlock(const LayerWeights& layer, int64_t rows,
                               const kernels::PackedLinear& next) {
  const DecoderBuffers& b = buffers_;
  const kernels::PackedLinear down = {&weights_.shapes.down, layer.down};
  Project({&weights_.shapes.gate_up, layer.gate_up}, layer.gate_up_bias,
          Ordered(layer.gate_up_order, rows), rows, b.gate_up, down);
  Activate(rows);
  float* roots = RootsFor(shard_.ffn_exchange, rows);
  Project(down, nullptr, b.gated, rows, roots, next);
  return roots;
}

// The rows' tokens into the residual stream, and the angles of their positions.
void Decoder::Embed(const ForwardBatch& batch) {
  const DecoderBuffers& b = buffers_;
  const int64_t rows = batch.rows;
  float* roots = RootsFor(shard_.embedding_exchange, rows);
  kernels::Embedding({.table = weights_.embedding,
                      .dtype = weights_.embedding_dtype,
                      .token_begin = shard_.vocab_begin,
                      .token_end = shard_.vocab_end,
                      .tokens = batch.tokens,
                      .out = roots,
                      .rows = rows,
                      .hidden = spec_.hidden},
                     *stream_);
  comm_->TreeAllReduce(shard_.embedding_exchange, roots, b.residual, rows * spec_.hidden, *stream_);
  if (spec_.position_rows > 0) {
    kernels::AddPositions({.table = weights_.positions,
                           .dtype = weights_.embedding_dtype,
                           .table_rows = spec_.position_rows,
                           .offset = spec_.position_offset,
                           .positions = batch.positions,
                           .x = b.residual,
                           .rows = rows,
                           .hidden = spec_.hidden},
                          *stream_);
    return;
  }
  const bool own_tables = spec_.rope.depends_on_length();
  kernels::RopeAngles({.positions = batch.positions,
                       .inverse_frequency = own_tables ? batch.rope_tables : b.inverse_frequency,
                       .magnitude = static_cast<float>(spec_.rope.magnitude),
                       .cos = b.cos,
                       .sin = b.sin,
                       .rows = rows,
                       .rotary_dim = spec_.head_dim,
                       .table_of_row = own_tables ? batch.slots : nullptr},
                      *stream_);
}

// All but the norm's own weights and delta.
kernels::AddNormArgs Decoder::NormArgsOf(int64_t rows) const {
  return {.residual = buffers_.residual,
          .y = buffers_.normed.ValuesUnlessRows(),
          .rows = rows,
          .hidden = spec_.hidden,
          .eps = static_cast<float>(spec_.norm_eps),
          .out = buffers_.normed.Rows(rows),
          .centered = spec_.norm == NormType::kLayer};
}

void Decoder::Forward(const ForwardBatch& batch, std::byte* cache) {
  const DecoderBuffers& b = buffers_;
  const int64_t layer_cache_bytes = options_.blocks * options_.kv.block_bytes();
  Embed(batch);
  kernels::AddNormArgs norm = NormArgsOf(batch.rows);
  kernels::Norm({.x = b.residual,
                 .weight = weights_.layers[0].attention_norm.weight,
                 .y = norm.y,
                 .rows = norm.rows,
                 .hidden = norm.hidden,
                 .eps = norm.eps,
                 .out = norm.out,
                 .centered = norm.centered,
                 .bias = weights_.layers[0].attention_norm.bias},
                *stream_);
  const auto add_norm = [&](const ExchangeTree& tree, const float* roots, const float* delta_bias,
                            const NormWeights& weights) {
    norm.delta_bias = delta_bias;
    norm.weight = weights.weight;
    norm.bias = weights.bias;
    TreeAllReduceAddNorm(*comm_, {.tree = &tree, .roots = roots, .delta = b.delta, .norm = norm},
                         *stream_);
  };
  for (int64_t i = 0; i < spec_.layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    const float* attention = AttentionBlock(layer, batch, cache + i * layer_cache_bytes);
    add_norm(shard_.attention_exchange, attention, layer.o_bias, layer.mlp_norm);

    const float* mlp = MlpBlock(layer, batch.rows, FirstOf(i + 1));
    const bool is_last = i + 1 == spec_.layers;
    if (is_last) {  // f32 for the head, which reads few of the rows
      norm.y = b.normed.values;
      norm.out = {};
    }
    add_norm(shard_.ffn_exchange, mlp, layer.down_bias,
             is_last ? weights_.final_norm : weights_.layers[i + 1].attention_norm);
  }
}

void Decoder::Head(const float* hidden, int64_t rows, float* logits) {
  kernels::ActivationRows hidden_rows;
  hidden_rows.values = const_cast<float*>(hidden);
  hidden_rows.stride = spec_.hidden;
  Project(FirstOf(spec_.layers), nullptr, hidden, hidden_rows, rows, logits, FirstOf(0));
}

int64_t Decoder::WorkspaceBytes(const DecoderShapes& shapes, kernels::ActivationFormat activations,
                                int64_t rows, int64_t head_rows) {
  using kernels::ActivationFormat;
  const auto linear = [&](const kernels::LinearShape& shape, int64_t shape_rows,
                          ActivationFormat format) {
    return kernels::LinearWorkspaceBytes(shape, activations, shape_rows, format);
  };
  const auto fed = [&](const kernels::LinearShape& shape) {
    return linear(shape, rows, RowsFormat(shape));
  };
  const auto normed = [&](const kernels::LinearShape& shape) {
    return shapes.ordered_inputs ? linear(shape, rows, ActivationFormat::kF32) : fed(shape);
  };
  // Attention and the final norm write f32 for linears that read int8, and for the head.
  const bool o_is_int8 = RowsFormat(shapes.o) == ActivationFormat::kInt8;
  const int64_t o = o_is_int8 ? linear(shapes.o, rows, ActivationFormat::kF32) : fed(shapes.o);
  return std::max({normed(shapes.qkv), o, normed(shapes.gate_up), fed(shapes.down),
                   linear(shapes.head, head_rows, ActivationFormat::kF32)});
}

int64_t Decoder::RootsMax(const ShardPlan& shard) {
  return std::max<int64_t>({1, shard.attention_exchange.roots_of_rank[shard.rank],
                            shard.ffn_exchange.roots_of_rank[shard.rank]});
}

}  // namespace octet::worker
