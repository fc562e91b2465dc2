// The sums of attention_codes.h in plain C++.
#pragma once

#include "kernels/attention/attention_codes.h"

namespace octet::kernels {
namespace {

constexpr int64_t kVectorsAtOnce = 1;
OCTET_INLINE int64_t FetchPlaces(int64_t fours) { return fours; }

template <typename F>
OCTET_INLINE void ForEachGroup(int64_t begin, int64_t end, const F& f) {
  for (int64_t v = begin; v < end; ++v) f(v, std::integral_constant<int, 1>());
}

// sums[n]. Loops that a compiler has vectors for: each byte has a sum of its own until the end.
template <int R, bool kKeys>
void SumFours(const Fours& fours, const FourFactors (&vectors)[R], Ahead& ahead, int64_t lines,
              int32_t* sums) {
  static_assert(R == 1);
  constexpr int64_t kBytes = kNeighbours * kFour;
  uint32_t of_bytes[kBytes] = {};  // modulo 2^32
  const uint8_t* codes = fours.at;
  for (int64_t i = 0; i < fours.count; ++i, codes += fours.stride) {
    ahead.Fetch(lines);
    int16_t words[kLanes], wide[kBytes];
    for (int64_t n = 0; n < kLanes; ++n) words[n] = vectors[0].words[i * kFour + n % kFour];
    for (int64_t n = 0; n < kBytes; ++n) {
      wide[n] = kKeys ? int16_t{codes[n]} : int16_t{static_cast<int8_t>(codes[n])};
    }
    for (int64_t n = 0; n < kBytes; n += kLanes) {
      for (int64_t l = 0; l < kLanes; ++l) {
        of_bytes[n + l] += static_cast<uint32_t>(int32_t{wide[n + l]} * int32_t{words[l]});
      }
    }
  }
  for (int64_t n = 0; n < kNeighbours; ++n) {
    const uint32_t* four = of_bytes + n * kFour;
    sums[n] = static_cast<int32_t>(static_cast<uint32_t>(vectors[0].start) + four[0] + four[1] +
                                   four[2] + four[3]);
  }
}

}  // namespace
}  // namespace octet::kernels
