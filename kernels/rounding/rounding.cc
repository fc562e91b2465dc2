#include "kernels/rounding/rounding.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "kernels/isa.h"
#include "kernels/rounding/rounding_isa.h"

namespace octet::kernels {
namespace {

const RoundingBody& Body() { return OfActiveIsa(kPlainRounding, kAvx2Rounding, kAvx512Rounding); }

}  // namespace

float NarrowScale(float scale) {
  const float magnitude = std::fabs(scale);
  if (magnitude < kScaleNormal) {
    const float units = std::max(1.0f, std::ceil(magnitude / kScaleUnit));
    return std::copysign(units * kScaleUnit, scale);
  }
  const float narrow = F16ToFloat(FloatToF16(scale));
  return std::isinf(narrow) ? 0.0f : narrow;
}

bool WidenFiniteBF16(const uint16_t* stored, int64_t count, float* out) {
  return Body().widen(stored, count, out);
}

float Int4GroupScale(const float* values, int64_t count) {
  return Body().int4_scale(values, count);
}

float Int8GroupScale(const float* values, int64_t count) {
  return Body().int8_scale(values, count);
}

void RoundToInt4(const float* values, int64_t count, float scale, uint8_t* codes) {
  Body().codes(values, count, scale, 8.0f, codes);
}

void RoundToInt8(const float* values, int64_t count, float scale, uint8_t* codes) {
  Body().codes(values, count, scale, 128.0f, codes);
}

}  // namespace octet::kernels
