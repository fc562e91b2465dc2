// The functions of kv_quantize.h on the device, bit for bit: the same arithmetic, with
// the hardware's conversions.
#pragma once

#include "base/device/primitives.cuh"
#include "kernels/formats/kv_quantize.h"

namespace octet::kernels::cuda {

inline constexpr float kF16Max = 65504.0f;
inline constexpr uint16_t kF16Nan = 0x7e00;

// The least f16 that is not below `value`, at most kF16Max. REQUIRES: value >= 0.
OCTET_DEVICE uint16_t NarrowUpward(float value) {
  if (value >= kF16Max) return hw::f16(kF16Max);
  const uint16_t nearest = hw::f16(value);
  return static_cast<uint16_t>(hw::float_of_f16(nearest) < value ? nearest + 1 : nearest);
}

// The greatest f16 that is not above `value`, at least -kF16Max and at most kF16Max.
OCTET_DEVICE uint16_t NarrowDownward(float value) {
  const uint16_t nearest = hw::f16(fminf(fmaxf(value, -kF16Max), kF16Max));
  if (hw::float_of_f16(nearest) <= value || value <= -kF16Max) return nearest;
  return static_cast<uint16_t>((nearest & 0x8000u) != 0 ? nearest + 1 : nearest - 1);
}

OCTET_DEVICE KvScale KvScaleOfBits(uint16_t scale_bits, uint16_t zero_bits) {
  const float scale = hw::float_of_f16(scale_bits);
  return {scale_bits, zero_bits, scale, hw::float_of_f16(zero_bits), scale > 0};
}

OCTET_DEVICE KvScale KvInt8ScaleOf(float min, float max, bool finite) {
  if (!finite) return KvScaleOfBits(kF16Nan, kF16Nan);
  const float middle = min * 0.5f + max * 0.5f;
  const uint16_t zero_bits = hw::f16(fminf(fmaxf(middle, -kF16Max), kF16Max) + 0.0f);
  const float zero = hw::float_of_f16(zero_bits);
  const float reach = fmaxf(max - zero, zero - min) + 0.0f;
  return KvScaleOfBits(NarrowUpward(reach / 127.5f), zero_bits);
}

OCTET_DEVICE KvScale KvStaticScaleOf(const uint16_t* given, bool finite) {
  return finite ? KvScaleOfBits(given[0], given[1]) : KvScaleOfBits(kF16Nan, kF16Nan);
}

OCTET_DEVICE KvScale KvInt4ScaleOf(float min, float max, bool finite) {
  if (!finite) return KvScaleOfBits(kF16Nan, kF16Nan);
  const uint16_t zero_bits = NarrowDownward(min + 0.0f);
  const float zero = hw::float_of_f16(zero_bits);
  return KvScaleOfBits(NarrowUpward((fmaxf(max - zero, 0.0f) + 0.0f) / 15.0f), zero_bits);
}

}  // namespace octet::kernels::cuda
