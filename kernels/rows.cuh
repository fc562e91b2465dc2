// What the row ops on CUDA share: runs of floats as one thread loads and stores them, reductions
// over the lanes of a warp, and the stores of activation rows that need no scale.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels::cuda {

// kWidth neighbours: 4, one access of 16 bytes; or 1, for rows that are not aligned to 16 bytes.
template <int kWidth>
struct Floats {
  float v[kWidth];
};

template <int kWidth>
OCTET_DEVICE Floats<kWidth> LoadFloats(const float* from) {
  static_assert(kWidth == 1 || kWidth == 4);
  if constexpr (kWidth == 4) {
    const float4 a = *reinterpret_cast<const float4*>(from);
    return {{a.x, a.y, a.z, a.w}};
  } else {
    return {{*from}};
  }
}

// To global memory.
template <int kWidth>
OCTET_DEVICE void StoreFloats(float* to, const Floats<kWidth>& a) {
  if constexpr (kWidth == 4) {
    hw::store16(to, make_uint4(__float_as_uint(a.v[0]), __float_as_uint(a.v[1]),
                               __float_as_uint(a.v[2]), __float_as_uint(a.v[3])));
  } else {
    *to = a.v[0];
  }
}

template <int kWidth>
OCTET_DEVICE void StoreShared(float* to, const Floats<kWidth>& a) {
  if constexpr (kWidth == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(a.v[0], a.v[1], a.v[2], a.v[3]);
  } else {
    *to = a.v[0];
  }
}

template <int kWidth>
OCTET_DEVICE void StoreBF16(uint16_t* to, const Floats<kWidth>& a) {
  if constexpr (kWidth == 4) {
    hw::store8(to, make_uint2(hw::bf16x2(a.v[0], a.v[1]), hw::bf16x2(a.v[2], a.v[3])));
  } else {
    *to = hw::bf16(a.v[0]);
  }
}

// Elements [index, index + kWidth) of a row. REQUIRES: rows.format is kF32 or kBF16.
template <int kWidth>
OCTET_DEVICE void StoreActivations(const ActivationRows& rows, int64_t row, int64_t index,
                                   const Floats<kWidth>& a) {
  const int64_t at = row * rows.stride + index;
  if (rows.format == ActivationFormat::kF32) {
    StoreFloats(static_cast<float*>(rows.values) + at, a);
  } else {
    StoreBF16(static_cast<uint16_t*>(rows.values) + at, a);
  }
}

// The same bits in every lane: partners add the same two numbers, a sum commutes.
OCTET_DEVICE float SumOfLanes(float a) {
  for (int mask = 16; mask > 0; mask /= 2) a += __shfl_xor_sync(hw::kAllLanes, a, mask);
  return a;
}

inline bool IsAligned16(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace octet::kernels::cuda
