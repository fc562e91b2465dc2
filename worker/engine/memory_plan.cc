#include "worker/engine/memory_plan.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "comm/nccl/nccl_communicator.h"
#include "comm/shared_group.h"
#include "kernels/sampling/adjust.h"
#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/slot_state.h"
#include "worker/engine/attention_image.h"
#include "worker/engine/device_inputs.h"
#include "worker/engine/device_sampler.h"
#include "worker/engine/exchange_layout.h"
#include "worker/engine/position_image.h"
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

// What the CPU alone works in.
void PlanForHost(const EngineConfig& c, const DecoderShapes& shapes, MemoryPlan* to) {
  using enum ActivationBuffer;
  MemoryPlan& plan = *to;
  const int64_t rows = c.step_rows;
  const int64_t floats = sizeof(float);
  if (shapes.ordered_inputs) plan[kOrdered] = rows * c.spec.hidden * floats;
  plan[kAttention] = rows * c.shard.heads() * c.spec.head_dim * floats;
  if (shapes.o_in_runs) plan[kAttentionPlaces] = rows * shapes.o.inputs * floats;
  plan[kGated] = rows * shapes.down.inputs * floats;
  plan[kWorkspace] = std::max(plan[kWorkspace], kernels::AttentionWorkspaceBytes(
                                                    c.shard.heads(), c.spec.head_dim, c.threads));
  plan[kStepImage] = StepRows::Bytes(rows) + PositionImage::ImageBytes(c, rows);
  plan[kLastTokens] = c.slots * int64_t{sizeof(int32_t)};
  plan[kHistory] = c.slots * c.context * int64_t{sizeof(int32_t)};
  plan[kLogitBias] = c.slots * kernels::kLogitBiasMax * int64_t{sizeof(kernels::TokenBias)};
  plan[kEndIds] = c.slots * kernels::kEndIdsMax * int64_t{sizeof(int32_t)};
  plan[kSavedLogits] = c.slots * c.saved_logits_max() * floats;
  plan[kTokenCounts] = c.choices_at_once() * c.spec.vocab * int64_t{sizeof(uint32_t)};
  plan[kChoice] = c.choices_at_once() * c.choice_bytes();
  plan.communication_bytes = comm::SharedRegionBytes(LimitsOf(c), static_cast<int>(c.shard.ranks)) /
                             std::max<int64_t>(c.shard.ranks, 1);
}

// What a GPU alone works in, and what the host lays out for it.
void PlanForDevice(const EngineConfig& c, const DecoderShapes& shapes, MemoryPlan* to) {
  using enum ActivationBuffer;
  MemoryPlan& plan = *to;
  const DeviceInputs inputs = DeviceInputs::Of(shapes);
  plan[kArrivals] = kernels::kLinearArrivals * int64_t{sizeof(uint32_t)};
  plan[kNormedRows] = inputs.normed.RowsBytes(c.step_rows);
  plan[kOrdered] = inputs.ordered.RowsBytes(c.step_rows);
  plan[kAttentionRows] = inputs.attention.RowsBytes(c.step_rows);
  plan[kGatedRows] = inputs.gated.RowsBytes(c.step_rows);
  plan[kSegmentTables] = inputs.table_bytes();
  plan[kAttentionWorkspace] = AttentionImage::WorkspaceBytes(c);
  plan[kStepImage] = StepRows::Bytes(c.step_rows) + PositionImage::ImageBytes(c, c.step_rows) +
                     AttentionImage::ImageBytes(c) + DeviceSampler::ImageBytes(c);
  plan[kSamplerState] = kernels::SlotStateBytes({.slots = c.slots, .vocab = c.spec.vocab});
  plan[kOfferWorkspace] = kernels::OfferWorkspaceBytes(c.slots, c.shard.vocab());
  plan[kResults] = DeviceSampler::ResultBytes(c);
  const auto pinned = [&](ActivationBuffer buffer) -> int64_t& {
    return plan.pinned[static_cast<size_t>(buffer)];
  };
  pinned(kStepImage) = kStepsInFlight * plan[kStepImage];
  pinned(kResults) = kStepsInFlight * plan[kResults];
  plan.communication_bytes =
      c.shard.ranks > 1 ? comm::NcclAreaBytes(LimitsOf(c), static_cast<int>(c.shard.ranks)) : 0;
}

}  // namespace

int64_t MemoryPlan::activation_bytes() const { return AlignedSum(activations); }
int64_t MemoryPlan::pinned_bytes() const { return AlignedSum(pinned); }
int64_t MemoryPlan::step_image_bytes() const {
  return activations[static_cast<size_t>(ActivationBuffer::kStepImage)];
}
int64_t& MemoryPlan::operator[](ActivationBuffer buffer) {
  return activations[static_cast<size_t>(buffer)];
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
  const int64_t floats = sizeof(float);
  const DecoderShapes shapes = DecoderShapes::Make(c.spec, shard, c.weights);

  MemoryPlan plan;
  plan.reserve = DeviceReserve::Of(c);
  plan.weight_bytes = WeightPlan::Make(c.spec, shard, c.weights).bytes();
  plan.kv_bytes = c.spec.layers * c.kv_blocks * c.kv_layout().block_bytes();
  using enum ActivationBuffer;
  plan[kResidual] = rows * hidden * floats;
  plan[kNormed] = rows * hidden * floats;
  plan[kDelta] = rows * hidden * floats;
  plan[kRoots] = Decoder::RootsMax(shard) * rows * hidden * floats;
  plan[kQkv] = rows * shapes.qkv.outputs * floats;
  plan[kGateUp] = rows * shapes.gate_up.outputs * floats;
  const int64_t half = c.spec.rotary_dim() / 2;
  plan[kCos] = rows * half * floats;
  plan[kSin] = rows * half * floats;
  const int64_t rope_tables = PositionImage::TableFloats(c) * floats;
  if (rope_tables == 0) plan[kInverseFrequency] = half * floats;
  plan[kWorkspace] = Decoder::WorkspaceBytes(shapes, c.activations, rows, c.slots);
  plan[kHeadHidden] = c.slots * hidden * floats;
  plan[kLogits] = c.slots * shard.vocab() * floats;
  plan[kSend] = PartBytesMax(shard, shard.rank, c.slots, rows);
  plan[kGather] = LimitsOf(c).gather_bytes_max;
  const int64_t tables = c.slots * c.blocks_per_sequence() * int64_t{sizeof(int32_t)};
  if (c.device == Device::kCpu) {
    PlanForHost(c, shapes, &plan);
    plan[kBlockTables] = tables;
    plan[kRopeTables] = rope_tables;
  } else {
    PlanForDevice(c, shapes, &plan);
    plan.pinned[static_cast<size_t>(kBlockTables)] = tables;
    plan.pinned[static_cast<size_t>(kRopeTables)] = rope_tables;
  }
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
  static constexpr std::string_view kNames[] = {"residual",
                                                "normed",
                                                "ordered",
                                                "delta",
                                                "roots",
                                                "qkv",
                                                "attention",
                                                "attention_places",
                                                "gate_up",
                                                "gated",
                                                "cos",
                                                "sin",
                                                "inverse_frequency",
                                                "rope_tables",
                                                "workspace",
                                                "arrivals",
                                                "normed_rows",
                                                "attention_rows",
                                                "gated_rows",
                                                "segment_tables",
                                                "attention_workspace",
                                                "step_image",
                                                "last_tokens",
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
                                                "choice",
                                                "sampler_state",
                                                "offer_workspace",
                                                "results"};
  static_assert(std::size(kNames) == static_cast<size_t>(ActivationBuffer::kCount));
  return kNames[static_cast<size_t>(buffer)];
}

}  // namespace octet::worker
