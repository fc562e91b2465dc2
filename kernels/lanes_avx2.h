// Sixteen float lanes in two AVX2 registers: lanes 0..7, then 8..15. See lanes.h.
#pragma once

#include "kernels/lanes_base.h"

namespace octet::kernels {
namespace {

struct F32x16 {
  __m256 v[2];
};
struct Mask16 {  // all bits of a lane, or none
  __m256 v[2];
};

OCTET_INLINE F32x16 operator+(F32x16 a, F32x16 b) {
  return {{_mm256_add_ps(a.v[0], b.v[0]), _mm256_add_ps(a.v[1], b.v[1])}};
}
OCTET_INLINE F32x16 operator-(F32x16 a, F32x16 b) {
  return {{_mm256_sub_ps(a.v[0], b.v[0]), _mm256_sub_ps(a.v[1], b.v[1])}};
}
OCTET_INLINE F32x16 operator*(F32x16 a, F32x16 b) {
  return {{_mm256_mul_ps(a.v[0], b.v[0]), _mm256_mul_ps(a.v[1], b.v[1])}};
}
OCTET_INLINE F32x16 operator/(F32x16 a, F32x16 b) {
  return {{_mm256_div_ps(a.v[0], b.v[0]), _mm256_div_ps(a.v[1], b.v[1])}};
}
OCTET_INLINE F32x16 Splat(float x) { return {{_mm256_set1_ps(x), _mm256_set1_ps(x)}}; }
OCTET_INLINE F32x16 LoadLanes(const float* p) {
  return {{_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}};
}
OCTET_INLINE F32x16 LoadLanes(const int8_t* p) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {{_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)),
           _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(codes, codes)))}};
}
OCTET_INLINE F32x16 LoadLanes(const int32_t* p) {
  const auto* eights = reinterpret_cast<const __m256i*>(p);
  return {{_mm256_cvtepi32_ps(_mm256_loadu_si256(eights)),
           _mm256_cvtepi32_ps(_mm256_loadu_si256(eights + 1))}};
}
OCTET_INLINE F32x16 LoadLanes(const BF16* p) {
  const auto widen = [](const BF16* half) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(half));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  };
  return {{widen(p), widen(p + 8)}};
}
// Lane i is nibble i of eight bytes, the low one of a byte first.
OCTET_INLINE F32x16 LoadNibbles(const uint8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const __m128i mask = _mm_set1_epi8(0x0f);
  const __m128i codes =
      _mm_unpacklo_epi8(_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
  return {{_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes)),
           _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(codes, codes)))}};
}
// Lane i is elements 2 i (of the first) and 2 i + 1 (of the second) of 32 f16 values.
OCTET_INLINE void LoadF16Pairs(const uint16_t* p, F32x16* even, F32x16* odd) {
  // Eight words below 2^16 to eight halves.
  const auto narrow = [](__m256i words) {
    return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  };
  for (int i = 0; i < 2; ++i) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i * 16));
    even->v[i] = _mm256_cvtph_ps(narrow(_mm256_and_si256(pairs, _mm256_set1_epi32(0xffff))));
    odd->v[i] = _mm256_cvtph_ps(narrow(_mm256_srli_epi32(pairs, 16)));
  }
}
OCTET_INLINE void StoreLanes(float* p, F32x16 a) {
  _mm256_storeu_ps(p, a.v[0]);
  _mm256_storeu_ps(p + 8, a.v[1]);
}

OCTET_INLINE Mask16 LanesBetween(int64_t begin, int64_t end) {  // 0 <= begin, end <= 16
  const auto between = [&](__m256i lane) {
    const __m256i from = _mm256_set1_epi32(static_cast<int>(begin) - 1);
    const __m256i to = _mm256_set1_epi32(static_cast<int>(end));
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_cmpgt_epi32(lane, from), _mm256_cmpgt_epi32(to, lane)));
  };
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {{between(lanes), between(_mm256_add_epi32(lanes, _mm256_set1_epi32(8)))}};
}
OCTET_INLINE F32x16 LoadFirst(const float* p, int64_t n) {
  const Mask16 m = LanesBetween(0, n);
  return {{_mm256_maskload_ps(p, _mm256_castps_si256(m.v[0])),
           _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.v[1]))}};
}
OCTET_INLINE void StoreFirst(float* p, int64_t n, F32x16 a) {
  const Mask16 m = LanesBetween(0, n);
  _mm256_maskstore_ps(p, _mm256_castps_si256(m.v[0]), a.v[0]);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.v[1]), a.v[1]);
}

OCTET_INLINE Mask16 Less(F32x16 a, F32x16 b) {
  return {{_mm256_cmp_ps(a.v[0], b.v[0], _CMP_LT_OQ), _mm256_cmp_ps(a.v[1], b.v[1], _CMP_LT_OQ)}};
}
OCTET_INLINE Mask16 IsNan(F32x16 a) {
  return {
      {_mm256_cmp_ps(a.v[0], a.v[0], _CMP_UNORD_Q), _mm256_cmp_ps(a.v[1], a.v[1], _CMP_UNORD_Q)}};
}
// REQUIRES: a lane that is not set.
OCTET_INLINE int FirstNotSet(Mask16 m) {
  const int set = _mm256_movemask_ps(m.v[0]) | _mm256_movemask_ps(m.v[1]) << 8;
  return __builtin_ctz(~static_cast<unsigned>(set));
}
OCTET_INLINE bool Any(Mask16 m) { return _mm256_movemask_ps(_mm256_or_ps(m.v[0], m.v[1])) != 0; }
OCTET_INLINE F32x16 Select(Mask16 m, F32x16 a, F32x16 b) {
  return {{_mm256_blendv_ps(b.v[0], a.v[0], m.v[0]), _mm256_blendv_ps(b.v[1], a.v[1], m.v[1])}};
}
// The bits of p plus (the low bits of z) << 23: multiplies p by a power of two.
OCTET_INLINE F32x16 AddToExponent(F32x16 p, F32x16 z) {
  const auto add = [](__m256 x, __m256 n) {
    const __m256i shift = _mm256_slli_epi32(_mm256_castps_si256(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), shift));
  };
  return {{add(p.v[0], z.v[0]), add(p.v[1], z.v[1])}};
}
// The two low bytes of each lane's bits.
OCTET_INLINE __m256i LowShorts(F32x16 a) {
  const __m256i mask = _mm256_set1_epi32(0xffff);
  const __m256i halves = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(a.v[0]), mask),
                                             _mm256_and_si256(_mm256_castps_si256(a.v[1]), mask));
  return _mm256_permute4x64_epi64(halves, 0xd8);
}
OCTET_INLINE void StoreLowShorts(int16_t* p, F32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), LowShorts(a));
}
// The low byte of each lane's bits.
OCTET_INLINE void StoreLowBytes(int8_t* p, F32x16 a) {
  const __m256i bytes = _mm256_and_si256(LowShorts(a), _mm256_set1_epi16(0xff));
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
}

// a > b ? a : b, so that b is taken where either is NaN.
OCTET_INLINE F32x16 Max(F32x16 a, F32x16 b) {
  return {{_mm256_max_ps(a.v[0], b.v[0]), _mm256_max_ps(a.v[1], b.v[1])}};
}
OCTET_INLINE F32x16 Min(F32x16 a, F32x16 b) {
  return {{_mm256_min_ps(a.v[0], b.v[0]), _mm256_min_ps(a.v[1], b.v[1])}};
}

OCTET_INLINE float ReduceSum(F32x16 a) {
  const __m256 eight = _mm256_add_ps(a.v[0], a.v[1]);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
OCTET_INLINE float ReduceMax(F32x16 a) {
  const __m256 eight = _mm256_max_ps(a.v[0], a.v[1]);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace
}  // namespace octet::kernels
