// Sixteen float lanes: the unit in which every sum of the elementwise ops and of attention is
// defined, compiled once for plain C++, once for AVX2 and once for AVX-512, with the same bits.
//
// The rule: lane i sums elements i, i + 16, ... in ascending order; lanes are then added i with
// i + 8, with i + 4, with i + 2, with i + 1. Products are rounded before they are added (no FMA).
//
// Everything lies in an anonymous namespace and is always inlined, because the same source is
// compiled with different instruction sets: nothing of it may be shared between object files.
#pragma once

#if defined(__AVX512F__)
#include "kernels/lanes_avx512.h"
#elif defined(__AVX2__)
#include "kernels/lanes_avx2.h"
#else
#include "kernels/lanes_plain.h"
#endif

namespace octet::kernels {
namespace {

// The low nibble of each lane's bits, as LoadNibbles reads them. No family needs its own: a vector
// is written once, and read once a step.
OCTET_INLINE void StoreNibbles(uint8_t* p, F32x16 a) {
  int8_t bytes[kLanes];
  StoreLowBytes(bytes, a);
  for (int i = 0; i < kLanes / 2; ++i) {
    p[i] = static_cast<uint8_t>((bytes[2 * i] & 0x0f) | (bytes[2 * i + 1] & 0x0f) << 4);
  }
}

#if !defined(__AVX512F__)
// The end of Exp: p times two to the integer n, which is also in the low bits of z. AVX-512 has an
// instruction for it.
OCTET_INLINE F32x16 EndExp(F32x16 p, F32x16 z, F32x16, F32x16 x) {
  F32x16 y = AddToExponent(p, z);
  y = Select(Less(x, Splat(-87.0f)), Splat(0.0f), y);
  y = Select(Less(Splat(88.72f), x), Splat(__builtin_inff()), y);
  return Select(IsNan(x), x, y);
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
  return EndExp(p, z, n, x);
}
OCTET_INLINE float Exp(float x) {
  float lanes[kLanes];
  StoreLanes(lanes, Exp(Splat(x)));
  return lanes[0];
}

}  // namespace
}  // namespace octet::kernels
