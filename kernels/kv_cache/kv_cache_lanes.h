// QuantizeKvVector, QuantizeKvVectorStatic and QuantizeKvVectorInt4 in sixteen lanes, compiled once
// per instruction family (lanes.h).
#pragma once

#include "kernels/formats/kv_layout.h"
#include "kernels/formats/kv_quantize.h"
#include "kernels/kv_cache/kv_cache_isa.h"
#include "kernels/lanes.h"

namespace octet::kernels {
namespace {

// The lanes at `i`; those past the end repeat the first value, which changes no extreme.
OCTET_INLINE F32x16 LoadRepeating(const float* values, int64_t i, int64_t count) {
  if (i + kLanes <= count) return LoadLanes(values + i);
  const int64_t rest = count - i;
  return Select(LanesBetween(0, rest), LoadFirst(values + i, rest), Splat(values[0]));
}

struct Extremes {
  float min = 0;
  float max = 0;
  bool finite = true;  // all values are
};

OCTET_INLINE Extremes ExtremesOf(const float* values, int64_t count) {
  F32x16 min = Splat(values[0]);
  F32x16 max = min;
  F32x16 odd = Splat(0.0f);  // NaN where a value is infinite or NaN: x - x, else 0
  for (int64_t i = 0; i < count; i += kLanes) {
    const F32x16 a = LoadRepeating(values, i, count);
    min = Min(a, min);
    max = Max(a, max);
    odd = odd + (a - a);
  }
  return {-ReduceMax(Splat(0.0f) - min), ReduceMax(max), !Any(IsNan(odd))};
}

void QuantizeInt8(const float* values, int64_t head_dim, const uint16_t* given, int8_t* codes,
                  uint16_t* pair) {
  const Extremes extremes = ExtremesOf(values, head_dim);
  const KvScale s = given != nullptr ? KvStaticScaleOf(given, extremes.finite)
                                     : KvScaleOf(extremes.min, extremes.max, extremes.finite);
  pair[0] = s.scale_bits;
  pair[1] = s.zero_bits;
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

void QuantizeInt4(const float* values, int64_t head_dim, uint8_t* codes, uint16_t* pairs) {
  for (int64_t begin = 0; begin < head_dim; begin += kKvInt4Group, pairs += 2) {
    const int64_t rest = head_dim - begin;  // a multiple of the lanes
    const int64_t count = rest < kKvInt4Group ? rest : kKvInt4Group;
    const Extremes extremes = ExtremesOf(values + begin, count);
    const KvScale s = KvInt4ScaleOf(extremes.min, extremes.max, extremes.finite);
    pairs[0] = s.scale_bits;
    pairs[1] = s.zero_bits;
    for (int64_t i = begin; i < begin + count; i += kLanes) {
      const F32x16 distance = LoadLanes(values + i) - Splat(s.zero);
      const F32x16 code = Min(Max(distance / Splat(s.scale), Splat(0.0f)), Splat(15.0f));
      StoreNibbles(codes + i / 2, s.has_codes ? code + Splat(12582912.0f) : Splat(0.0f));
    }
  }
}

constexpr KvCacheBody kBody = {QuantizeInt8, QuantizeInt4};

}  // namespace
}  // namespace octet::kernels
