// From packed weights to the bf16 fragments of the matrix instructions, exactly: codes are expanded
// to (code - 2^(bits-1)) * 2^-6, f16 and f32 to the sum of two and three bf16 numbers.
#pragma once

#include "base/device/primitives.cuh"
#include "kernels/linear/cuda16_layout.h"

namespace octet::kernels::cuda {

constexpr int TermsOf(WeightFormat format) {
  return format == WeightFormat::kF32 ? 3 : format == WeightFormat::kF16 ? 2 : 1;
}

// The packed fragments of one slab's stage, as a lane loads them.
template <WeightFormat kFormat>
struct PackedFragments {
  static constexpr int kLoads = Cuda16LaneBytes(kFormat) * kCuda16StageSteps / 16;
  uint4 load[kLoads];

  OCTET_DEVICE void Load(const std::byte* slab, int lane) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      load[i] = *reinterpret_cast<const uint4*>(slab + (i * 32 + lane) * 16);
    }
  }
  OCTET_DEVICE uint32_t word(int i) const {
    const uint4& w = load[i / 4];
    return i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w;
  }
};

// Two bf16 whose sum is both elements, and three.
OCTET_DEVICE void SplitInTwo(float2 value, uint32_t& high, uint32_t& low) {
  high = hw::bf16x2(value.x, value.y);
  const float2 rounded = hw::floats_of_bf16x2(high);
  low = hw::bf16x2(value.x - rounded.x, value.y - rounded.y);
}
OCTET_DEVICE void SplitInThree(float2 value, uint32_t& high, uint32_t& middle, uint32_t& low) {
  high = hw::bf16x2(value.x, value.y);
  const float2 rounded = hw::floats_of_bf16x2(high);
  SplitInTwo(make_float2(value.x - rounded.x, value.y - rounded.y), middle, low);
}

// Codes are expanded to (code - 2^(bits-1)) * kCodeUnit. A code in the low byte of a half, or in
// its upper four bits, is a bf16 of that many times 2^-133, as numbers below 2^-125 are equally far
// apart; what it is multiplied with for kCodeUnit has to be a bf16 too.
constexpr float kCodeUnit = 0x1p-6f;
constexpr uint32_t k2To127 = 0x7F00u;
constexpr uint32_t k2To123 = 0x7D00u;

constexpr uint32_t Twice(uint32_t half) { return half << 16 | half; }

OCTET_DEVICE uint32_t ExpandBits(uint32_t codes, uint32_t unit, float less) {
  return hw::fma_bf16x2(codes, unit, Twice(__float_as_uint(less) >> 16));
}

// What codes in the low byte and in its upper four bits are multiplied with.
struct CodeUnits {
  uint32_t low = Twice(k2To127);
  uint32_t high = Twice(k2To123);
};

// The bf16 fragment of step s: a[term][h + 2k] as cuda16_layout.h names them.
template <WeightFormat kFormat>
OCTET_DEVICE void Expand(const PackedFragments<kFormat>& packed, int s,
                         uint32_t (&a)[TermsOf(kFormat)][4], const CodeUnits& units = {}) {
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int i = h + 2 * k;
      if constexpr (kFormat == WeightFormat::kInt4) {
#if OCTET_PLANTED_BUG == 3
        const int high = h;
        const uint32_t word = packed.word(s) >> (8 * k);
#else
        const int high = k;
        const uint32_t word = packed.word(s) >> (8 * h);
#endif
        a[0][i] = high == 0 ? ExpandBits(word & 0x000F000Fu, units.low, -8 * kCodeUnit)
                            : ExpandBits(word & 0x00F000F0u, units.high, -8 * kCodeUnit);
      } else if constexpr (kFormat == WeightFormat::kInt8) {
        const uint32_t word = packed.word(2 * s + k) >> (8 * h);
        a[0][i] = ExpandBits(word & 0x00FF00FFu, units.low, -128 * kCodeUnit);
      } else if constexpr (kFormat == WeightFormat::kBF16) {
        a[0][i] = packed.word(4 * s + i);
      } else if constexpr (kFormat == WeightFormat::kF16) {
        SplitInTwo(hw::floats_of_f16x2(packed.word(4 * s + i)), a[0][i], a[1][i]);
      } else {
        const int at = 4 * (2 * s + k) + 2 * h;
        SplitInThree(
            make_float2(__uint_as_float(packed.word(at)), __uint_as_float(packed.word(at + 1))),
            a[0][i], a[1][i], a[2][i]);
      }
    }
  }
}

}  // namespace octet::kernels::cuda
