// What follows every row-parallel linear: the ranks' partial sums into the residual, and its norm.
#pragma once

#include "comm/communicator.h"
#include "kernels/norm/norm.h"

namespace octet::worker {

struct AllReduceAddNormArgs {
  const ExchangeTree* tree = nullptr;
  const float* roots = nullptr;  // [roots of this rank, rows, hidden] f32
  float* delta = nullptr;        // [rows, hidden] f32: scratch, may be left as it was
  kernels::AddNormArgs norm;     // its delta is set here
};

// residual += the sum of all ranks' roots, then delta_bias if there is one; y = Norm(residual).
// In one kernel where the communicator leaves the roots gathered and a kernel for them is linked
// (kernels/norm/sum_norm.h), else in two steps: the same bits.
void TreeAllReduceAddNorm(comm::Communicator& comm, const AllReduceAddNormArgs& args,
                          Stream& stream);

}  // namespace octet::worker
