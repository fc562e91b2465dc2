#include "worker/engine/engine_config.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "comm/shared_group.h"
#include "kernels/sampling/adjust.h"
#include "kernels/sampling/sampling.h"
#include "worker/engine/exchange_layout.h"
#include "worker/model/decoder.h"

namespace octet::worker {

using kernels::kKvBlockTokens;

kernels::KvLayout EngineConfig::kv_layout() const {
  return {.format = kv, .kv_heads = shard.kv_heads(), .head_dim = spec.head_dim};
}

int64_t EngineConfig::blocks_per_sequence() const {
  return (context + kKvBlockTokens - 1) / kKvBlockTokens;
}

int64_t EngineConfig::choices_at_once() const {
  return std::min({int64_t{threads}, slots, kChoicesAtOnceMax});
}

int64_t EngineConfig::choice_bytes() const {
  constexpr int64_t kCandidate = sizeof(kernels::Candidate);
  // A whole row of logits with a candidate for each entry, or all ranks' candidates twice.
  return AlignUp(std::max(spec.vocab * (int64_t{sizeof(float)} + kCandidate),
                          2 * shard.ranks * kernels::kCandidatesMax * kCandidate));
}

int64_t EngineConfig::saved_logits_max() const {
  return context + kernels::kLogitBiasMax + kernels::kEndIdsMax;
}

int64_t MemoryPlan::activation_bytes() const {
  int64_t bytes = 0;
  for (const int64_t buffer : activations) bytes += AlignUp(buffer);
  return bytes;
}

int64_t MemoryPlan::total_bytes() const {
  return weight_bytes + kv_bytes + activation_bytes() + communication_bytes;
}

MemoryPlan MemoryPlan::Make(const EngineConfig& c) {
  const ShardPlan& shard = c.shard;
  const int64_t rows = c.step_rows;
  const int64_t hidden = c.spec.hidden;
  const int64_t head_dim = c.spec.head_dim;
  const int64_t floats = sizeof(float);
  const DecoderShapes shapes = DecoderShapes::Make(c.spec, shard, c.weights);

  MemoryPlan plan;
  plan.weight_bytes = WeightPlan::Make(c.spec, shard, c.weights).bytes();
  plan.kv_bytes = c.spec.layers * c.kv_blocks * c.kv_layout().block_bytes();
  const auto set = [&](ActivationBuffer buffer, int64_t bytes) {
    plan.activations[static_cast<size_t>(buffer)] = bytes;
  };
  using enum ActivationBuffer;
  set(kResidual, rows * hidden * floats);
  set(kNormed, rows * hidden * floats);
  set(kDelta, rows * hidden * floats);
  set(kRoots, Decoder::RootsMax(shard) * rows * hidden * floats);
  set(kQkv, rows * shapes.qkv.outputs * floats);
  set(kAttention, rows * shapes.o.inputs * floats);
  set(kGateUp, rows * shapes.gate_up.outputs * floats);
  set(kGated, rows * shapes.down.inputs * floats);
  set(kCos, rows * head_dim / 2 * floats);
  set(kSin, rows * head_dim / 2 * floats);
  set(kInverseFrequency, head_dim / 2 * floats);
  set(kWorkspace,
      Decoder::WorkspaceBytes(c.spec, shard, shapes, c.activations, rows, c.slots, c.threads));
  set(kTokens, rows * static_cast<int64_t>(sizeof(int32_t)));
  set(kPositions, rows * static_cast<int64_t>(sizeof(int32_t)));
  set(kCacheSlots, rows * static_cast<int64_t>(sizeof(int64_t)));
  set(kBlockTables, c.slots * c.blocks_per_sequence() * static_cast<int64_t>(sizeof(int32_t)));
  set(kHistory, c.slots * c.context * static_cast<int64_t>(sizeof(int32_t)));
  set(kLogitBias, c.slots * kernels::kLogitBiasMax * int64_t{sizeof(kernels::TokenBias)});
  set(kEndIds, c.slots * kernels::kEndIdsMax * int64_t{sizeof(int32_t)});
  set(kHeadHidden, c.slots * hidden * floats);
  set(kLogits, c.slots * shard.vocab() * floats);
  set(kSavedLogits, c.slots * c.saved_logits_max() * floats);
  set(kTokenCounts, c.choices_at_once() * c.spec.vocab * int64_t{sizeof(uint32_t)});
  set(kSend, PartBytesMax(shard, shard.rank, c.slots, rows));
  set(kGather, LimitsOf(c).gather_bytes_max);
  set(kChoice, c.choices_at_once() * c.choice_bytes());
  plan.communication_bytes = comm::SharedRegionBytes(LimitsOf(c), static_cast<int>(shard.ranks)) /
                             std::max<int64_t>(shard.ranks, 1);
  return plan;
}

std::string_view ActivationBufferName(ActivationBuffer buffer) {
  static constexpr std::string_view kNames[] = {"residual",
                                                "normed",
                                                "delta",
                                                "roots",
                                                "qkv",
                                                "attention",
                                                "gate_up",
                                                "gated",
                                                "cos",
                                                "sin",
                                                "inverse_frequency",
                                                "workspace",
                                                "tokens",
                                                "positions",
                                                "cache_slots",
                                                "block_tables",
                                                "history",
                                                "logit_bias",
                                                "end_ids",
                                                "head_hidden",
                                                "logits",
                                                "saved_logits",
                                                "token_counts",
                                                "send",
                                                "gather",
                                                "choice"};
  static_assert(std::size(kNames) == static_cast<size_t>(ActivationBuffer::kCount));
  return kNames[static_cast<size_t>(buffer)];
}

comm::CommunicatorLimits LimitsOf(const EngineConfig& c) {
  const ShardPlan& shard = c.shard;
  int64_t roots = 1;
  for (int64_t rank = 0; rank < shard.ranks; ++rank) {
    roots = std::max<int64_t>({roots, shard.attention_exchange.roots_of_rank[rank],
                               shard.ffn_exchange.roots_of_rank[rank]});
  }
  int64_t gather_bytes = 0;
  for (int64_t rank = 0; rank < shard.ranks; ++rank) {
    gather_bytes += PartBytesMax(shard, rank, c.slots, c.step_rows);
  }
  return {.gather_bytes_max = gather_bytes,
          .reduce_floats_max = roots * c.step_rows * c.spec.hidden,
          .broadcast_bytes_max = kPlanMessageBytes,
          .threads_per_rank = c.threads};
}

int64_t KvBlockBytesMax(const ModelSpec& spec, int64_t ranks, kernels::KvFormat kv) {
  int64_t bytes = 0;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const Result<ShardPlan> shard = ShardPlan::Make(spec, ranks, rank);
    OCTET_CHECK(shard.ok());
    const kernels::KvLayout layout{
        .format = kv, .kv_heads = shard->kv_heads(), .head_dim = spec.head_dim};
    bytes = std::max(bytes, spec.layers * layout.block_bytes());
  }
  return bytes;
}

}  // namespace octet::worker
