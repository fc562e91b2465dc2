// Root-mean-square norm, alone and fused with the residual add that comes before it.
#pragma once

#include <cstdint>

#include "base/device/stream.h"

namespace octet::kernels {

struct RmsNormArgs {
  const float* x = nullptr;       // [rows, hidden] f32, dense
  const float* weight = nullptr;  // [hidden] f32
  float* y = nullptr;             // [rows, hidden] f32, dense; may be x
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 1e-6f;
};
// y = x / sqrt(mean(x^2) + eps) * weight
void RmsNorm(const RmsNormArgs& args, Stream& stream);

struct AddRmsNormArgs {
  float* residual = nullptr;      // [rows, hidden] f32, in and out
  const float* delta = nullptr;   // [rows, hidden] f32
  const float* weight = nullptr;  // [hidden] f32
  float* y = nullptr;             // [rows, hidden] f32; not residual
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 1e-6f;
  const float* delta_bias = nullptr;  // [hidden] f32 or null: the bias of a row-parallel linear
};
// residual += delta, then delta_bias if there is one; y = RmsNorm(residual)
void AddRmsNorm(const AddRmsNormArgs& args, Stream& stream);

namespace cpu {
void RmsNorm(const RmsNormArgs& args, Stream& stream);
void AddRmsNorm(const AddRmsNormArgs& args, Stream& stream);
}  // namespace cpu
namespace cuda {
OCTET_CUDA_OP void RmsNorm(const RmsNormArgs& args, Stream& stream);
OCTET_CUDA_OP void AddRmsNorm(const AddRmsNormArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
