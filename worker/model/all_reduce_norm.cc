#include "worker/model/all_reduce_norm.h"

#include <algorithm>

#include "kernels/norm/sum_norm.h"

namespace octet::worker {
namespace {

// On the CPU rows go in runs of about so many elements, so that a run's sums are still in the cache
// when they are added and normed.
constexpr int64_t kRunFloats = int64_t{1} << 17;

// Runs need roots that can be cut by rows: one of each rank.
int64_t RowsOfRun(const AllReduceAddNormArgs& args, const Stream& stream) {
  const auto one = [](int32_t roots) { return roots == 1; };
  const bool cut =
      stream.device() == Device::kCpu && args.tree->roots_of_rank.size() > 1 &&
      std::all_of(args.tree->roots_of_rank.begin(), args.tree->roots_of_rank.end(), one);
  return cut ? std::max<int64_t>(1, kRunFloats / args.norm.hidden) : args.norm.rows;
}

}  // namespace

void TreeAllReduceAddNorm(comm::Communicator& comm, const AllReduceAddNormArgs& args,
                          Stream& stream) {
  const int64_t count = args.norm.rows * args.norm.hidden;
  if (kernels::cuda::SumAddNorm != nullptr) {
    const float* gathered = comm.GatherRoots(*args.tree, args.roots, count, stream);
    if (gathered != nullptr) {
      kernels::cuda::SumAddNorm({args.norm, gathered, args.tree}, stream);
      return;
    }
  }
  const int64_t run = RowsOfRun(args, stream);
  for (int64_t begin = 0; begin < args.norm.rows; begin += run) {
    kernels::AddNormArgs norm = args.norm;
    norm.rows = std::min(run, args.norm.rows - begin);
    const int64_t first = begin * norm.hidden;
    comm.TreeAllReduce(*args.tree, args.roots + first, args.delta + first, norm.rows * norm.hidden,
                       stream);
    norm.delta = args.delta + first;
    norm.residual += first;
    norm.y += first;
    kernels::AddNorm(norm, stream);
  }
}

}  // namespace octet::worker
