// Root-mean-square norm, alone and fused with the residual add that comes before it.
//
// A row's bits depend on that row and `hidden` alone, and the fused form has those of add, then
// norm. CUDA sums in another order than the CPU: a thread adds n <= max(16, hidden / 512) squares,
// then come at most ten levels of a tree; half of the error goes through the root, and a few single
// roundings follow: at most 2^-24 * (n + 21) / 2 of a value. REQUIRES, on CUDA: every array
// is aligned to 16 bytes.
#pragma once

#include <cstdint>

#include "base/device/stream.h"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels {

struct RmsNormArgs {
  const float* x = nullptr;       // [rows, hidden] f32, dense
  const float* weight = nullptr;  // [hidden] f32
  float* y = nullptr;             // [rows, hidden] f32, dense; may be x; null if `out` is wanted
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 1e-6f;
  ActivationRows out;  // y as the next linear reads it, or empty. REQUIRES: empty on the CPU
};
// y = x / sqrt(mean(x^2) + eps) * weight
void RmsNorm(const RmsNormArgs& args, Stream& stream);

struct AddRmsNormArgs {
  float* residual = nullptr;      // [rows, hidden] f32, in and out
  const float* delta = nullptr;   // [rows, hidden] f32
  const float* weight = nullptr;  // [hidden] f32
  float* y = nullptr;             // [rows, hidden] f32; not residual; null if `out` is wanted
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 1e-6f;
  const float* delta_bias = nullptr;  // [hidden] f32 or null: the bias of a row-parallel linear
  ActivationRows out;                 // as in RmsNormArgs
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
