// The loops over logits in sixteen lanes, compiled once per instruction family (lanes.h).
#pragma once

#include "kernels/lanes.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels {
namespace {

float MaxOf(const float* logits, int64_t count) {
  const F32x16 none = Splat(-__builtin_inff());
  F32x16 max = none;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) max = Max(LoadLanes(logits + i), max);
  if (i < count) {
    const F32x16 rest = LoadFirst(logits + i, count - i);
    max = Max(Select(LanesBetween(0, count - i), rest, none), max);
  }
  return ReduceMax(max);
}

OCTET_INLINE F32x16 WeightLanes(F32x16 logits, float max, float temperature) {
  const F32x16 weight = Exp((logits - Splat(max)) / Splat(temperature));
  return Select(IsNan(weight), Splat(0.0f), weight);
}

void Weigh(float* values, int64_t count, float max, float temperature) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    StoreLanes(values + i, WeightLanes(LoadLanes(values + i), max, temperature));
  }
  if (i < count) {
    const F32x16 rest = LoadFirst(values + i, count - i);
    StoreFirst(values + i, count - i, WeightLanes(rest, max, temperature));
  }
}

uint64_t MassOf(const float* logits, int64_t count, float max, float temperature) {
  uint64_t mass = 0;
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t n = count - i < kLanes ? count - i : kLanes;
    float weights[kLanes];
    const F32x16 lanes = n == kLanes ? LoadLanes(logits + i) : LoadFirst(logits + i, n);
    StoreLanes(weights, WeightLanes(lanes, max, temperature) * Splat(kMassOfOne));
    for (int64_t j = 0; j < n; ++j) mass += static_cast<uint64_t>(weights[j]);
  }
  return mass;
}

// NaN is what is left of an infinite logit relative to an infinite max.
OCTET_INLINE F32x16 ExpOrZero(F32x16 x) { return Select(IsNan(x), Splat(0.0f), Exp(x)); }

float SumExp(const float* logits, int64_t count, float max) {
  F32x16 sums = Splat(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    sums = sums + ExpOrZero(LoadLanes(logits + i) - Splat(max));
  }
  if (i < count) {
    const F32x16 rest = ExpOrZero(LoadFirst(logits + i, count - i) - Splat(max));
    sums = sums + Select(LanesBetween(0, count - i), rest, Splat(0.0f));
  }
  return ReduceSum(sums);
}

#if defined(__AVX512F__)

// Eight counters, each in the low half of a 64-bit lane; what the high halves hold does not matter.
struct PhiloxEight {
  __m512i c[4];

  OCTET_INLINE void Round(__m512i key0, __m512i key1) {
    constexpr int kXorOfThree = 0x96;
    constexpr auto kHighToLow = static_cast<_MM_PERM_ENUM>(0xf5);
    const __m512i a = _mm512_mul_epu32(c[0], _mm512_set1_epi64(kPhiloxMultiplier0));
    const __m512i b = _mm512_mul_epu32(c[2], _mm512_set1_epi64(kPhiloxMultiplier1));
    c[0] = _mm512_ternarylogic_epi64(_mm512_shuffle_epi32(b, kHighToLow), c[1], key0, kXorOfThree);
    c[2] = _mm512_ternarylogic_epi64(_mm512_shuffle_epi32(a, kHighToLow), c[3], key1, kXorOfThree);
    c[1] = b;
    c[3] = a;
  }
  // Words `first` and first + 1 of each counter in its lane.
  OCTET_INLINE __m512i Pair(int first) const {
    return _mm512_mask_blend_epi32(0xaaaa, c[first], _mm512_slli_epi64(c[first + 1], 32));
  }
};

bool Noise(uint64_t seed, uint64_t position, uint32_t index, uint32_t sample_index, uint32_t limit,
           uint32_t* words) {
  const __m512i count = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  PhiloxEight halves[2];
  for (int half = 0; half < 2; ++half) {
    halves[half] = {_mm512_set1_epi64(static_cast<int64_t>(position)),
                    _mm512_set1_epi64(static_cast<int64_t>(position >> 32)),
                    _mm512_add_epi64(_mm512_set1_epi64(int64_t{index} + 8 * half), count),
                    _mm512_set1_epi64(sample_index)};
  }
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < kPhiloxRounds; ++round) {
    for (PhiloxEight& half : halves) half.Round(_mm512_set1_epi64(key0), _mm512_set1_epi64(key1));
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  const __m512i limits = _mm512_set1_epi32(static_cast<int>(limit));
  unsigned below = 0;
  for (const PhiloxEight& half : halves) {
    below |= _mm512_cmple_epu32_mask(half.Pair(0), limits) |
             _mm512_cmple_epu32_mask(half.Pair(2), limits);
  }
  if (below == 0) return false;
  const __m512i first_four = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i last_four = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
  for (int half = 0; half < 2; ++half) {
    const __m512i left = halves[half].Pair(0), right = halves[half].Pair(2);
    uint32_t* out = words + 32 * half;
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64(left, first_four, right));
    _mm512_storeu_si512(out + 16, _mm512_permutex2var_epi64(left, last_four, right));
  }
  return true;
}

#else

// Sixteen counters at once, by word: c[w][lane].
struct PhiloxLanes {
  uint32_t c[4][kLanes];
};

// The high and low words of x * m.
OCTET_INLINE void MultiplyWords(const uint32_t* x, uint32_t m, uint32_t* high, uint32_t* low) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t product = uint64_t{x[i]} * m;
    high[i] = static_cast<uint32_t>(product >> 32);
    low[i] = static_cast<uint32_t>(product);
  }
}

bool Noise(uint64_t seed, uint64_t position, uint32_t index, uint32_t sample_index, uint32_t limit,
           uint32_t* words) {
  PhiloxLanes s;
  for (int i = 0; i < kLanes; ++i) {
    s.c[0][i] = static_cast<uint32_t>(position);
    s.c[1][i] = static_cast<uint32_t>(position >> 32);
    s.c[2][i] = index + static_cast<uint32_t>(i);
    s.c[3][i] = sample_index;
  }
  auto key0 = static_cast<uint32_t>(seed);
  auto key1 = static_cast<uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < kPhiloxRounds; ++round) {
    PhiloxLanes t;
    uint32_t high0[kLanes], high1[kLanes];
    MultiplyWords(s.c[0], kPhiloxMultiplier0, high0, t.c[3]);
    MultiplyWords(s.c[2], kPhiloxMultiplier1, high1, t.c[1]);
    for (int i = 0; i < kLanes; ++i) t.c[0][i] = high1[i] ^ s.c[1][i] ^ key0;
    for (int i = 0; i < kLanes; ++i) t.c[2][i] = high0[i] ^ s.c[3][i] ^ key1;
    s = t;
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  uint32_t below = 0;
  for (int w = 0; w < 4; ++w) {
    for (int i = 0; i < kLanes; ++i) below |= s.c[w][i] <= limit ? 1u : 0u;
  }
  if (below == 0) return false;
  for (int i = 0; i < kLanes; ++i) {
    for (int w = 0; w < 4; ++w) words[4 * i + w] = s.c[w][i];
  }
  return true;
}

#endif

constexpr SamplingBody kBody = {MaxOf, Noise, Weigh, MassOf, SumExp};

}  // namespace
}  // namespace octet::kernels
