// One row of the norm in sixteen lanes, compiled once per instruction family (lanes.h).
#pragma once

#include "kernels/lanes.h"
#include "kernels/norm/norm_isa.h"

namespace octet::kernels {
namespace {

OCTET_INLINE float SumOfSquares(const float* x, int64_t count) {
  F32x16 sum = Splat(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32x16 a = LoadLanes(x + i);
    sum = sum + a * a;
  }
  if (i < count) {
    const F32x16 a = LoadFirst(x + i, count - i);
    sum = sum + a * a;
  }
  return ReduceSum(sum);
}

void RmsNormRow(const float* x, const float* weight, float* y, int64_t hidden, float eps) {
  const float mean = SumOfSquares(x, hidden) / static_cast<float>(hidden);
  const F32x16 inverse = Splat(1.0f / __builtin_sqrtf(mean + eps));
  int64_t i = 0;
  for (; i + kLanes <= hidden; i += kLanes) {
    StoreLanes(y + i, LoadLanes(x + i) * inverse * LoadLanes(weight + i));
  }
  if (i < hidden) {
    const int64_t rest = hidden - i;
    StoreFirst(y + i, rest, LoadFirst(x + i, rest) * inverse * LoadFirst(weight + i, rest));
  }
}

void AddRow(float* residual, const float* delta, int64_t hidden) {
  for (int64_t i = 0; i < hidden; ++i) residual[i] += delta[i];
}

constexpr NormBody kBody = {RmsNormRow, AddRow};

}  // namespace
}  // namespace octet::kernels
