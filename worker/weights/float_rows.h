// Between the float types that a checkpoint stores, the formats that weights are kept in, and f32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"
#include "kernels/linear/linear.h"

namespace octet::worker {

constexpr bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

// The float format that keeps `dtype` exactly. REQUIRES: IsFloat(dtype).
kernels::WeightFormat FormatOf(DType dtype);
// The type of a float format's elements. REQUIRES: !IsQuantized(format).
DType DTypeOf(kernels::WeightFormat format);

// True if none of `count` stored values is infinite or NaN. `stored` is aligned to its elements.
bool AllFinite(DType dtype, const std::byte* stored, int64_t count);

// out[i] = stored[i], exactly. REQUIRES: AllFinite; `stored` is aligned to its elements.
void ToFloats(DType dtype, const std::byte* stored, int64_t count, float* out);

// Both at once: false where a value is infinite or NaN, and `out` is then of no use.
[[nodiscard]] bool ToFiniteFloats(DType dtype, const std::byte* stored, int64_t count, float* out);

// Rounds to `dtype`. False where a value is too large for it.
[[nodiscard]] bool FromFloats(DType dtype, const float* values, int64_t count, std::byte* out);

}  // namespace octet::worker
