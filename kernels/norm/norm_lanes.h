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

// The sum of x - mean, or of its squares.
template <bool kSquared>
OCTET_INLINE float SumOfCentered(const float* x, float mean, int64_t count) {
  F32x16 sum = Splat(0.0f);
  const F32x16 center = Splat(mean);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32x16 a = LoadLanes(x + i) - center;
    sum = sum + (kSquared ? a * a : a);
  }
  if (i < count) {  // lanes past the end are the mean: they add nothing
    const int64_t rest = count - i;
    const F32x16 a = Select(LanesBetween(0, rest), LoadFirst(x + i, rest), center) - center;
    sum = sum + (kSquared ? a * a : a);
  }
  return ReduceSum(sum);
}

void LayerNormRow(const float* x, const float* weight, const float* bias, float* y, int64_t hidden,
                  float eps) {
  const auto count = static_cast<float>(hidden);
  const float mean = SumOfCentered<false>(x, 0.0f, hidden) / count;
  const float variance = SumOfCentered<true>(x, mean, hidden) / count;
  const F32x16 center = Splat(mean);
  const F32x16 inverse = Splat(1.0f / __builtin_sqrtf(variance + eps));
  for (int64_t i = 0; i < hidden; i += kLanes) {
    const int64_t rest = hidden - i < kLanes ? hidden - i : kLanes;
    F32x16 a = (LoadFirst(x + i, rest) - center) * inverse * LoadFirst(weight + i, rest);
    if (bias != nullptr) a = a + LoadFirst(bias + i, rest);
    StoreFirst(y + i, rest, a);
  }
}

void AddRow(float* residual, const float* delta, int64_t hidden) {
  for (int64_t i = 0; i < hidden; ++i) residual[i] += delta[i];
}

void AddSumRow(float* __restrict residual, const float* left, const float* right, int64_t hidden) {
  for (int64_t i = 0; i < hidden; ++i) residual[i] += left[i] + right[i];
}

constexpr NormBody kBody = {RmsNormRow, LayerNormRow, AddRow, AddSumRow};

}  // namespace
}  // namespace octet::kernels
