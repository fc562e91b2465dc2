// The element of a row that a count or a mass falls on, when the row is ordered from the best logit
// down, equal ones by token: digit by digit, as in a radix sort, but only the digit that the target
// falls into is looked at further. Counts and masses are integers, so nothing depends on the order
// in which threads add them.
//
// The digits: the logit's distance from the row's best in steps of temperature / 64, then finer;
// then its bits, for logits whose distance rounds to the same; then the token. The first digit
// spreads a usual row over a thousand bins, so that threads seldom add to the same one, and most
// searches end at the second, with one element left.
#pragma once

#include <cstdint>

#include "base/device/primitives.cuh"
#include "kernels/sampling/device/candidate_key.cuh"
#include "kernels/sampling/device/planted_bug.h"

namespace octet::kernels {

inline constexpr int kSelectBins = 2048;

struct SelectShared {
  // A bin's mass in two words: shared memory adds words natively, and 64 bits only by a loop that
  // suffers where threads meet.
  unsigned int low[kSelectBins];
  unsigned int high[kSelectBins];
  unsigned int counts[kSelectBins];
  uint64_t warp_sums[32];
  uint64_t before;    // mass of the elements above the digit found
  unsigned int left;  // elements that share the digits found
  int digit;
  uint64_t key;  // of the element
};

OCTET_DEVICE uint64_t MassOfBin(const SelectShared& shared, int bin) {
  return uint64_t{shared.high[bin]} << 32 | shared.low[bin];
}

OCTET_DEVICE void AddToBin(SelectShared& shared, uint32_t bin, uint64_t mass) {
  const auto low = static_cast<unsigned int>(mass);
  const unsigned int before = atomicAdd(&shared.low[bin], low);
  // Of all adds to a word, the one that overflows it sees so.
  const unsigned int carry = kPlantedBug != kLostCarry && before + low < before ? 1 : 0;
  const unsigned int high = static_cast<unsigned int>(mass >> 32) + carry;
  if (high != 0) atomicAdd(&shared.high[bin], high);
  atomicAdd(&shared.counts[bin], 1u);
}

// An element's place in the order as one number of eight digits, the smallest first.
struct PlaceCode {
  uint32_t distance;
  uint32_t bits;
  uint32_t token;

  static constexpr int kLevels = 8;

  // The digits of a level, from the lowest bit of which word.
  OCTET_DEVICE uint32_t Digit(int level) const {
    switch (level) {
      case 0:
        return distance >> 21;
      case 1:
        return distance >> 10 & 2047;
      case 2:
        return distance & 1023;
      case 3:
        return bits >> 21;
      case 4:
        return bits >> 10 & 2047;
      case 5:
        return bits & 1023;
      case 6:
        return token >> 10 & 1023;
      default:
        return token & 1023;
    }
  }
};

class PlaceCoder {
 public:
  OCTET_DEVICE PlaceCoder(float max, float temperature) : max_(max), scale_(64.0f / temperature) {}

  // Each rounding keeps the order, so a better logit never gets a greater distance.
  OCTET_DEVICE PlaceCode Of(float logit, int32_t token) const {
    constexpr float kFarthest = 2047.875f;
    constexpr float kFraction = 2097152.0f;  // 2^21
    float distance = logit == max_ ? 0.0f : (max_ - logit) * scale_;
    if (!(distance < kFarthest)) distance = kFarthest;
    return {static_cast<uint32_t>(distance * kFraction), ~OrderedBits(logit),
            static_cast<uint32_t>(token)};
  }

 private:
  float max_;
  float scale_;
};

// The digits found so far.
class FoundPlace {
 public:
  OCTET_DEVICE bool Has(const PlaceCode& code) const {
    return ((code.distance ^ code_.distance) & mask_.distance) == 0 &&
           ((code.bits ^ code_.bits) & mask_.bits) == 0 &&
           ((code.token ^ code_.token) & mask_.token) == 0;
  }
  OCTET_DEVICE void Add(int level, uint32_t digit) {
    switch (level / 3) {
      case 0:
        return AddTo(code_.distance, mask_.distance, level % 3, digit);
      case 1:
        return AddTo(code_.bits, mask_.bits, level % 3, digit);
      default:
        return AddTo(code_.token, mask_.token, level % 3 + 1, digit);
    }
  }

 private:
  // The digits of a word: 11 bits, 11 bits, 10 bits.
  static OCTET_DEVICE void AddTo(uint32_t& code, uint32_t& mask, int place, uint32_t digit) {
    const int shift = place == 0 ? 21 : place == 1 ? 10 : 0;
    code |= digit << shift;
    mask |= (place == 2 ? 1023u : 2047u) << shift;
  }

  PlaceCode code_ = {0, 0, 0};
  PlaceCode mask_ = {0, 0, 0};
};

// The first bin whose mass, with all before it, exceeds `target` (`total` where there is none),
// into shared.digit, .before and .left.
template <int kThreads>
OCTET_DEVICE void FindBin(SelectShared& shared, uint64_t target) {
  constexpr int kBinsOfThread = kSelectBins / kThreads;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int first = threadIdx.x * kBinsOfThread;
  uint64_t mine = 0;
  for (int i = 0; i < kBinsOfThread; ++i) mine += MassOfBin(shared, first + i);
  uint64_t sum = mine;  // of the lanes up to this one
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const uint64_t other = __shfl_up_sync(0xffffffffu, sum, lanes);
    if (lane >= lanes) sum += other;
  }
  if (lane == 31) shared.warp_sums[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += shared.warp_sums[w];
  uint64_t before = sum - mine;
  if (before <= target && target < sum) {
    int bin = first;
    while (before + MassOfBin(shared, bin) <= target) before += MassOfBin(shared, bin++);
    shared.before = before;
    shared.digit = bin;
    shared.left = shared.counts[bin];
  }
  __syncthreads();
}

template <int kThreads>
OCTET_DEVICE uint64_t SumOfBins(const SelectShared& shared) {
  // FindBin left the warps' sums.
  uint64_t total = 0;
  for (int w = 0; w < kThreads / 32; ++w) total += shared.warp_sums[w];
  return total;
}

// Adds the measure of every element that has the digits found to the bin of its next digit.
template <int kThreads, typename Source, typename Measure>
OCTET_DEVICE void FillBins(SelectShared& shared, const Source& source, const PlaceCoder& coder,
                           const Measure& measure, const FoundPlace& found, int level) {
  for (int bin = threadIdx.x; bin < kSelectBins; bin += kThreads) {
    shared.low[bin] = 0;
    shared.high[bin] = 0;
    shared.counts[bin] = 0;
  }
  __syncthreads();
  source.Each([&](float logit, int32_t token) {
    const PlaceCode code = coder.Of(logit, token);
    if (!found.Has(code)) return;
    const uint64_t mass = measure(logit, token);
    if (mass != 0) AddToBin(shared, code.Digit(level), mass);
  });
  __syncthreads();
}

// The key of the first element with which the mass of all up to it exceeds target(total mass); 0
// where the target is not below the total. source.Each(visit) calls visit(logit, token) for this
// thread's share of the elements, none of them NaN or -inf, tokens below 2^20 and distinct;
// measure(logit, token) is an element's mass. Every thread of the block calls.
template <int kThreads, typename Source, typename Measure, typename Target>
OCTET_DEVICE uint64_t SelectByMass(SelectShared& shared, const Source& source,
                                   const PlaceCoder& coder, const Measure& measure,
                                   const Target& target) {
  FoundPlace found;
  uint64_t wanted = ~uint64_t{0};
  for (int level = 0; level < PlaceCode::kLevels; ++level) {
    FillBins<kThreads>(shared, source, coder, measure, found, level);
    if (level == 0) {
      FindBin<kThreads>(shared, wanted);
      const uint64_t total = SumOfBins<kThreads>(shared);
      wanted = target(total);
      __syncthreads();
      if (wanted >= total) return 0;
    }
    FindBin<kThreads>(shared, wanted);
    wanted -= shared.before;
    found.Add(level, static_cast<uint32_t>(shared.digit));
    const bool is_alone = shared.left == 1;
    __syncthreads();
    if (is_alone) break;
  }
  source.Each([&](float logit, int32_t token) {
    if (found.Has(coder.Of(logit, token)) && measure(logit, token) != 0) {
      shared.key = CandidateKey(logit, token);
    }
  });
  __syncthreads();
  const uint64_t key = shared.key;
  __syncthreads();
  return key;
}

}  // namespace octet::kernels
