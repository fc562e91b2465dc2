// How a scale or offset of the neutral form is stored in a packed one.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/linear/linear.h"

namespace octet::kernels {

inline void StoreScale(ScaleFormat format, float value, std::byte* to) {
  if (format == ScaleFormat::kF32) {
    std::memcpy(to, &value, sizeof value);
    return;
  }
  const uint16_t bits = FloatToF16(value);
  // Only exact narrowing is allowed: another number here would be another model.
  OCTET_CHECK_EQ(std::bit_cast<uint32_t>(F16ToFloat(bits)), std::bit_cast<uint32_t>(value));
  std::memcpy(to, &bits, sizeof bits);
}

}  // namespace octet::kernels
