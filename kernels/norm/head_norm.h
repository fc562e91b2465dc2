// RMS norm of every query and key head by itself, in place, as Qwen3 has it before rope.
//
// A head's bits depend on that head alone. Tolerance of CUDA: as Norm with hidden = head_dim.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::kernels {

struct HeadNormArgs {
  // [rows, (heads + kv_heads) * head_dim] f32 in place, row stride x_stride elements: query heads,
  // then key heads.
  float* x = nullptr;
  int64_t x_stride = 0;
  const float* q_weight = nullptr;  // [head_dim] f32
  const float* k_weight = nullptr;  // [head_dim] f32
  int64_t rows = 0;
  int64_t heads = 0;  // of this rank; 0 is legal
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  float eps = 1e-6f;
};
// x = x / sqrt(mean(x^2) + eps) * weight, the mean over one head
void HeadNorm(const HeadNormArgs& args, Stream& stream);

namespace cpu {
void HeadNorm(const HeadNormArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void HeadNorm(const HeadNormArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
