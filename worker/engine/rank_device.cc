#include "worker/engine/rank_device.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace octet::worker {
namespace {

std::string Named(const DeviceInfo& info) {
  return "GPU " + std::to_string(info.index) + " (" + info.name + ")";
}

Result<std::unique_ptr<Gpu>> OpenGpu(int local_rank, bool share_gpu) {
  OCTET_ASSIGN_OR_RETURN(const int count, Gpu::Count());
  OCTET_ASSIGN_OR_RETURN(const int index, DeviceIndexOf(local_rank, count, share_gpu));
  return Gpu::Open({.index = index});
}

}  // namespace

Result<std::unique_ptr<Gpu>> OpenRankDevice(const WorkerOptions& options, int local_rank) {
  if (options.device == "cpu") return std::unique_ptr<Gpu>();
  if (options.device == "cuda") return OpenGpu(local_rank, options.share_gpu);
  if (options.device != "auto") {
    return InvalidArgument("--device is '" + options.device + "'; expected auto, cpu or cuda");
  }
  const Result<int> count = Gpu::Count();
  if (!count.ok() || *count == 0) return std::unique_ptr<Gpu>();
  Result<std::unique_ptr<Gpu>> gpu = OpenGpu(local_rank, options.share_gpu);
  if (gpu.ok()) return gpu;
  Log(LogLevel::kWarning, "--device auto takes the CPU: " + gpu.status().message());
  return std::unique_ptr<Gpu>();
}

RankDevice Describe(const Gpu* gpu) {
  if (gpu == nullptr) return {};
  return {.kind = Device::kCuda, .gpu = gpu->info()};
}

Result<int> DeviceIndexOf(int local_rank, int device_count, bool share_gpu) {
  if (device_count < 1) return FailedPrecondition("this host has no GPU");
  if (local_rank < device_count) return local_rank;
  if (device_count == 1) return 0;  // the launcher may show each rank a GPU of its own
  if (share_gpu) return local_rank % device_count;
  return FailedPrecondition("rank number " + std::to_string(local_rank) +
                            " of this host finds no GPU of its own, for there are " +
                            std::to_string(device_count) +
                            "; start fewer ranks here, or for a test let them share with "
                            "--share-gpu");
}

Status CheckPlanFits(const MemoryPlan& plan, const DeviceInfo& info, int64_t rank) {
  const int64_t used = info.total_bytes - info.free_bytes;
  const int64_t others = std::max<int64_t>(used - plan.reserve.context_bytes, 0);
  if (plan.total_bytes() + others <= info.total_bytes) return {};
  const std::string needs = "rank " + std::to_string(rank) + " needs " + DescribePlan(plan) + "; " +
                            Named(info) + " has " + std::to_string(info.total_bytes) + " bytes";
  if (plan.total_bytes() <= info.total_bytes) {
    return ResourceExhausted(needs + ", but " + std::to_string(others) +
                             " of them are in use by another process");
  }
  return ResourceExhausted(needs +
                           "; use more ranks, a smaller --kv-memory, or fewer "
                           "--max-num-batched-tokens");
}

Status CheckPlanFits(const MemoryPlan& plan, int64_t host_bytes, int64_t host_ranks, int64_t rank) {
  if (plan.total_bytes() <= host_bytes / host_ranks) return {};
  return ResourceExhausted("rank " + std::to_string(rank) + " needs " + DescribePlan(plan) +
                           "; its host has " + std::to_string(host_bytes) + " bytes for " +
                           std::to_string(host_ranks) + (host_ranks == 1 ? " rank" : " ranks") +
                           "; use more hosts, a smaller --kv-memory, or fewer "
                           "--max-num-batched-tokens");
}

ReserveFound MeasureReserve(const MemoryPlan& plan, const DeviceInfo& info, int64_t free_bytes) {
  const int64_t ours = plan.total_bytes() - plan.reserve.bytes();
  return {.context_bytes = info.total_bytes - info.free_bytes,
          .later_bytes = info.free_bytes - free_bytes - ours};
}

Status CheckReserve(const MemoryPlan& plan, const ReserveFound& found, const DeviceInfo& info,
                    int64_t rank) {
  const DeviceReserve& reserve = plan.reserve;
  const int64_t later_max = reserve.graph_bytes + reserve.communicator_bytes;
  const auto refuse = [&](const char* what, int64_t bytes, int64_t bytes_max) {
    return ResourceExhausted("rank " + std::to_string(rank) + ": " + what + " of " + Named(info) +
                             " hold " + std::to_string(bytes) + " bytes, more than the " +
                             std::to_string(bytes_max) + " that are reserved for them");
  };
  if (found.context_bytes > reserve.context_bytes) {
    return refuse("the driver and other processes", found.context_bytes, reserve.context_bytes);
  }
  if (found.later_bytes > later_max) {
    return refuse("graphs and NCCL", found.later_bytes, later_max);
  }
  return {};
}

}  // namespace octet::worker
