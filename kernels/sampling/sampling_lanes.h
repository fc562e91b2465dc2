// The loops over logits in sixteen lanes, compiled once per instruction family (lanes.h).
#pragma once

#include "kernels/lanes.h"
#include "kernels/sampling/noise_lanes.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels {
namespace {

float MaxOf(const float* logits, int64_t count) {
  const F32x16 none = Splat(-__builtin_inff());
  F32x16 max = none;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) max = Max(LoadLanes(logits + i), max);
  if (i < count) {
    const F32x16 rest = LoadFirst(logits + i, count - i);
    max = Max(Select(LanesBetween(0, count - i), rest, none), max);
  }
  return ReduceMax(max);
}

OCTET_INLINE F32x16 WeightLanes(F32x16 logits, float max, float temperature) {
  const F32x16 weight = Exp((logits - Splat(max)) / Splat(temperature));
  return Select(IsNan(weight), Splat(0.0f), weight);
}

void Weigh(float* values, int64_t count, float max, float temperature) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    StoreLanes(values + i, WeightLanes(LoadLanes(values + i), max, temperature));
  }
  if (i < count) {
    const F32x16 rest = LoadFirst(values + i, count - i);
    StoreFirst(values + i, count - i, WeightLanes(rest, max, temperature));
  }
}

uint64_t MassOf(const float* logits, int64_t count, float max, float temperature) {
  uint64_t mass = 0;
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = count - i < kLanes ? count - i : kLanes;
    float weights[kLanes];
    const F32x16 lanes = n == kLanes ? LoadLanes(logits + i) : LoadFirst(logits + i, n);
    StoreLanes(weights, WeightLanes(lanes, max, temperature) * Splat(kMassOfOne));
    for (int64_t j = 0; j < n; ++j) mass += static_cast<uint64_t>(weights[j]);
  }
  return mass;
}

// NaN is what is left of an infinite logit relative to an infinite max.
OCTET_INLINE F32x16 ExpOrZero(F32x16 x) { return Select(IsNan(x), Splat(0.0f), Exp(x)); }

float SumExp(const float* logits, int64_t count, float max) {
  F32x16 sums = Splat(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    sums = sums + ExpOrZero(LoadLanes(logits + i) - Splat(max));
  }
  if (i < count) {
    const F32x16 rest = ExpOrZero(LoadFirst(logits + i, count - i) - Splat(max));
    sums = sums + Select(LanesBetween(0, count - i), rest, Splat(0.0f));
  }
  return ReduceSum(sums);
}

constexpr SamplingBody kBody = {MaxOf, FindWords, Weigh, MassOf, SumExp};

}  // namespace
}  // namespace octet::kernels
