// Arithmetic of octet::hw on the host: bit-exact but for exp2 and log2 (the host's are nearer to
// the true value) and for the bits of a NaN.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/dtype.h"
#include "tests/support/emulator/cuda_names.h"

namespace octet::hw {

inline int32_t computed_here(int32_t x) { return x; }
template <typename T>
T* shared_here(T* shared) {
  return shared;
}

template <int kTable>
uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  static_assert(kTable >= 0 && kTable < 256);
  uint32_t d = 0;
  for (int row = 0; row < 8; ++row) {
    if ((kTable >> row & 1) == 0) continue;
    d |= ((row & 4) != 0 ? a : ~a) & ((row & 2) != 0 ? b : ~b) & ((row & 1) != 0 ? c : ~c);
  }
  return d;
}

inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = uint64_t{b} << 32 | a;
  uint32_t d = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t nibble = selector >> (4 * i) & 15u;
    auto byte = static_cast<uint32_t>(bytes >> (8 * (nibble & 7u)) & 255u);
    if ((nibble & 8u) != 0) byte = (byte & 128u) != 0 ? 255u : 0u;
    d |= byte << (8 * i);
  }
  return d;
}

inline int32_t dp4a_s8s8(uint32_t a, uint32_t b, int32_t c) {
  auto sum = static_cast<uint32_t>(c);
  for (int i = 0; i < 32; i += 8)
    sum += static_cast<uint32_t>(static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i));
  return static_cast<int32_t>(sum);
}
inline int32_t dp4a_u8s8(uint32_t a, uint32_t b, int32_t c) {
  auto sum = static_cast<uint32_t>(c);
  for (int i = 0; i < 32; i += 8)
    sum += static_cast<uint32_t>(static_cast<uint8_t>(a >> i) * static_cast<int8_t>(b >> i));
  return static_cast<int32_t>(sum);
}

inline float FlushSubnormal(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
inline float exp2(float x) { return FlushSubnormal(std::exp2(FlushSubnormal(x))); }
inline float log2(float x) { return FlushSubnormal(std::log2(FlushSubnormal(x))); }

inline int32_t RoundClamped(float x, float low, float high) {
  if (std::isnan(x)) return 0;
  return static_cast<int32_t>(std::nearbyint(std::fmin(std::fmax(x, low), high)));
}
inline int32_t round_to_s8(float x) { return RoundClamped(x, -128.0f, 127.0f); }
inline uint32_t round_to_u8(float x) {
  return static_cast<uint32_t>(RoundClamped(x, 0.0f, 255.0f));
}

inline uint16_t bf16(float x) { return FloatToBF16(x); }
inline uint32_t bf16x2(float low, float high) {
  return uint32_t{FloatToBF16(high)} << 16 | FloatToBF16(low);
}
inline float float_of_bf16(uint16_t x) { return BF16ToFloat(x); }
inline float2 floats_of_bf16x2(uint32_t x) {
  return {BF16ToFloat(static_cast<uint16_t>(x)), BF16ToFloat(static_cast<uint16_t>(x >> 16))};
}
inline uint16_t f16(float x) { return FloatToF16(x); }
inline uint32_t f16x2(float low, float high) {
  return uint32_t{FloatToF16(high)} << 16 | FloatToF16(low);
}
inline float float_of_f16(uint16_t x) { return F16ToFloat(x); }
inline float2 floats_of_f16x2(uint32_t x) {
  return {F16ToFloat(static_cast<uint16_t>(x)), F16ToFloat(static_cast<uint16_t>(x >> 16))};
}

// a * b + c rounded to odd in float, which a narrower format then rounds as if from the exact
// value: the product of two 16-bit floats is exact in double, and the error of the sum is known.
inline float FmaToOdd(float a, float b, float c) {
  const double product = static_cast<double>(a) * b;
  const double sum = product + c;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (c - part);
  auto rounded = static_cast<float>(sum);
  if (!std::isfinite(rounded)) return rounded;
  const double left = (sum - rounded) + error;
  if (left != 0 && (std::bit_cast<uint32_t>(rounded) & 1u) == 0)
    rounded = std::nextafter(rounded, left > 0 ? INFINITY : -INFINITY);
  return rounded;
}
inline uint32_t fma_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
  const float2 x = floats_of_bf16x2(a), y = floats_of_bf16x2(b), z = floats_of_bf16x2(c);
  return bf16x2(FmaToOdd(x.x, y.x, z.x), FmaToOdd(x.y, y.y, z.y));
}
inline uint32_t fma_f16x2(uint32_t a, uint32_t b, uint32_t c) {
  const float2 x = floats_of_f16x2(a), y = floats_of_f16x2(b), z = floats_of_f16x2(c);
  return f16x2(FmaToOdd(x.x, y.x, z.x), FmaToOdd(x.y, y.y, z.y));
}
inline uint32_t sub_f16x2(uint32_t a, uint32_t b) {
  const float2 x = floats_of_f16x2(a), y = floats_of_f16x2(b);
  return f16x2(FmaToOdd(-1.0f, y.x, x.x), FmaToOdd(-1.0f, y.y, x.y));
}

}  // namespace octet::hw
