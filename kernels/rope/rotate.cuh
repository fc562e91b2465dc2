// The rotation of rope.h for a run of elements of one head, as the ops that rotate share it. The
// bits are those of the CPU: each product rounded, then the sum.
#pragma once

#include "kernels/rows.cuh"

namespace octet::kernels::cuda {

// cos and sin of one row, [half] each, where half = rotary_dim / 2. half == 0: nothing rotates.
struct RowAngles {
  const float* cos;
  const float* sin;
  int32_t half;
};

// Elements [index, index + kWidth) of the head at x, rotated. REQUIRES: kWidth divides index and
// half, so that a run has one partner.
template <int kWidth>
OCTET_DEVICE Floats<kWidth> LoadRotated(const float* x, int index, const RowAngles& angles) {
  Floats<kWidth> a = LoadFloats<kWidth>(x + index);
  if (index >= 2 * angles.half) return a;
  const bool low = index < angles.half;
  const int at = low ? index : index - angles.half;
#if OCTET_PLANTED_BUG == 1
  const Floats<kWidth> partner = LoadFloats<kWidth>(x + (low ? index + angles.half : index));
#else
  const Floats<kWidth> partner = LoadFloats<kWidth>(x + (low ? index + angles.half : at));
#endif
  const Floats<kWidth> cos = LoadFloats<kWidth>(angles.cos + at);
  const Floats<kWidth> sin = LoadFloats<kWidth>(angles.sin + at);
  for (int k = 0; k < kWidth; ++k) {
    const float turned = partner.v[k] * sin.v[k];
    a.v[k] = a.v[k] * cos.v[k] + (low ? -turned : turned);
  }
  return a;
}

}  // namespace octet::kernels::cuda
