#include "worker/engine/memory_plan.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "comm/shared_group.h"
#include "kernels/sampling/adjust.h"
#include "worker/engine/exchange_layout.h"
#include "worker/engine/row_buckets.h"
#include "worker/engine/step_image.h"
#include "worker/model/decoder.h"

namespace octet::worker {
namespace {

// Sources: a context with the code of this program's kernels takes 0.4 to 0.6 GiB on data center
// GPUs, and NCCL 0.2 to 0.6 GiB for one communicator of eight ranks, by reports of other servers; a
// kernel node takes a few KiB. None is measured by us yet: start-up measures and refuses to go on
// where one is exceeded.
constexpr int64_t kContextReserveBytes = int64_t{768} << 20;
constexpr int64_t kGraphReserveBytesPerLayer = int64_t{128} << 10;
constexpr int64_t kCommunicatorReserveBytes = int64_t{768} << 20;

int64_t AlignedSum(std::span<const int64_t> buffers) {
  int64_t bytes = 0;
  for (const int64_t buffer : buffers) bytes += AlignUp(buffer);
  return bytes;
}

}  // namespace

int64_t MemoryPlan::activation_bytes() const { return AlignedSum(activations); }
int64_t MemoryPlan::pinned_bytes() const { return AlignedSum(pinned); }
int64_t MemoryPlan::step_image_bytes() const {
  return activations[static_cast<size_t>(ActivationBuffer::kStepImage)];
}

int64_t MemoryPlan::total_bytes() const {
  return weight_bytes + kv_bytes + activation_bytes() + communication_bytes + reserve.bytes();
}

DeviceReserve DeviceReserve::Of(const EngineConfig& config) {
  if (config.device == Device::kCpu) return {};
  return {.context_bytes = kContextReserveBytes,
          .graph_bytes = static_cast<int64_t>(RowBuckets(config.slots).size()) *
                         config.spec.layers * kGraphReserveBytesPerLayer,
          .communicator_bytes = config.shard.ranks > 1 ? kCommunicatorReserveBytes : 0};
}

MemoryPlan MemoryPlan::Make(const EngineConfig& c) {
  const ShardPlan& shard = c.shard;
  const int64_t rows = c.step_rows;
  const int64_t hidden = c.spec.hidden;
  const int64_t head_dim = c.spec.head_dim;
  const int64_t floats = sizeof(float);
  const DecoderShapes shapes = DecoderShapes::Make(c.spec, shard, c.weights);

  MemoryPlan plan;
  plan.reserve = DeviceReserve::Of(c);
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
  set(kStepImage, StepRows::Bytes(rows));
  set(kLastTokens, c.slots * static_cast<int64_t>(sizeof(int32_t)));
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

std::string DescribePlan(const MemoryPlan& plan) {
  std::string text = std::to_string(plan.total_bytes()) + " bytes (weights ";
  text += std::to_string(plan.weight_bytes) + ", KV cache " + std::to_string(plan.kv_bytes);
  text += ", activations " + std::to_string(plan.activation_bytes());
  text += ", communication " + std::to_string(plan.communication_bytes);
  if (plan.reserve.bytes() > 0) {
    text += ", reserve for driver " + std::to_string(plan.reserve.context_bytes);
    text += ", graphs " + std::to_string(plan.reserve.graph_bytes);
    text += ", NCCL " + std::to_string(plan.reserve.communicator_bytes);
  }
  return text + ")";
}

std::string_view ActivationBufferName(ActivationBuffer buffer) {
  static constexpr std::string_view kNames[] = {
      "residual",          "normed",       "delta",      "roots",       "qkv",
      "attention",         "gate_up",      "gated",      "cos",         "sin",
      "inverse_frequency", "workspace",    "step_image", "last_tokens", "block_tables",
      "history",           "logit_bias",   "end_ids",    "head_hidden", "logits",
      "saved_logits",      "token_counts", "send",       "gather",      "choice"};
  static_assert(std::size(kNames) == static_cast<size_t>(ActivationBuffer::kCount));
  return kNames[static_cast<size_t>(buffer)];
}

}  // namespace octet::worker
