// The words of randomness of a tile's tokens (random.h) and a search for the small ones among them,
// which are the great Gumbel noise; compiled once per instruction family (lanes.h).
#pragma once

#include "kernels/lanes.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels {
namespace {

#if defined(__AVX512F__)

constexpr int kEights = kNoiseTokens / 32;
constexpr int kFullRounds = kPhiloxRounds - 3;

OCTET_INLINE __m512i HighToLow(__m512i x) {
  return _mm512_shuffle_epi32(x, static_cast<_MM_PERM_ENUM>(0xf5));
}
OCTET_INLINE __m512i XorOfThree(__m512i a, __m512i b, __m512i c) {
  return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

// What counters that differ in `index` alone have in common. A counter's words lie in the low
// halves of 64-bit lanes; what the high halves hold does not matter. In round 1 only the product of
// word 2 varies, and of round 2 only that of word 0; both are told as what they are xored with.
struct PhiloxCommon {
  __m512i second0;  // makes word 0 after round 1
  __m512i third0;   // word 0 after round 2
  __m512i third1;   // word 1 after round 2, the same for all
  __m512i third2;   // word 2 after round 2
  __m512i key0[kFullRounds];
  __m512i key1[kFullRounds];
  __m512i last0;  // of round 10, in the high halves
  __m512i last1;

  explicit PhiloxCommon(const NoiseKey& key) {
    const auto low = [](uint64_t x) { return x & 0xffffffffu; };
    const auto splat = [](uint64_t x) { return _mm512_set1_epi64(static_cast<int64_t>(x)); };
    auto k0 = static_cast<uint32_t>(key.seed);
    auto k1 = static_cast<uint32_t>(key.seed >> 32);
    const auto next_round = [&] {
      k0 += kPhiloxWeyl0;
      k1 += kPhiloxWeyl1;
    };
    const uint64_t a = low(key.position) * kPhiloxMultiplier0;
    second0 = splat((key.position >> 32) ^ k0);
    const uint64_t b = uint64_t{(a >> 32) ^ key.sample_index ^ k1} * kPhiloxMultiplier1;
    next_round();
    third0 = splat((b >> 32) ^ k0);
    third1 = splat(b);
    third2 = splat(low(a) ^ k1);
    for (int i = 0; i < kFullRounds; ++i) {
      next_round();
      key0[i] = splat(k0);
      key1[i] = splat(k1);
    }
    next_round();
    last0 = splat(uint64_t{k0} << 32);
    last1 = splat(uint64_t{k1} << 32);
  }
};

// Eight counters.
struct PhiloxEight {
  __m512i c[4];

  // After two rounds, from the products of their indices and the multiplier of word 2.
  OCTET_INLINE PhiloxEight(const PhiloxCommon& common, __m512i products) {
    const __m512i c0 = _mm512_xor_si512(HighToLow(products), common.second0);
    c[3] = _mm512_mul_epu32(c0, _mm512_set1_epi64(kPhiloxMultiplier0));
    c[0] = _mm512_xor_si512(products, common.third0);
    c[1] = common.third1;
    c[2] = _mm512_xor_si512(HighToLow(c[3]), common.third2);
  }
  OCTET_INLINE void Round(__m512i key0, __m512i key1) {
    const __m512i a = _mm512_mul_epu32(c[0], _mm512_set1_epi64(kPhiloxMultiplier0));
    const __m512i b = _mm512_mul_epu32(c[2], _mm512_set1_epi64(kPhiloxMultiplier1));
    c[0] = XorOfThree(HighToLow(b), c[1], key0);
    c[2] = XorOfThree(HighToLow(a), c[3], key1);
    c[1] = b;
    c[3] = a;
  }
  // The last round makes words 0 and 2 in the high halves, where they lie beside 1 and 3 at once:
  // pairs[0] has words 1 and 0 of each counter, pairs[1] words 3 and 2.
  OCTET_INLINE void LastRound(const PhiloxCommon& common, __m512i* pairs) const {
    constexpr auto kLowToHigh = static_cast<_MM_PERM_ENUM>(0xa0);
    const __m512i a = _mm512_mul_epu32(c[0], _mm512_set1_epi64(kPhiloxMultiplier0));
    const __m512i b = _mm512_mul_epu32(c[2], _mm512_set1_epi64(kPhiloxMultiplier1));
    pairs[0] = XorOfThree(b, _mm512_maskz_shuffle_epi32(0xaaaa, c[1], kLowToHigh), common.last0);
    pairs[1] = XorOfThree(a, _mm512_maskz_shuffle_epi32(0xaaaa, c[3], kLowToHigh), common.last1);
  }
};

// Adds those of kNoiseTokens words, in pairs as LastRound leaves them, that are at most `limits`.
OCTET_INLINE void Gather(const __m512i* pairs, __m512i limits, int64_t place, SmallWords* found) {
  const __m512i in_eight =
      _mm512_setr_epi32(1, 0, 5, 4, 9, 8, 13, 12, 17, 16, 21, 20, 25, 24, 29, 28);
  for (int i = 0; i < 2 * kEights; ++i) {
    const auto first = static_cast<int>(place + 32 * (i / 2) + 2 * (i % 2));
    const __m512i places = _mm512_add_epi32(_mm512_set1_epi32(first), in_eight);
    const __mmask16 small = _mm512_cmple_epu32_mask(pairs[i], limits);
    _mm512_storeu_si512(&found->places[found->count], _mm512_maskz_compress_epi32(small, places));
    _mm512_storeu_si512(&found->words[found->count], _mm512_maskz_compress_epi32(small, pairs[i]));
    found->count += __builtin_popcount(small);
  }
}

void FindWords(const NoiseKey& key, uint32_t index, int64_t tokens, uint32_t limit,
               SmallWords* found) {
  const PhiloxCommon common(key);
  const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i multiplier = _mm512_set1_epi64(kPhiloxMultiplier1);
  const __m512i step = _mm512_set1_epi64(8 * int64_t{kPhiloxMultiplier1});
  const __m512i limits = _mm512_set1_epi32(static_cast<int>(limit));
  __m512i products =
      _mm512_mul_epu32(_mm512_add_epi64(_mm512_set1_epi64(index), lanes), multiplier);
  found->count = 0;
  for (int64_t place = 0; place < tokens; place += kNoiseTokens) {
    __m512i pairs[2 * kEights];
    {
      const __m512i p1 = _mm512_add_epi64(products, step);
      const __m512i p2 = _mm512_add_epi64(p1, step);
      const __m512i p3 = _mm512_add_epi64(p2, step);
      static_assert(kEights == 4);
      PhiloxEight eights[kEights] = {{common, products}, {common, p1}, {common, p2}, {common, p3}};
      products = _mm512_add_epi64(p3, step);
#pragma GCC unroll 7
      for (int round = 0; round < kFullRounds; ++round) {
        for (PhiloxEight& eight : eights) eight.Round(common.key0[round], common.key1[round]);
      }
      for (int i = 0; i < kEights; ++i) eights[i].LastRound(common, pairs + 2 * i);
    }
    __m512i least = pairs[0];
    for (int i = 1; i < 2 * kEights; ++i) least = _mm512_min_epu32(least, pairs[i]);
    if (_mm512_cmple_epu32_mask(least, limits) == 0) continue;
    Gather(pairs, limits, place, found);
  }
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

OCTET_INLINE PhiloxLanes PhiloxOf(const NoiseKey& key, uint32_t index) {
  PhiloxLanes s;
  for (int i = 0; i < kLanes; ++i) {
    s.c[0][i] = static_cast<uint32_t>(key.position);
    s.c[1][i] = static_cast<uint32_t>(key.position >> 32);
    s.c[2][i] = index + static_cast<uint32_t>(i);
    s.c[3][i] = key.sample_index;
  }
  auto key0 = static_cast<uint32_t>(key.seed);
  auto key1 = static_cast<uint32_t>(key.seed >> 32);
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
  return s;
}

void FindWords(const NoiseKey& key, uint32_t index, int64_t tokens, uint32_t limit,
               SmallWords* found) {
  found->count = 0;
  for (int64_t place = 0; place < tokens; place += 4 * kLanes) {
    const PhiloxLanes s = PhiloxOf(key, index + static_cast<uint32_t>(place / 4));
    uint32_t below = 0;
    for (int w = 0; w < 4; ++w) {
      for (int i = 0; i < kLanes; ++i) below |= s.c[w][i] <= limit ? 1u : 0u;
    }
    if (below == 0) continue;
    for (int i = 0; i < kLanes; ++i) {
      for (int w = 0; w < 4; ++w) {
        if (s.c[w][i] > limit) continue;
        found->places[found->count] = static_cast<uint32_t>(place + 4 * i + w);
        found->words[found->count++] = s.c[w][i];
      }
    }
  }
}

#endif

}  // namespace
}  // namespace octet::kernels
