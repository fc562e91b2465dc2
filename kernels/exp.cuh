// Exp of lanes.h for one element, with its bits.
#pragma once

#include "base/device/primitives.cuh"

namespace octet::kernels::cuda {

// e^x, at most 2 ulp off for x in [-87, 88.72]; 0 below, +inf above, NaN for NaN. No multiply is
// fused with an add (primitives.cuh), as in lanes.h.
OCTET_DEVICE float Exp(float x) {
  const float round = 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the integer n
  const float z = x * 1.44269504088896341f + round;
  const float n = z - round;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * (r * r) + r) + 1.0f;
  float y = __uint_as_float(__float_as_uint(p) + (__float_as_uint(z) << 23));
  y = x < -87.0f ? 0.0f : y;
  y = 88.72f < x ? INFINITY : y;
  return x != x ? x : y;
}

}  // namespace octet::kernels::cuda
