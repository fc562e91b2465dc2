// Candidates as integers, so that the best of any is a maximum: a float's bits in the order of its
// values above, the token counted down below. 0 is no candidate. And the maximum over a block.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/sampling.h"

namespace octet::kernels {

constexpr float kNoLogit = -__builtin_inff();

// a < b where OrderedBits(a) < OrderedBits(b); both zeros are one. REQUIRES: not NaN.
OCTET_DEVICE uint32_t OrderedBits(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits ^ ((bits & 0x80000000u) != 0 ? 0xffffffffu : 0x80000000u);
}
OCTET_DEVICE float FloatOfOrdered(uint32_t ordered) {
  return __uint_as_float(ordered ^ ((ordered & 0x80000000u) != 0 ? 0x80000000u : 0xffffffffu));
}

OCTET_DEVICE uint64_t CandidateKey(float score, int32_t token) {
  return uint64_t{OrderedBits(score)} << 32 | (0xffffffffu - static_cast<uint32_t>(token));
}
OCTET_DEVICE float ScoreOf(uint64_t key) {
  return FloatOfOrdered(static_cast<uint32_t>(key >> 32));
}
OCTET_DEVICE int32_t TokenOf(uint64_t key) {
  return key == 0 ? -1 : static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(key));
}

// The greatest value of the block, in every thread. `warps` [threads / 32] is shared memory that
// may be used again as soon as this returns. Every thread of the block calls.
template <int kThreads, typename T>
OCTET_DEVICE T BlockMax(T value, T* warps) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, value, lanes);
    value = other > value ? other : value;
  }
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  for (int warp = 0; warp < kThreads / 32; ++warp) {
    value = warps[warp] > value ? warps[warp] : value;
  }
  __syncthreads();
  return value;
}

}  // namespace octet::kernels
