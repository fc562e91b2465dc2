// Sixteen float lanes in plain C++: the definition that the other bodies reproduce bit for bit. See
// lanes.h.
#pragma once

#include "kernels/lanes_base.h"

namespace octet::kernels {
namespace {

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
OCTET_INLINE F32x16 LoadLanes(const int32_t* p) {
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
// REQUIRES: a lane that is not set.
OCTET_INLINE int FirstNotSet(Mask16 m) {
  int lane = 0;
  while (m.v[lane / 4][lane % 4] != 0) ++lane;
  return lane;
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
// The two low bytes of each lane's bits.
OCTET_INLINE void StoreLowShorts(int16_t* p, F32x16 a) {
  uint32_t wide[kLanes];
  std::memcpy(wide, &a, sizeof(wide));
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int16_t>(wide[i] & 0xffffu);
}

// Lane i is nibble i of eight bytes, the low one of a byte first.
OCTET_INLINE F32x16 LoadNibbles(const uint8_t* p) {
  float wide[kLanes];
  for (int i = 0; i < kLanes; ++i) wide[i] = static_cast<float>(p[i / 2] >> (i % 2 * 4) & 0x0f);
  return LoadLanes(wide);
}

// a > b ? a : b, so that b is taken where either is NaN.
OCTET_INLINE F32x16 Max(F32x16 a, F32x16 b) { return Select(Less(b, a), a, b); }
OCTET_INLINE F32x16 Min(F32x16 a, F32x16 b) { return Select(Less(a, b), a, b); }

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

}  // namespace
}  // namespace octet::kernels
