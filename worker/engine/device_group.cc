#include "worker/engine/device_group.h"

#include <utility>

#include "base/check.h"
#include "comm/group_agreement.h"

namespace octet::worker {

Result<std::unique_ptr<DeviceGroup>> DeviceGroup::Join(const EngineConfig& config, const Gpu& gpu,
                                                       bool share_gpu,
                                                       comm::Communicator* control) {
  auto group = std::make_unique<DeviceGroup>();
  if (config.shard.ranks == 1) return group;
  const comm::CommunicatorLimits limits = LimitsOf(config);
  const int ranks = control->size();
  const int64_t area_bytes = comm::NcclAreaBytes(limits, ranks);
  OCTET_CHECK_EQ(area_bytes, MemoryPlan::Make(config).communication_bytes);
  // All ranks fail where one does: the others would wait for it.
  Result<DeviceBuffer> area = DeviceBuffer::Allocate(area_bytes);
  OCTET_RETURN_IF_ERROR(comm::CheckAgreement(
      comm::ExchangeIdentities(*control, {.problem = area.status().message()})));
  group->area_ = std::move(area).value();
  group->watch_ =
      std::make_unique<comm::GroupWatch>(comm::GroupWatchOptions{.rank = control->rank()});
  OCTET_ASSIGN_OR_RETURN(
      group->nccl_,
      comm::NcclCommunicator::Create(
          {.control = control, .watch = group->watch_.get(), .area = group->area_.data()}, limits,
          {.device_kind = KindOf(gpu.info()),
           .device_uuid = gpu.info().uuid,
           .share_gpu = share_gpu}));
  group->communicator_ = group->nccl_.get();
  return group;
}

std::string KindOf(const DeviceInfo& info) {
  return "cuda " + std::to_string(info.major) + "." + std::to_string(info.minor);
}

}  // namespace octet::worker
