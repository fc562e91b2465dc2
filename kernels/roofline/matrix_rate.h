// The loop by which the matrix rate of a GPU is measured: products of tiles that stay where they
// are, as many as asked for, in every block. On 9.0 by wgmma from shared memory, else by mma.sync
// from registers: the fastest form that the architecture has.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::kernels {

struct MatrixLoopArgs {
  bool int8 = false;   // int8 times int8, else bf16 times bf16
  int64_t blocks = 0;  // of kMatrixLoopThreads
  int64_t iterations = 0;
  // [blocks] out: an element of the block's product of ones. bf16: what it comes to as a float;
  // int8: as an integer, in the same bytes.
  float* elements = nullptr;
};

inline constexpr int64_t kMatrixLoopThreads = 256;

// Of all blocks: an operation is a multiplication or an addition. And what an element comes to.
double MatrixLoopOperations(const MatrixLoopArgs& args, const Stream& stream);
double MatrixLoopElement(const MatrixLoopArgs& args, const Stream& stream);

void MatrixLoop(const MatrixLoopArgs& args, Stream& stream);  // REQUIRES: a CUDA stream
namespace cuda {
OCTET_CUDA_OP void MatrixLoopMma(const MatrixLoopArgs& args, Stream& stream);
OCTET_CUDA_OP void MatrixLoopWgmma(const MatrixLoopArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
