// The same functions from each instruction family.
#pragma once

#include <cstdint>

namespace octet::kernels::avx512 {

void RmsNormRow(const float* x, const float* weight, float* y, int64_t hidden, float eps);
void AddRow(float* residual, const float* delta, int64_t hidden);  // residual += delta

}  // namespace octet::kernels::avx512
