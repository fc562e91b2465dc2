// Round to nearest: one scale and codes for a group of weights, on the CPU. Called while weights
// are loaded, by whichever thread holds the row; every instruction family gives the same bits.
//
// int8: scale = absmax / 127. int4: of twelve candidates the one with the least squared error, the
// first of equals: absmax / 7, and the extreme value / -8 (so that the extreme itself gets code 0,
// which has no counterpart on the other side; the scale is then negative for a positive extreme),
// each clipped by 1.00, 0.95, ... 0.75. An error is summed as lanes.h says.
//
// Scales are rounded to f16 first and codes are made with the rounded scale. Below 2^-14, where f16
// has fewer bits, scales round up, to 2^-24 at least, so that no code saturates; the error is then
// at most half a scale as ever, and a group of zeros stays exact.
#pragma once

#include <cstdint>

namespace octet::kernels {

// out[i] = the bf16 stored[i], exactly. False where one is infinite or NaN; `out` is then of no
// use.
[[nodiscard]] bool WidenFiniteBF16(const uint16_t* stored, int64_t count, float* out);

// `scale` as an f16 holds it, see above; 0 where it is beyond 65504 in magnitude.
float NarrowScale(float scale);

// The scale of a group: values [count], all finite; 0 where one is too large for any f16 scale.
float Int4GroupScale(const float* values, int64_t count);
float Int8GroupScale(const float* values, int64_t count);

// codes[i] = clamp(round_to_even(values[i] * (1 / scale)), -half, half - 1) + half, with half 8 for
// int4 and 128 for int8. REQUIRES: `scale` is that of a group with these values.
void RoundToInt4(const float* values, int64_t count, float scale, uint8_t* codes);
void RoundToInt8(const float* values, int64_t count, float scale, uint8_t* codes);

}  // namespace octet::kernels
