#include "kernels/norm/norm_isa.h"
#include "kernels/norm/norm_lanes.h"

namespace octet::kernels::avx512 {

void RmsNormRow(const float* x, const float* weight, float* y, int64_t hidden, float eps) {
  kernels::RmsNormRow(x, weight, y, hidden, eps);
}

void AddRow(float* residual, const float* delta, int64_t hidden) {
  kernels::AddRow(residual, delta, hidden);
}

}  // namespace octet::kernels::avx512
