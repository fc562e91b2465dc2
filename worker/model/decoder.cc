#include "worker/model/decoder.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/device/device.h"
#include "kernels/activation/activation.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather/gather.h"
#include "kernels/kv_cache/rope_append.h"
#include "kernels/norm/norm.h"
#include "kernels/rope/rope.h"

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
  const std::vector<float> frequencies = spec.rope.InverseFrequencies(spec.head_dim);
  CopyToDevice(buffers_.inverse_frequency, frequencies.data(),
               static_cast<int64_t>(frequencies.size() * sizeof(float)), *stream);
  Synchronize(*stream);
}

void Decoder::Project(const kernels::LinearShape& shape, const std::byte* weights,
                      const float* bias, const float* x, const kernels::ActivationRows& x_rows,
                      int64_t rows, float* out) {
  kernels::Linear({.shape = &shape,
                   .weights = weights,
                   .x = x,
                   .x_stride = shape.inputs,
                   .rows = rows,
                   .bias = bias,
                   .out = out,
                   .activation = options_.activations,
                   .workspace = buffers_.workspace,
                   .activations = x_rows},
                  *stream_);
}

// A root that is alone is the sum, and a device reads it where it is.
const float* Decoder::SumOfRoots(const ExchangeTree& tree, int64_t rows) {
  const int64_t count = rows * spec_.hidden;
  const bool is_alone = tree.merges.size() == 1;
  const float* root =
      is_alone ? comm_->GatherRoots(tree, buffers_.roots, count, *stream_) : nullptr;
  if (root != nullptr) return root;
  comm_->TreeAllReduce(tree, buffers_.roots, buffers_.delta, count, *stream_);
  return buffers_.delta;
}

const LinearInput& Decoder::Ordered(const int32_t* order, int64_t rows) {
  if (order == nullptr) return buffers_.normed;
  const LinearInput& ordered = buffers_.ordered;
  kernels::GatherColumns({.x = buffers_.normed.values,
                          .order = order,
                          .y = ordered.values,
                          .rows = rows,
                          .width = spec_.hidden,
                          .y_stride = ordered.values_stride()},
                         *stream_);
  return ordered;
}

const float* Decoder::AttentionBlock(const LayerWeights& layer, const ForwardBatch& batch,
                                     std::byte* cache) {
  const DecoderBuffers& b = buffers_;
  const int64_t head_dim = spec_.head_dim;
  const int64_t q_width = shard_.heads() * head_dim;
  const int64_t kv_width = shard_.kv_heads() * head_dim;
  const int64_t stride = q_width + 2 * kv_width;

  Project(weights_.shapes.qkv, layer.qkv, layer.qkv_bias, Ordered(layer.qkv_order, batch.rows),
          batch.rows, b.qkv);
  kernels::RopeAppendKv({.layout = options_.kv,
                         .cache = cache,
                         .qkv = b.qkv,
                         .stride = stride,
                         .cos = b.cos,
                         .sin = b.sin,
                         .slots = batch.cache_slots,
                         .rows = batch.rows,
                         .heads = shard_.heads(),
                         .rotary_dim = head_dim},
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
  Project(weights_.shapes.o, layer.o, nullptr, b.attention, batch.rows, b.roots);
  return SumOfRoots(shard_.attention_exchange, batch.rows);
}

const float* Decoder::MlpBlock(const LayerWeights& layer, int64_t rows) {
  const DecoderBuffers& b = buffers_;
  Project(weights_.shapes.gate_up, layer.gate_up, nullptr, Ordered(layer.gate_up_order, rows), rows,
          b.gate_up);
  kernels::SiluMul({.gate_up = b.gate_up,
                    .y = b.gated.ValuesUnlessRows(),
                    .rows = rows,
                    .width = shard_.ffn(),
                    .out = b.gated.Rows(rows)},
                   *stream_);
  Project(weights_.shapes.down, layer.down, nullptr, b.gated, rows, b.roots);
  return SumOfRoots(shard_.ffn_exchange, rows);
}

void Decoder::Forward(const ForwardBatch& batch, std::byte* cache) {
  const DecoderBuffers& b = buffers_;
  const int64_t rows = batch.rows;
  const auto eps = static_cast<float>(spec_.norm_eps);
  const int64_t layer_cache_bytes = options_.blocks * options_.kv.block_bytes();

  kernels::Embedding({.table = weights_.embedding,
                      .dtype = weights_.embedding_dtype,
                      .token_begin = shard_.vocab_begin,
                      .token_end = shard_.vocab_end,
                      .tokens = batch.tokens,
                      .out = b.roots,
                      .rows = rows,
                      .hidden = spec_.hidden},
                     *stream_);
  comm_->TreeAllReduce(shard_.embedding_exchange, b.roots, b.residual, rows * spec_.hidden,
                       *stream_);
  kernels::RopeAngles({.positions = batch.positions,
                       .inverse_frequency = b.inverse_frequency,
                       .cos = b.cos,
                       .sin = b.sin,
                       .rows = rows,
                       .rotary_dim = spec_.head_dim},
                      *stream_);
  kernels::RmsNorm({.x = b.residual,
                    .weight = weights_.layers[0].attention_norm,
                    .y = b.normed.ValuesUnlessRows(),
                    .rows = rows,
                    .hidden = spec_.hidden,
                    .eps = eps,
                    .out = b.normed.Rows(rows)},
                   *stream_);

  kernels::AddRmsNormArgs add_norm{.residual = b.residual,
                                   .y = b.normed.ValuesUnlessRows(),
                                   .rows = rows,
                                   .hidden = spec_.hidden,
                                   .eps = eps,
                                   .out = b.normed.Rows(rows)};
  for (int64_t i = 0; i < spec_.layers; ++i) {
    const LayerWeights& layer = weights_.layers[i];
    add_norm.delta = AttentionBlock(layer, batch, cache + i * layer_cache_bytes);
    add_norm.delta_bias = layer.o_bias;
    add_norm.weight = layer.mlp_norm;
    kernels::AddRmsNorm(add_norm, *stream_);

    add_norm.delta = MlpBlock(layer, rows);
    add_norm.delta_bias = nullptr;
    if (i + 1 < spec_.layers) {
      add_norm.weight = weights_.layers[i + 1].attention_norm;
    } else {  // f32 for the head, which reads few of the rows
      add_norm.weight = weights_.final_norm;
      add_norm.y = b.normed.values;
      add_norm.out = {};
    }
    kernels::AddRmsNorm(add_norm, *stream_);
  }
}

void Decoder::Head(const float* hidden, int64_t rows, float* logits) {
  kernels::ActivationRows hidden_rows;
  hidden_rows.values = const_cast<float*>(hidden);
  hidden_rows.stride = spec_.hidden;
  Project(weights_.shapes.head, weights_.head, nullptr, hidden, hidden_rows, rows, logits);
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
