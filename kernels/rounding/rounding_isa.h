// The same functions from each instruction family.
#pragma once

#include <cstdint>

namespace octet::kernels {

inline constexpr float kScaleUnit = 0x1p-24f;    // the least f16 above zero
inline constexpr float kScaleNormal = 0x1p-14f;  // the least f16 with all its bits

struct RoundingBody {
  bool (*widen)(const uint16_t* stored, int64_t count, float* out);
  float (*int4_scale)(const float* values, int64_t count);
  float (*int8_scale)(const float* values, int64_t count);
  // `half` is 8 or 128.
  void (*codes)(const float* values, int64_t count, float scale, float half, uint8_t* codes);
};
extern const RoundingBody kPlainRounding;
extern const RoundingBody kAvx2Rounding;
extern const RoundingBody kAvx512Rounding;

}  // namespace octet::kernels
