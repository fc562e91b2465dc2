// Sixteen float lanes: the unit in which every sum of the elementwise ops and of attention is
// defined, compiled once for plain C++ and once for AVX-512, with the same bits.
//
// The rule: lane i sums elements i, i + 16, ... in ascending order; lanes are then added i with
// i + 8, with i + 4, with i + 2, with i + 1. Products are rounded before they are added (no FMA).
//
// Everything lies in an anonymous namespace and is always inlined, because the same source is
// compiled with different instruction sets: nothing of it may be shared between object files.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // gcc 12's own header (gcc bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#define OCTET_INLINE inline __attribute__((always_inline))

namespace octet::kernels {
namespace {

constexpr int kLanes = 16;

struct BF16 {
  uint16_t bits;
};

#if defined(__AVX512F__)

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
OCTET_INLINE F32x16 Select(Mask16 m, F32x16 a, F32x16 b) {
  return {_mm512_mask_blend_ps(m, b.v, a.v)};
}
OCTET_INLINE Mask16 LanesBetween(int64_t begin, int64_t end) {  // 0 <= begin, end <= 16
  return static_cast<Mask16>(((1u << end) - 1) & ~((1u << begin) - 1));
}
// The bits of p plus (the low bits of z) << 23: multiplies p by a power of two.
OCTET_INLINE F32x16 AddToExponent(F32x16 p, F32x16 z) {
  const __m512i shift = _mm512_slli_epi32(_mm512_castps_si512(z.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.v), shift))};
}
// The low byte of each lane's bits.
OCTET_INLINE void StoreLowBytes(int8_t* p, F32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(a.v)));
}

#else

typedef float F32x4 __attribute__((vector_size(16)));
typedef uint32_t U32x4 __attribute__((vector_size(16)));

struct F32x16 {
  F32x4 v[4];
};
struct Mask16 {
  U32x4 v[4];
};

#define OCTET_EACH_QUARTER(expression)                                        \
  [&](int i) { return expression; }(0), [&](int i) { return expression; }(1), \
      [&](int i) { return expression; }(2), [&](int i) { return expression; }(3)

OCTET_INLINE F32x16 operator+(F32x16 a, F32x16 b) {
  return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
}
OCTET_INLINE F32x16 operator-(F32x16 a, F32x16 b) {
  return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}};
}
OCTET_INLINE F32x16 operator*(F32x16 a, F32x16 b) {
  return {{a.v[0] * b.v[0], a.v[1] * b.v[1], a.v[2] * b.v[2], a.v[3] * b.v[3]}};
}
OCTET_INLINE F32x16 operator/(F32x16 a, F32x16 b) {
  return {{a.v[0] / b.v[0], a.v[1] / b.v[1], a.v[2] / b.v[2], a.v[3] / b.v[3]}};
}
OCTET_INLINE F32x16 Splat(float x) {
  const F32x4 q = {x, x, x, x};
  return {{q, q, q, q}};
}
OCTET_INLINE F32x16 LoadLanes(const float* p) {
  F32x16 a;
  std::memcpy(&a, p, sizeof(a));
  return a;
}
OCTET_INLINE F32x16 LoadLanes(const int8_t* p) {
  float wide[kLanes];
  for (int i = 0; i < kLanes; ++i) wide[i] = static_cast<float>(p[i]);
  return LoadLanes(wide);
}
OCTET_INLINE F32x16 LoadLanes(const BF16* p) {
  float wide[kLanes];
  for (int i = 0; i < kLanes; ++i) wide[i] = std::bit_cast<float>(uint32_t{p[i].bits} << 16);
  return LoadLanes(wide);
}
OCTET_INLINE float F16Lane(uint16_t bits) {  // finite values; see base/dtype.h
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t rest = bits & 0x7fffu;
  if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
  // The bits moved into place read as the value times 2^-112; the product is exact.
  return std::bit_cast<float>(
      sign | std::bit_cast<uint32_t>(std::bit_cast<float>(rest << 13) * 0x1p+112f));
}
OCTET_INLINE void LoadF16Pairs(const uint16_t* p, F32x16* even, F32x16* odd) {
  float wide[2][kLanes];
  for (int i = 0; i < kLanes; ++i) {
    wide[0][i] = F16Lane(p[2 * i]);
    wide[1][i] = F16Lane(p[2 * i + 1]);
  }
  *even = LoadLanes(wide[0]);
  *odd = LoadLanes(wide[1]);
}
OCTET_INLINE void StoreLanes(float* p, F32x16 a) { std::memcpy(p, &a, sizeof(a)); }
OCTET_INLINE F32x16 LoadFirst(const float* p, int64_t n) {
  float wide[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) wide[i] = p[i];
  return LoadLanes(wide);
}
OCTET_INLINE void StoreFirst(float* p, int64_t n, F32x16 a) {
  float wide[kLanes];
  StoreLanes(wide, a);
  for (int64_t i = 0; i < n; ++i) p[i] = wide[i];
}

OCTET_INLINE U32x4 Bits(F32x4 a) { return reinterpret_cast<U32x4>(a); }
OCTET_INLINE F32x4 Floats(U32x4 a) { return reinterpret_cast<F32x4>(a); }
OCTET_INLINE Mask16 Less(F32x16 a, F32x16 b) {
  return {{OCTET_EACH_QUARTER(reinterpret_cast<U32x4>(a.v[i] < b.v[i]))}};
}
OCTET_INLINE Mask16 IsNan(F32x16 a) {
  return {{OCTET_EACH_QUARTER(reinterpret_cast<U32x4>(a.v[i] != a.v[i]))}};
}
OCTET_INLINE bool Any(Mask16 m) {
  const U32x4 any = (m.v[0] | m.v[1]) | (m.v[2] | m.v[3]);
  return (any[0] | any[1] | any[2] | any[3]) != 0;
}
OCTET_INLINE F32x16 Select(Mask16 m, F32x16 a, F32x16 b) {
  return {{OCTET_EACH_QUARTER(Floats((Bits(a.v[i]) & m.v[i]) | (Bits(b.v[i]) & ~m.v[i])))}};
}
OCTET_INLINE Mask16 LanesBetween(int64_t begin, int64_t end) {
  uint32_t wide[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) wide[i] = i >= begin && i < end ? ~0u : 0u;
  Mask16 mask;
  std::memcpy(&mask, wide, sizeof(mask));
  return mask;
}
OCTET_INLINE F32x16 AddToExponent(F32x16 p, F32x16 z) {
  return {{OCTET_EACH_QUARTER(Floats(Bits(p.v[i]) + (Bits(z.v[i]) << 23)))}};
}
OCTET_INLINE void StoreLowBytes(int8_t* p, F32x16 a) {
  uint32_t wide[kLanes];
  std::memcpy(wide, &a, sizeof(wide));
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(wide[i] & 0xffu);
}

#endif

// a > b ? a : b, so that b is taken where either is NaN.
OCTET_INLINE F32x16 Max(F32x16 a, F32x16 b) {
#if defined(__AVX512F__)
  return {_mm512_max_ps(a.v, b.v)};
#else
  return Select(Less(b, a), a, b);
#endif
}
OCTET_INLINE F32x16 Min(F32x16 a, F32x16 b) {
#if defined(__AVX512F__)
  return {_mm512_min_ps(a.v, b.v)};
#else
  return Select(Less(a, b), a, b);
#endif
}

#if defined(__AVX512F__)
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
#else
OCTET_INLINE float ReduceSum(F32x16 a) {
  const F32x4 four = (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
OCTET_INLINE float ReduceMax(F32x16 a) {
  float x[kLanes];
  StoreLanes(x, a);
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) x[i] = x[i] > x[i + half] ? x[i] : x[i + half];
  }
  return x[0];
}
#endif

// e^x, at most 2 ulp off for x in [-87, 88.72]; 0 below, +inf above, NaN for NaN. Cephes' expf
// (Moshier): x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r, then n added to the exponent.
OCTET_INLINE F32x16 Exp(F32x16 x) {
  const F32x16 round = Splat(12582912.0f);  // 1.5 * 2^23: the sum's low bits are the integer n
  const F32x16 z = x * Splat(1.44269504088896341f) + round;
  const F32x16 n = z - round;
  const F32x16 r = (x - n * Splat(0.693359375f)) - n * Splat(-2.12194440e-4f);
  F32x16 p = Splat(1.9875691500e-4f);
  p = p * r + Splat(1.3981999507e-3f);
  p = p * r + Splat(8.3334519073e-3f);
  p = p * r + Splat(4.1665795894e-2f);
  p = p * r + Splat(1.6666665459e-1f);
  p = p * r + Splat(5.0000001201e-1f);
  p = (p * (r * r) + r) + Splat(1.0f);
  F32x16 y = AddToExponent(p, z);
  y = Select(Less(x, Splat(-87.0f)), Splat(0.0f), y);
  y = Select(Less(Splat(88.72f), x), Splat(__builtin_inff()), y);
  return Select(IsNan(x), x, y);
}
OCTET_INLINE float Exp(float x) {
  float lanes[kLanes];
  StoreLanes(lanes, Exp(Splat(x)));
  return lanes[0];
}

}  // namespace
}  // namespace octet::kernels
