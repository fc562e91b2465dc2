#include "worker/model/all_reduce_norm.h"

#include <algorithm>
#include <vector>

#include "kernels/norm/sum_norm.h"

namespace octet::worker {
namespace {

// On the CPU rows go in runs of about so many elements, so that a run's sums are still in the cache
// when they are added and normed.
constexpr int64_t kRunFloats = int64_t{1} << 17;

// So many rows go at once whatever their size: a decode step is one exchange here, not several.
constexpr int64_t kUncutRowsMax = 256;

// Runs need roots that can be cut by rows: one of each rank, that lies where it may be copied from.
int64_t RowsOfRun(comm::Communicator& comm, const AllReduceAddNormArgs& args,
                  const Stream& stream) {
  const auto one = [](int32_t roots) { return roots == 1; };
  const std::vector<int32_t>& roots_of_rank = args.tree->roots_of_rank;
  const bool cut = stream.device() == Device::kCpu && args.norm.rows > kUncutRowsMax &&
                   roots_of_rank.size() > 1 &&
                   std::all_of(roots_of_rank.begin(), roots_of_rank.end(), one) &&
                   args.roots != comm.RootsPlace(*args.tree, args.norm.rows * args.norm.hidden);
  return cut ? std::max<int64_t>(1, kRunFloats / args.norm.hidden) : args.norm.rows;
}

// A root that is alone is the sum. Several need a kernel that adds them.
bool AddsGatheredRoots(const ExchangeTree& tree, const Stream& stream) {
  return stream.device() == Device::kCpu || kernels::cuda::SumAddNorm != nullptr ||
         tree.merges.size() == 1;
}

void SumAddNormRun(comm::Communicator& comm, const AllReduceAddNormArgs& args, Stream& stream) {
  const ExchangeTree& tree = *args.tree;
  kernels::AddNormArgs norm = args.norm;
  const int64_t count = norm.rows * norm.hidden;
  const float* gathered =
      AddsGatheredRoots(tree, stream) ? comm.GatherRoots(tree, args.roots, count, stream) : nullptr;
  if (gathered != nullptr && tree.merges.size() > 1) {
    kernels::SumAddNorm({norm, gathered, &tree}, stream);
    return;
  }
  norm.delta = gathered;
  if (gathered == nullptr) {
    comm.TreeAllReduce(tree, args.roots, args.delta, count, stream);
    norm.delta = args.delta;
  }
  kernels::AddNorm(norm, stream);
}

}  // namespace

void TreeAllReduceAddNorm(comm::Communicator& comm, const AllReduceAddNormArgs& args,
                          Stream& stream) {
  const int64_t run_rows = RowsOfRun(comm, args, stream);
  for (int64_t begin = 0; begin < args.norm.rows; begin += run_rows) {
    const int64_t first = begin * args.norm.hidden;
    AllReduceAddNormArgs run = args;
    run.norm.rows = std::min(run_rows, args.norm.rows - begin);
    if (begin > 0) {
      run.roots += first;
      run.delta += first;
      run.norm.residual += first;
      run.norm.y += first;
    }
    SumAddNormRun(comm, run, stream);
  }
}

}  // namespace octet::worker
