// The bytes of every buffer of a rank, on whichever device it computes, from the config alone. What
// is taken equals the plan, and start-up checks it; `octet plan` prints the same plan.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "worker/engine/engine_config.h"

namespace octet::worker {

// The buffers that a step works in, all in one piece of memory. A device has no use for some of
// them, the CPU for others: they have no bytes there.
enum class ActivationBuffer {
  kResidual,
  kNormed,
  kOrdered,
  kDelta,
  kRoots,
  kQkv,
  kAttention,
  kAttentionPlaces,
  kGateUp,
  kGated,
  kCos,
  kSin,
  kInverseFrequency,
  kRopeTables,
  kWorkspace,
  kArrivals,
  kNormedRows,
  kAttentionRows,
  kGatedRows,
  kSegmentTables,
  kAttentionWorkspace,
  kStepImage,
  kLastTokens,
  kBlockTables,
  kHistory,
  kLogitBias,
  kEndIds,
  kHeadHidden,
  kLogits,
  kSavedLogits,
  kTokenCounts,
  kSend,
  kGather,
  kChoice,
  kSamplerState,
  kOfferWorkspace,
  kResults,
  kCount,
};

// What a device's memory holds beside the buffers that are taken: nobody can count it beforehand,
// so each has a named size, and start-up checks that what is found is at most that.
struct DeviceReserve {
  int64_t context_bytes = 0;       // the driver's context and the code of all kernels
  int64_t graph_bytes = 0;         // instantiated graphs
  int64_t communicator_bytes = 0;  // what NCCL takes for its own
  int64_t bytes() const { return context_bytes + graph_bytes + communicator_bytes; }
  static DeviceReserve Of(const EngineConfig& config);  // nothing on the CPU
};

struct MemoryPlan {
  int64_t weight_bytes = 0;
  int64_t kv_bytes = 0;
  std::array<int64_t, static_cast<size_t>(ActivationBuffer::kCount)> activations{};
  int64_t communication_bytes = 0;  // this rank's share of the group's shared region
  DeviceReserve reserve;
  // Of pinned host memory beside a device, not part of the total; nothing on the CPU.
  std::array<int64_t, static_cast<size_t>(ActivationBuffer::kCount)> pinned{};

  int64_t& operator[](ActivationBuffer buffer);  // of activations
  int64_t activation_bytes() const;              // sum of the buffers, each aligned
  int64_t pinned_bytes() const;                  // likewise
  int64_t step_image_bytes() const;              // of one
  int64_t total_bytes() const;                   // of the device that computes
  static MemoryPlan Make(const EngineConfig& config);
};

// "N bytes (weights A, KV cache B, activations C, ...)", for messages.
std::string DescribePlan(const MemoryPlan& plan);
std::string_view ActivationBufferName(ActivationBuffer buffer);

}  // namespace octet::worker
