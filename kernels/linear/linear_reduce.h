// Adds the partial sums that the parts of a linear left (leaf_parts.h), in the tree's order, and
// the bias: the second half of a linear whose leaves are dealt to several thread blocks.
//
// Moves (count + roots) * elements * 4 bytes, one addition per sum.
#pragma once

#include <cstdint>

#include "base/device/stream.h"
#include "kernels/linear/leaf_parts.h"

namespace octet::kernels {

struct LinearReduceArgs {
  const float* sums = nullptr;  // [program.count, rows, outputs], 16-byte aligned, dense
  SumProgram program;
  int64_t rows = 0;
  int64_t outputs = 0;
  const float* bias = nullptr;  // [outputs] or null; added to every root
  float* out = nullptr;         // [program.roots, rows, outputs], must not alias sums
};

namespace cuda {
OCTET_CUDA_OP void LinearReduce(const LinearReduceArgs& args, Stream& stream);
}

}  // namespace octet::kernels
