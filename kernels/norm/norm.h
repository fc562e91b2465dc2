// Root-mean-square norm and layer norm, alone and fused with the residual add that comes before it.
//
// A row's bits depend on that row and `hidden` alone, and the fused form has those of add, then
// norm. CUDA sums in another order than the CPU: a thread adds n <= max(16, hidden / 512) terms,
// then come at most ten levels of a tree. For the RMS norm half of the error goes through the root,
// and a few single roundings follow: at most 2^-24 * (n + 21) / 2 of a value. A layer norm takes
// the mean off first, in float32: its error is of that size of the row's largest value, not of
// each. REQUIRES, on CUDA: every array is aligned to 16 bytes.
#pragma once

#include <cstdint>

#include "base/device/stream.h"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels {

struct NormArgs {
  const float* x = nullptr;       // [rows, hidden] f32, dense
  const float* weight = nullptr;  // [hidden] f32
  float* y = nullptr;             // [rows, hidden] f32, dense; may be x; null if `out` is wanted
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 1e-6f;
  ActivationRows out;     // y as the next linear reads it, or empty. REQUIRES: empty on the CPU
  bool centered = false;  // layer norm: each row's mean is taken off it first
  const float* bias = nullptr;  // [hidden] f32 or null: added at the end. REQUIRES: centered
};
// y = x / sqrt(mean(x^2) + eps) * weight + bias
void Norm(const NormArgs& args, Stream& stream);

struct AddNormArgs {
  float* residual = nullptr;      // [rows, hidden] f32, in and out
  const float* delta = nullptr;   // [rows, hidden] f32
  const float* weight = nullptr;  // [hidden] f32
  float* y = nullptr;             // [rows, hidden] f32; not residual; null if `out` is wanted
  int64_t rows = 0;
  int64_t hidden = 0;
  float eps = 1e-6f;
  const float* delta_bias = nullptr;  // [hidden] f32 or null: the bias of a row-parallel linear
  ActivationRows out;                 // as in NormArgs
  bool centered = false;              // as in NormArgs
  const float* bias = nullptr;        // as in NormArgs
};
// residual += delta, then delta_bias if there is one; y = Norm(residual)
void AddNorm(const AddNormArgs& args, Stream& stream);

namespace cpu {
void Norm(const NormArgs& args, Stream& stream);
void AddNorm(const AddNormArgs& args, Stream& stream);
}  // namespace cpu
namespace cuda {
OCTET_CUDA_OP void Norm(const NormArgs& args, Stream& stream);
OCTET_CUDA_OP void AddNorm(const AddNormArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
