// QuantizeKvVector in sixteen lanes, compiled once per instruction family (lanes.h).
#pragma once

#include "kernels/formats/kv_quantize.h"
#include "kernels/lanes.h"

namespace octet::kernels {
namespace {

// The lanes at `i`; those past the end repeat the first value, which changes no extreme.
OCTET_INLINE F32x16 LoadRepeating(const float* values, int64_t i, int64_t count) {
  if (i + kLanes <= count) return LoadLanes(values + i);
  const int64_t rest = count - i;
  return Select(LanesBetween(0, rest), LoadFirst(values + i, rest), Splat(values[0]));
}

OCTET_INLINE void QuantizeVector(const float* values, int64_t head_dim, int8_t* codes,
                                 uint16_t* scale, uint16_t* zero) {
  F32x16 min = Splat(values[0]);
  F32x16 max = min;
  F32x16 odd = Splat(0.0f);  // NaN where a value is infinite or NaN: x - x, else 0
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const F32x16 a = LoadRepeating(values, i, head_dim);
    min = Min(a, min);
    max = Max(a, max);
    odd = odd + (a - a);
  }
  const float low = -ReduceMax(Splat(0.0f) - min);
  const KvScale s = KvScaleOf(low, ReduceMax(max), !Any(IsNan(odd)));
  *scale = s.scale_bits;
  *zero = s.zero_bits;
  if (!s.has_codes) {
    std::memset(codes, 0, static_cast<size_t>(head_dim));
    return;
  }
  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const F32x16 a = LoadRepeating(values, i, head_dim);
    const F32x16 code =
        Min(Max((a - Splat(s.zero)) / Splat(s.scale), Splat(-128.0f)), Splat(127.0f));
    // 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
    const F32x16 rounded = code + Splat(12582912.0f);
    if (i + kLanes <= head_dim) {
      StoreLowBytes(codes + i, rounded);
    } else {
      int8_t tail[kLanes];
      StoreLowBytes(tail, rounded);
      std::memcpy(codes + i, tail, static_cast<size_t>(head_dim - i));
    }
  }
}

}  // namespace
}  // namespace octet::kernels
