#include "worker/model/all_reduce_norm.h"

#include "kernels/norm/sum_norm.h"

namespace octet::worker {

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
  comm.TreeAllReduce(*args.tree, args.roots, args.delta, count, stream);
  kernels::AddNormArgs norm = args.norm;
  norm.delta = args.delta;
  kernels::AddNorm(norm, stream);
}

}  // namespace octet::worker
