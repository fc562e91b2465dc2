// The search for a group's scale in sixteen lanes (lanes.h), compiled for each family. A family
// brings `Steps`:
//
//   static constexpr int kTogether   candidates that share a pass over the values; divides 12
//   Steps(float scale)               of one candidate
//   F32x16 Back(F32x16 sum) const    what int4 gives back: clamp(sum - kRounder, -8, 7) * scale
//   static F32x16 Narrow(F32x16)     NarrowScale of each lane
//   static F32x16 Totals(sums)       lane i is the sum of the lanes of sums[i], i < 12; then
//   infinity
//   static uint32_t Likely(values, count, scales, inverses)   the candidates that may have the
//   least error, as bits; all of them where the family knows none better
//
// A code has four bits and a scale eleven, so their product is exact and Back can not differ.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/lanes.h"
#include "kernels/rounding/rounding.h"
#include "kernels/rounding/rounding_isa.h"

namespace octet::kernels {
namespace {

// Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, below 2^22; the sum's low bits are
// that integer.
constexpr float kRounder = 12582912.0f;
constexpr int kCandidates = 12;
// Of each candidate; four lanes are left over.
constexpr float kClips[kLanes] = {1.0f, 1.0f, 0.95f, 0.95f, 0.9f, 0.9f, 0.85f, 0.85f,
                                  0.8f, 0.8f, 0.75f, 0.75f, 1.0f, 1.0f, 1.0f,  1.0f};
constexpr float kToEight[kLanes] = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};

// Calls each(lanes) for all values; lanes behind the last are 0.
template <typename Each>
OCTET_INLINE void EachLanes(const float* values, int64_t count, const Each& each) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) each(LoadLanes(values + i));
  if (i < count) each(LoadFirst(values + i, count - i));
}

// The sum's integer within [-half, half - 1], still with kRounder.
OCTET_INLINE F32x16 ClampSum(F32x16 sum, float half) {
  return Min(Max(sum, Splat(kRounder - half)), Splat(kRounder + (half - 1.0f)));
}

// A product with 0 is 0 of whatever is finite, else NaN, and so is a sum of such.
bool Widen(const uint16_t* stored, int64_t count, float* out) {
  constexpr int kSums = 4;  // under way at once
  F32x16 sums[kSums] = {Splat(0.0f), Splat(0.0f), Splat(0.0f), Splat(0.0f)};
  const auto* const halves = reinterpret_cast<const BF16*>(stored);
  int64_t i = 0;
  for (; i + kSums * kLanes <= count; i += kSums * kLanes) {
    for (int s = 0; s < kSums; ++s) {
      const F32x16 wide = LoadLanes(halves + i + s * kLanes);
      StoreLanes(out + i + s * kLanes, wide);
      sums[s] = sums[s] + wide * Splat(0.0f);
    }
  }
  for (; i < count; ++i) {
    out[i] = std::bit_cast<float>(uint32_t{stored[i]} << 16);
    sums[0] = sums[0] + Splat(out[i]) * Splat(0.0f);
  }
  return !Any(IsNan((sums[0] + sums[1]) + (sums[2] + sums[3])));
}

struct Extremes {
  float below = 0.0f;  // how far values reach below 0
  float above = 0.0f;
  float magnitude() const { return below < above ? above : below; }
};

OCTET_INLINE Extremes ExtremesOf(const float* values, int64_t count) {
  F32x16 lowest = Splat(0.0f);
  F32x16 highest = Splat(0.0f);
  EachLanes(values, count, [&](F32x16 v) {
    lowest = Min(v, lowest);
    highest = Max(v, highest);
  });
  return {ReduceMax(Splat(0.0f) - lowest), ReduceMax(highest)};
}

// Of a group of zeros: any would do, this is the one that files of packed weights have.
constexpr float kScaleOfZeros = -kScaleUnit;

float Int8Scale(const float* values, int64_t count) {
  const float magnitude = ExtremesOf(values, count).magnitude();
  return magnitude == 0.0f ? kScaleOfZeros : NarrowScale(magnitude / 127.0f);
}

constexpr uint32_t kAllLikely = (1u << kCandidates) - 1;

// sums[i]: (value - what an int4 code gives back)^2 with scales[i] in lanes, of kTogether
// candidates.
template <typename Steps, int... i>
OCTET_INLINE void SquaredErrors(const float* values, int64_t count, const float* scales,
                                const float* inverses, F32x16* sums,
                                std::integer_sequence<int, i...>) {
  const Steps steps[] = {Steps(scales[i])...};
  const F32x16 inverse[] = {Splat(inverses[i])...};
  F32x16 sum[] = {((void)i, Splat(0.0f))...};
  EachLanes(values, count, [&](F32x16 v) {
    const auto add = [&](int c) {
      const F32x16 error = v - steps[c].Back(v * inverse[c] + Splat(kRounder));
      sum[c] = sum[c] + error * error;
    };
    (add(i), ...);
  });
  ((sums[i] = sum[i]), ...);
}

template <typename Steps>
float Int4Scale(const float* values, int64_t count) {
  const Extremes extremes = ExtremesOf(values, count);
  const float magnitude = extremes.magnitude();
  if (magnitude == 0.0f) return kScaleOfZeros;
  const float to_eight =
      extremes.above >= extremes.below ? extremes.above / -8.0f : extremes.below / 8.0f;
  const F32x16 full =
      Select(Less(Splat(0.0f), LoadLanes(kToEight)), Splat(to_eight), Splat(magnitude / 7.0f));
  const F32x16 narrow = Steps::Narrow(full * LoadLanes(kClips));
  float scales[kLanes];
  float inverses[kLanes];
  StoreLanes(scales, narrow);
  if (scales[0] == 0.0f) return 0.0f;
  StoreLanes(inverses, Splat(1.0f) / narrow);
  const uint32_t likely = Steps::Likely(values, count, scales, inverses);
  if (std::has_single_bit(likely)) return scales[std::countr_zero(likely)];
  F32x16 sums[kCandidates];
  for (F32x16& sum : sums) sum = Splat(__builtin_inff());
  for (int c = 0; c < kCandidates; c += Steps::kTogether) {
    if ((likely >> c & ((1u << Steps::kTogether) - 1)) == 0) continue;
    SquaredErrors<Steps>(values, count, scales + c, inverses + c, sums + c,
                         std::make_integer_sequence<int, Steps::kTogether>());
  }
  const F32x16 errors = Steps::Totals(sums);
  const float least = -ReduceMax(Splat(0.0f) - errors);
  return scales[FirstNotSet(Less(Splat(least), errors))];
}

void Codes(const float* values, int64_t count, float scale, float half, uint8_t* codes) {
  const F32x16 inverse = Splat(1.0f / scale);
  const auto rounded = [&](F32x16 v) {  // the sum's low byte is the code
    return ClampSum(v * inverse + Splat(kRounder), half) + Splat(half);
  };
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    StoreLowBytes(reinterpret_cast<int8_t*>(codes + i), rounded(LoadLanes(values + i)));
  }
  if (i == count) return;
  int8_t last[kLanes];
  StoreLowBytes(last, rounded(LoadFirst(values + i, count - i)));
  std::memcpy(codes + i, last, count - i);
}

template <typename Steps>
constexpr RoundingBody kBody = {Widen, Int4Scale<Steps>, Int8Scale, Codes};

}  // namespace
}  // namespace octet::kernels
