// The same functions from each instruction family.
#pragma once

#include <cstdint>

namespace octet::kernels {

struct NormBody {
  void (*rms_norm_row)(const float* x, const float* weight, float* y, int64_t hidden, float eps);
  // `bias` may be null.
  void (*layer_norm_row)(const float* x, const float* weight, const float* bias, float* y,
                         int64_t hidden, float eps);
  void (*add_row)(float* residual, const float* delta, int64_t hidden);  // residual += delta
  // residual += left + right
  void (*add_sum_row)(float* residual, const float* left, const float* right, int64_t hidden);
};
extern const NormBody kPlainNorm;
extern const NormBody kAvx2Norm;
extern const NormBody kAvx512Norm;

}  // namespace octet::kernels
