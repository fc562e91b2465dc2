// What tells which few tokens of a row can have its best score, so that only those pay for the
// exact noise (random.h, in double): bounds, and the noise to about 1e-5 in floats.
#pragma once

#include <cstdint>
#include <limits>

#include "base/device/primitives.cuh"
#include "kernels/sampling/random.h"

namespace octet::kernels {

// log(x) for normal x > 0, absolute error below 1e-6 for x near 1 and 4 ulp elsewhere: 2^e m with m
// in [2/3, 4/3) and 2 atanh((m - 1) / (m + 1)).
OCTET_DEVICE float RoughLog(float x) {
  const uint32_t bits = __float_as_uint(x);
  const auto exponent = static_cast<int32_t>(bits - 0x3F2AAAABu) >> 23;
  const float m = __uint_as_float(bits - (static_cast<uint32_t>(exponent) << 23));
  const float s = (m - 1.0f) / (m + 1.0f);
  const float square = s * s;
  const float series = ((square / 7.0f + 0.2f) * square + 1.0f / 3.0f) * square + 1.0f;
  return static_cast<float>(exponent) * 0.69314718f + 2.0f * s * series;
}

OCTET_DEVICE float RoughGumbelNoise(uint32_t word) {
  const float v = (static_cast<float>(word) + 0.5f) * 0x1p-32f;
  float exponential = 0;  // -log(1 - v)
  if (word < 0x80000000u) {
    const float s = v / (2.0f - v);  // 2 atanh(s), |s| <= 1/3
    const float square = s * s;
    exponential =
        2.0f * s *
        ((((square / 9.0f + 1.0f / 7.0f) * square + 0.2f) * square + 1.0f / 3.0f) * square + 1.0f);
  } else {
    exponential = -RoughLog((static_cast<float>(~word) + 0.5f) * 0x1p-32f);
  }
  return -RoughLog(exponential);
}

// The score to about 1e-5 of the noise, from the logit's share and GumbelNoiseBound of the word.
OCTET_DEVICE float ScoreReached(float score_bound, uint32_t word) {
  return score_bound - (GumbelNoiseBound(word) - RoughGumbelNoise(word));
}

// Where a token is known to reach a score, those whose score is bounded by less than this can not
// have the best. The constant covers the noise, the factor the roundings of scores to float, also
// of one that overflows.
OCTET_DEVICE float MustReach(float reached) {
  const float finite = fminf(reached, std::numeric_limits<float>::max());
  return finite - (2e-4f + 2e-6f * (fabsf(finite) + 30.0f));
}

}  // namespace octet::kernels
