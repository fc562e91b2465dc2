// Elements packed in registers, and one step of a dot product.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "tests/support/emulator/hw_matrix.h"

namespace octet::emulator {

constexpr int ElementsPerWord(Element type) {
  return type == Element::kBF16 || type == Element::kF16 ? 2 : 4;
}

template <typename Value, Element kType>
Value ElementOf(uint32_t word, int index) {
  if constexpr (kType == Element::kBF16) {
    return static_cast<Value>(BF16ToFloat(static_cast<uint16_t>(word >> (16 * index))));
  } else if constexpr (kType == Element::kF16) {
    return static_cast<Value>(F16ToFloat(static_cast<uint16_t>(word >> (16 * index))));
  } else if constexpr (kType == Element::kS8) {
    return static_cast<Value>(static_cast<int8_t>(word >> (8 * index)));
  } else {
    return static_cast<Value>(static_cast<uint8_t>(word >> (8 * index)));
  }
}

inline float AddProduct(float sum, float a, float b) { return sum + a * b; }
inline int32_t AddProduct(int32_t sum, int32_t a, int32_t b) {  // wraps, as the hardware does
  return static_cast<int32_t>(static_cast<uint32_t>(sum) + static_cast<uint32_t>(a * b));
}

}  // namespace octet::emulator
