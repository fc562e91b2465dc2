// Everything that fixes a rank's memory and bits, decided before anything is allocated.
#pragma once

#include <cstdint>

#include "base/device/device_info.h"
#include "base/device/stream.h"
#include "base/status.h"
#include "comm/communicator.h"
#include "kernels/formats/kv_layout.h"
#include "kernels/linear/linear.h"
#include "worker/model/decoder_weights.h"
#include "worker/model/model_spec.h"
#include "worker/model/shard_plan.h"

namespace octet::worker {

// Limits on what may be asked for at start.
inline constexpr int64_t kSlotsMax = 4096;
inline constexpr int64_t kStepRowsMax = 65536;
inline constexpr int kThreadsMax = 512;
// A plan reaches the ranks in one broadcast of this size, and in more only if it is longer.
inline constexpr int64_t kPlanMessageBytes = 16384;
// Rows whose tokens are chosen at once: each takes a scratch of the whole vocabulary.
inline constexpr int64_t kChoicesAtOnceMax = 16;

struct EngineConfig {
  Device device = Device::kCpu;
  DeviceInfo gpu;      // beside a CPU: nothing
  bool graphs = true;  // on a GPU decode steps are recorded; off for tests alone
  ModelSpec spec;
  ShardPlan shard;
  WeightOptions weights;
  kernels::KvFormat kv = kernels::KvFormat::kInt8;
  kernels::ActivationFormat activations = kernels::ActivationFormat::kInt8;
  int64_t context = 0;    // tokens a sequence may have
  int64_t slots = 0;      // sequences that can run at once
  int64_t step_rows = 0;  // tokens one step may compute
  int64_t kv_blocks = 0;  // in the pool, the same on every rank
  int threads = 1;

  kernels::KvLayout kv_layout() const;
  int64_t blocks_per_sequence() const;  // ceil(context / 64)
  int64_t choices_at_once() const;
  int64_t choice_bytes() const;      // scratch of one choice
  int64_t saved_logits_max() const;  // floats that undo what one row's adjustment changed
};

// The communicator that a group of this config needs.
comm::CommunicatorLimits LimitsOf(const EngineConfig& config);

// Bytes of one cache block over all layers on the rank that holds most.
int64_t KvBlockBytesMax(const ModelSpec& spec, int64_t ranks, kernels::KvFormat kv);

}  // namespace octet::worker
