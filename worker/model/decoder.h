// One decoder for every spec: norm, qkv, head norms, rope, append, attention, output, all-reduce;
// norm, gate/up, activation, down, all-reduce; vocabulary head. It owns no memory: weights, cache
// and buffers are given. One thread per rank; every rank calls with the same batch.
//
// A forward pass makes 1 + 2 * layers collectives: the embedding and two a layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/device/stream.h"
#include "comm/communicator.h"
#include "kernels/attention/attention.h"
#include "kernels/formats/kv_layout.h"
#include "kernels/norm/norm.h"
#include "worker/model/decoder_weights.h"
#include "worker/model/linear_input.h"
#include "worker/model/model_spec.h"
#include "worker/model/shard_plan.h"

namespace octet::worker {

// The rows of one step: consecutive runs of rows, one run per sequence.
struct ForwardBatch {
  int64_t rows = 0;
  const int32_t* tokens = nullptr;       // [rows]
  const int32_t* positions = nullptr;    // [rows] absolute
  const int64_t* cache_slots = nullptr;  // [rows] block id * 64 + position inside the block
  // Where rope depends on the length of a sequence: each slot's frequencies, and the rows' slots,
  // below 0 for padding. Else null.
  const int32_t* slots = nullptr;       // [rows]
  const float* rope_tables = nullptr;   // [slots, head_dim / 2]
  const float* query_scales = nullptr;  // [rows] f32, where queries are scaled by position
  std::span<const kernels::AttentionSequence> sequences;  // read by the CPU alone
  // Read by a device alone: what its attention does, and the sequences' block tables.
  kernels::AttentionDevicePlan attention_plan;
  const int32_t* block_tables = nullptr;
};

struct DecoderBuffers {
  float* residual = nullptr;           // [rows, hidden]
  LinearInput normed;                  // of qkv and gate_up; its f32 rows carry the final norm
  LinearInput ordered;                 // of both with act-order: normed rows in another order, f32
  float* delta = nullptr;              // [rows, hidden]
  float* roots = nullptr;              // [most roots of any row-parallel linear, rows, hidden]
  float* qkv = nullptr;                // [rows, (heads + 2 kv_heads) * head_dim] of this rank
  LinearInput attention;               // of o: [rows, heads * head_dim] of this rank
  float* attention_places = nullptr;   // of o where it is kept in runs: [rows, inputs of o]
  float* gate_up = nullptr;            // [rows, 2 * ffn] of this rank
  LinearInput gated;                   // of down: [rows, ffn] of this rank
  float* cos = nullptr;                // [rows, head_dim / 2]
  float* sin = nullptr;                // [rows, head_dim / 2]
  float* inverse_frequency = nullptr;  // [head_dim / 2], filled once, where all rows share them
  std::byte* workspace = nullptr;      // Decoder::WorkspaceBytes
  uint32_t* arrivals = nullptr;        // of linears on a device (kernels/linear/linear.h)
  std::byte* attention_workspace = nullptr;  // may be `workspace` on the CPU
};

struct DecoderOptions {
  kernels::ActivationFormat activations = kernels::ActivationFormat::kInt8;
  kernels::KvLayout kv;
  int64_t blocks = 0;  // of the cache, per layer
};

class Decoder {
 public:
  Decoder(const ModelSpec& spec, const ShardPlan& shard, const DecoderWeights& weights,
          const DecoderOptions& options, const DecoderBuffers& buffers, comm::Communicator* comm,
          Stream* stream);

  // Appends the rows' keys and values to `cache` ([layers, blocks] of block_bytes) and leaves the
  // final-normed hidden state of every row in hidden().
  void Forward(const ForwardBatch& batch, std::byte* cache);
  const float* hidden() const { return buffers_.normed.values; }  // [rows, hidden] f32

  // logits[rows, vocab of this rank] of hidden[rows, hidden].
  void Head(const float* hidden, int64_t rows, float* logits);

  // Scratch of the largest linear, for steps of up to `rows` rows of which `head_rows` are sampled.
  static int64_t WorkspaceBytes(const DecoderShapes& shapes, kernels::ActivationFormat activations,
                                int64_t rows, int64_t head_rows);
  // The most roots that this rank sends in one all-reduce.
  static int64_t RootsMax(const ShardPlan& shard);

 private:
  void Embed(const ForwardBatch& batch);
  kernels::AddNormArgs NormArgsOf(int64_t rows) const;
  void Activate(int64_t rows);
  // Both return this rank's roots of the block, [roots, rows, hidden] f32, whose sum is to be added
  // to the residual.
  const float* AttentionBlock(const LayerWeights& layer, const ForwardBatch& batch,
                              std::byte* cache);
  // `next` is the linear that comes after the block's.
  const float* MlpBlock(const LayerWeights& layer, int64_t rows, const kernels::PackedLinear& next);
  // The normed rows in this order, or as they are where there is none.
  const LinearInput& Ordered(const int32_t* order, int64_t rows);
  void ProjectAttention(const LayerWeights& layer, int64_t rows, float* roots);
  // Where the roots of a row-parallel linear, or the embedding, are written: where the
  // communicator wants them, if it does.
  float* RootsFor(const ExchangeTree& tree, int64_t rows);
  // The qkv of a layer; behind the last, the head.
  kernels::PackedLinear FirstOf(int64_t layer) const;
  // Empty `x_rows` have the linear read f32 values instead.
  void Project(const kernels::PackedLinear& linear, const float* bias, const float* x,
               const kernels::ActivationRows& x_rows, int64_t rows, float* out,
               const kernels::PackedLinear& next);
  void Project(const kernels::PackedLinear& linear, const float* bias, const LinearInput& input,
               int64_t rows, float* out, const kernels::PackedLinear& next) {
    Project(linear, bias, input.values, input.Rows(rows), rows, out, next);
  }

  const ModelSpec& spec_;
  const ShardPlan& shard_;
  const DecoderWeights& weights_;
  DecoderOptions options_;
  DecoderBuffers buffers_;
  comm::Communicator* comm_;
  Stream* stream_;
};

}  // namespace octet::worker
