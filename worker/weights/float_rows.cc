#include "worker/weights/float_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "kernels/rounding/rounding.h"

namespace octet::worker {
namespace {

// The largest value without its sign bit: as unsigned numbers, magnitudes keep their order.
template <typename Bits>
Bits LargestMagnitude(const std::byte* stored, int64_t count) {
  const auto* values = reinterpret_cast<const Bits*>(stored);
  constexpr auto kSignless = static_cast<Bits>(static_cast<Bits>(~Bits{0}) >> 1);
  Bits largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, static_cast<Bits>(values[i] & kSignless));
  }
  return largest;
}

}  // namespace

kernels::WeightFormat FormatOf(DType dtype) {
  OCTET_CHECK(IsFloat(dtype));
  if (dtype == DType::kF32) return kernels::WeightFormat::kF32;
  return dtype == DType::kF16 ? kernels::WeightFormat::kF16 : kernels::WeightFormat::kBF16;
}

DType DTypeOf(kernels::WeightFormat format) {
  OCTET_CHECK(!kernels::IsQuantized(format));
  if (format == kernels::WeightFormat::kF32) return DType::kF32;
  return format == kernels::WeightFormat::kF16 ? DType::kF16 : DType::kBF16;
}

bool AllFinite(DType dtype, const std::byte* stored, int64_t count) {
  OCTET_CHECK(IsFloat(dtype));
  if (dtype == DType::kF32) return LargestMagnitude<uint32_t>(stored, count) < 0x7f800000u;
  const uint16_t infinity = dtype == DType::kF16 ? 0x7c00 : 0x7f80;
  return LargestMagnitude<uint16_t>(stored, count) < infinity;
}

void ToFloats(DType dtype, const std::byte* stored, int64_t count, float* out) {
  OCTET_CHECK(IsFloat(dtype));
  if (dtype == DType::kF32) {
    std::memcpy(out, stored, count * sizeof(float));
    return;
  }
  const auto* halves = reinterpret_cast<const uint16_t*>(stored);
  if (dtype == DType::kBF16) {
    for (int64_t i = 0; i < count; ++i) out[i] = BF16ToFloat(halves[i]);
    return;
  }
  // The bits in the place of a float's, times 2^112 for the difference of the exponents' bias:
  // exact for all finite values, subnormal ones included, and without a branch.
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t sign = uint32_t{halves[i] & 0x8000u} << 16;
    const uint32_t rest = uint32_t{halves[i] & 0x7fffu} << 13;
    out[i] = std::bit_cast<float>(sign | rest) * 0x1p112f;
  }
}

bool ToFiniteFloats(DType dtype, const std::byte* stored, int64_t count, float* out) {
  if (dtype == DType::kBF16) {
    return kernels::WidenFiniteBF16(reinterpret_cast<const uint16_t*>(stored), count, out);
  }
  if (!AllFinite(dtype, stored, count)) return false;
  ToFloats(dtype, stored, count, out);
  return true;
}

bool FromFloats(DType dtype, const float* values, int64_t count, std::byte* out) {
  OCTET_CHECK(IsFloat(dtype));
  if (dtype == DType::kF32) {
    std::memcpy(out, values, count * sizeof(float));
    return true;
  }
  auto* halves = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < count; ++i) {
    halves[i] = dtype == DType::kF16 ? FloatToF16(values[i]) : FloatToBF16(values[i]);
  }
  return AllFinite(dtype, out, count);
}

}  // namespace octet::worker
