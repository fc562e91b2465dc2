// Sixteen float lanes in one AVX-512 register. See lanes.h.
#pragma once

#include "kernels/lanes_base.h"

namespace octet::kernels {
namespace {

struct F32x16 {
  __m512 v;
};
using Mask16 = __mmask16;

OCTET_INLINE F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
OCTET_INLINE F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
OCTET_INLINE F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
OCTET_INLINE F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
OCTET_INLINE F32x16 Splat(float x) { return {_mm512_set1_ps(x)}; }
OCTET_INLINE F32x16 LoadLanes(const float* p) { return {_mm512_loadu_ps(p)}; }
OCTET_INLINE F32x16 LoadLanes(const int8_t* p) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes))};
}
OCTET_INLINE F32x16 LoadLanes(const int32_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))};
}
OCTET_INLINE F32x16 LoadLanes(const BF16* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
// Lane i is elements 2 i (of the first) and 2 i + 1 (of the second) of 32 f16 values.
OCTET_INLINE void LoadF16Pairs(const uint16_t* p, F32x16* even, F32x16* odd) {
  const __m512i pairs = _mm512_loadu_si512(p);
  *even = {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(pairs))};
  *odd = {_mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)))};
}
OCTET_INLINE void StoreLanes(float* p, F32x16 a) { _mm512_storeu_ps(p, a.v); }
OCTET_INLINE F32x16 LoadFirst(const float* p, int64_t n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p)};
}
OCTET_INLINE void StoreFirst(float* p, int64_t n, F32x16 a) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), a.v);
}

OCTET_INLINE Mask16 Less(F32x16 a, F32x16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
OCTET_INLINE Mask16 IsNan(F32x16 a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
OCTET_INLINE bool Any(Mask16 m) { return m != 0; }
// REQUIRES: a lane that is not set.
OCTET_INLINE int FirstNotSet(Mask16 m) { return __builtin_ctz(~static_cast<unsigned>(m)); }
OCTET_INLINE F32x16 Select(Mask16 m, F32x16 a, F32x16 b) {
  return {_mm512_mask_blend_ps(m, b.v, a.v)};
}
OCTET_INLINE Mask16 LanesBetween(int64_t begin, int64_t end) {  // 0 <= begin, end <= 16
  return static_cast<Mask16>(((1u << end) - 1) & ~((1u << begin) - 1));
}
// The end of Exp (lanes.h): p times two to the integer n, also the low bits of z. NaN where p is.
OCTET_INLINE F32x16 EndExp(F32x16 p, F32x16, F32x16 n, F32x16 x) {
  const __mmask16 above = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(88.72f), _CMP_GT_OQ);
  const __mmask16 not_below = _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(-87.0f), _CMP_NLT_UQ);
  const __m512 y = _mm512_maskz_scalef_ps(not_below, p.v, n.v);
  return {_mm512_mask_mov_ps(y, above, _mm512_set1_ps(__builtin_inff()))};
}
// The low byte of each lane's bits.
OCTET_INLINE void StoreLowBytes(int8_t* p, F32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(a.v)));
}
// The two low bytes of each lane's bits.
OCTET_INLINE void StoreLowShorts(int16_t* p, F32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_castps_si512(a.v)));
}

// Lane i is nibble i of eight bytes, the low one of a byte first.
OCTET_INLINE F32x16 LoadNibbles(const uint8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  const __m128i mask = _mm_set1_epi8(0x0f);
  const __m128i codes =
      _mm_unpacklo_epi8(_mm_and_si128(bytes, mask), _mm_and_si128(_mm_srli_epi16(bytes, 4), mask));
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes))};
}

// a > b ? a : b, so that b is taken where either is NaN.
OCTET_INLINE F32x16 Max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
OCTET_INLINE F32x16 Min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }

OCTET_INLINE float ReduceSum(F32x16 a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
OCTET_INLINE float ReduceMax(F32x16 a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace
}  // namespace octet::kernels
