// The device that a rank computes on: which one it is, and the sentences by which one that can not
// carry the rank's plan is refused before anything of a model's size is taken.
#pragma once

#include <memory>
#include <string>

#include "base/device/device.h"
#include "base/status.h"
#include "worker/engine/memory_plan.h"
#include "worker/engine/worker_options.h"

namespace octet::worker {

// What `--device` asks for: null is the CPU. auto takes a GPU if one can be used, and logs why it
// does not where there is one that can not. `local_rank` counts the ranks of this host.
Result<std::unique_ptr<Gpu>> OpenRankDevice(const WorkerOptions& options, int local_rank);

RankDevice Describe(const Gpu* gpu);

// The GPU of a rank: one each, unless they share. Where one alone is to be seen it is taken:
// whether two ranks see the same is found out when they say hello.
Result<int> DeviceIndexOf(int local_rank, int device_count, bool share_gpu);

// Whether the plan fits beside what others hold of the device. What is in use when it is opened
// counts as the driver's up to the plan's reserve for it, and as somebody else's beyond.
Status CheckPlanFits(const MemoryPlan& plan, const DeviceInfo& info, int64_t rank);
// On the CPU: whether `host_bytes` hold as many plans as ranks compute on the host. What others
// hold of them, and what a group before left there of this one's weights, does not count.
Status CheckPlanFits(const MemoryPlan& plan, int64_t host_bytes, int64_t host_ranks, int64_t rank);

// What the device holds beyond our own buffers once all is set up, against the named reserves.
// `free_bytes` is what it says now; `info` what it said when it was opened.
struct ReserveFound {
  int64_t context_bytes = 0;  // in use when the device was opened
  int64_t later_bytes = 0;    // taken since by graphs and NCCL
};
ReserveFound MeasureReserve(const MemoryPlan& plan, const DeviceInfo& info, int64_t free_bytes);
Status CheckReserve(const MemoryPlan& plan, const ReserveFound& found, const DeviceInfo& info,
                    int64_t rank);

}  // namespace octet::worker
