#include "worker/engine/engine_config.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/sampling/adjust.h"
#include "kernels/sampling/sampling.h"
#include "worker/engine/exchange_layout.h"

namespace octet::worker {

using kernels::kKvBlockTokens;

kernels::KvLayout EngineConfig::kv_layout() const {
  using kernels::KvOrder;
  const bool in_fours = device == Device::kCpu && kv == kernels::KvFormat::kInt8;
  return {.format = kv,
          .kv_heads = shard.kv_heads(),
          .head_dim = spec.head_dim,
          .order = in_fours ? KvOrder::kFours : KvOrder::kRows};
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
