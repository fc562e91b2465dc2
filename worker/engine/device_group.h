// What a rank on a GPU computes with: alone, or with the others by NCCL in memory of the plan, and
// watched, because a collective on a device waits for ever for a rank that was lost. Owns all of
// it.
#pragma once

#include <memory>

#include "base/device/device.h"
#include "base/status.h"
#include "comm/communicator.h"
#include "comm/group_watch.h"
#include "comm/nccl/nccl_communicator.h"
#include "comm/single.h"
#include "worker/engine/memory_plan.h"

namespace octet::worker {

class DeviceGroup {
 public:
  // All ranks together, over `control`, which outlives this; they fail together, with one sentence.
  static Result<std::unique_ptr<DeviceGroup>> Join(const EngineConfig& config, const Gpu& gpu,
                                                   bool share_gpu, comm::Communicator* control);

  comm::Communicator* communicator() { return communicator_; }
  comm::GroupWatch* watch() { return watch_.get(); }  // null for a rank alone

 private:
  comm::SingleCommunicator single_;
  std::unique_ptr<comm::GroupWatch> watch_;
  DeviceBuffer area_;
  std::unique_ptr<comm::NcclCommunicator> nccl_;
  comm::Communicator* communicator_ = &single_;
};

// What bits of a GPU are promised within: "cuda 9.0".
std::string KindOf(const DeviceInfo& info);

}  // namespace octet::worker
