// AddNorm whose delta is still in parts: the partial sums of all ranks, as a communicator has
// gathered them, added in the tree's order on the way into the residual.
//
// It has the bits of the ordered sum followed by AddNorm, so that whoever calls it may choose
// between the two by the size of a step. It saves a launch, and reading and writing delta: 8 bytes
// an element. Where a device's form is not linked, callers take the two steps.
#pragma once

#include "base/sum_tree.h"
#include "kernels/norm/norm.h"

namespace octet::kernels {

struct SumAddNormArgs {
  AddNormArgs norm;                    // its delta is not read
  const float* roots = nullptr;        // [roots of all ranks, rows, hidden] f32, dense
  const ExchangeTree* tree = nullptr;  // read before the call returns
};

// residual += the sum of the roots, then delta_bias if there is one; y = Norm(residual)
void SumAddNorm(const SumAddNormArgs& args, Stream& stream);

namespace cpu {
void SumAddNorm(const SumAddNormArgs& args, Stream& stream);
}  // namespace cpu
namespace cuda {
OCTET_CUDA_OP void SumAddNorm(const SumAddNormArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
