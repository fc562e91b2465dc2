// The words of randomness of a tile's tokens (random.h) and a search for the small ones among them,
// which are the great Gumbel noise; compiled once per instruction family (lanes.h).
#pragma once

#include "kernels/lanes.h"
#include "kernels/sampling/sampling_row.h"

namespace octet::kernels {
namespace {

#if defined(__AVX2__)

// 64-bit lanes: a counter's words lie in the low halves, each in a register of its own. What the
// high halves hold does not matter.
#if defined(__AVX512F__)
using Wide = __m512i;
constexpr int kWides = 4;  // in flight; their words fit the registers
OCTET_INLINE Wide SplatWide(uint64_t x) { return _mm512_set1_epi64(static_cast<int64_t>(x)); }
OCTET_INLINE Wide CountWide() { return _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7); }
OCTET_INLINE Wide Add(Wide a, Wide b) { return _mm512_add_epi64(a, b); }
OCTET_INLINE Wide Xor(Wide a, Wide b) { return _mm512_xor_si512(a, b); }
OCTET_INLINE Wide Xor(Wide a, Wide b, Wide c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
OCTET_INLINE Wide MultiplyLow(Wide a, Wide b) { return _mm512_mul_epu32(a, b); }
OCTET_INLINE Wide HighToLow(Wide x) {
  return _mm512_shuffle_epi32(x, static_cast<_MM_PERM_ENUM>(0xf5));
}
OCTET_INLINE Wide LowToHigh(Wide x) { return _mm512_slli_epi64(x, 32); }
OCTET_INLINE Wide MinWords(Wide a, Wide b) { return _mm512_min_epu32(a, b); }
// A bit for each word.
OCTET_INLINE unsigned AtMost(Wide a, Wide limits) { return _mm512_cmple_epu32_mask(a, limits); }
OCTET_INLINE void StoreWords(uint32_t* p, Wide words, unsigned which) {
  _mm512_storeu_si512(p, _mm512_maskz_compress_epi32(static_cast<__mmask16>(which), words));
}
#else
using Wide = __m256i;
constexpr int kWides = 2;
OCTET_INLINE Wide SplatWide(uint64_t x) { return _mm256_set1_epi64x(static_cast<int64_t>(x)); }
OCTET_INLINE Wide CountWide() { return _mm256_setr_epi64x(0, 1, 2, 3); }
OCTET_INLINE Wide Add(Wide a, Wide b) { return _mm256_add_epi64(a, b); }
OCTET_INLINE Wide Xor(Wide a, Wide b) { return _mm256_xor_si256(a, b); }
OCTET_INLINE Wide Xor(Wide a, Wide b, Wide c) { return Xor(Xor(b, c), a); }
OCTET_INLINE Wide MultiplyLow(Wide a, Wide b) { return _mm256_mul_epu32(a, b); }
OCTET_INLINE Wide HighToLow(Wide x) { return _mm256_shuffle_epi32(x, 0xf5); }
OCTET_INLINE Wide LowToHigh(Wide x) { return _mm256_slli_epi64(x, 32); }
OCTET_INLINE Wide MinWords(Wide a, Wide b) { return _mm256_min_epu32(a, b); }
OCTET_INLINE unsigned AtMost(Wide a, Wide limits) {
  const __m256i at_most = _mm256_cmpeq_epi32(MinWords(a, limits), a);
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(at_most)));
}
OCTET_INLINE void StoreWords(uint32_t* p, Wide words, unsigned which) {
  uint32_t all[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(all), words);
  for (; which != 0; which &= which - 1) *p++ = all[__builtin_ctz(which)];
}
#endif

constexpr int kWideCounters = sizeof(Wide) / sizeof(uint64_t);
constexpr int kTokensAtOnce = 4 * kWides * kWideCounters;
static_assert(kNoiseTokens % kTokensAtOnce == 0);
constexpr int kFullRounds = kPhiloxRounds - 3;

// What counters that differ in `index` alone have in common. In round 1 only the product of word 2
// varies, and of round 2 only that of word 0; the rest of both is told as what those are xored
// with.
struct PhiloxCommon {
  Wide second0;  // makes word 0 after round 1
  Wide third0;   // word 0 after round 2
  Wide third1;   // word 1 after round 2, the same for all
  Wide third2;   // word 2 after round 2
  Wide key0[kFullRounds];
  Wide key1[kFullRounds];
  Wide last0;  // of round 10, in the high halves
  Wide last1;

  explicit PhiloxCommon(const NoiseKey& key) {
    const auto low = [](uint64_t x) { return x & 0xffffffffu; };
    auto k0 = static_cast<uint32_t>(key.seed);
    auto k1 = static_cast<uint32_t>(key.seed >> 32);
    const auto next_round = [&] {
      k0 += kPhiloxWeyl0;
      k1 += kPhiloxWeyl1;
    };
    const uint64_t a = low(key.position) * kPhiloxMultiplier0;
    second0 = SplatWide((key.position >> 32) ^ k0);
    const uint64_t b = uint64_t{(a >> 32) ^ key.sample_index ^ k1} * kPhiloxMultiplier1;
    next_round();
    third0 = SplatWide((b >> 32) ^ k0);
    third1 = SplatWide(b);
    third2 = SplatWide(low(a) ^ k1);
    for (int i = 0; i < kFullRounds; ++i) {
      next_round();
      key0[i] = SplatWide(k0);
      key1[i] = SplatWide(k1);
    }
    next_round();
    last0 = SplatWide(uint64_t{k0} << 32);
    last1 = SplatWide(uint64_t{k1} << 32);
  }
};

struct PhiloxWide {
  Wide c[4];

  // After two rounds, from the products of the indices and the multiplier of word 2.
  OCTET_INLINE void Start(const PhiloxCommon& common, Wide products) {
    c[3] = MultiplyLow(Xor(HighToLow(products), common.second0), SplatWide(kPhiloxMultiplier0));
    c[0] = Xor(products, common.third0);
    c[1] = common.third1;
    c[2] = Xor(HighToLow(c[3]), common.third2);
  }
  OCTET_INLINE void Round(Wide key0, Wide key1) {
    const Wide a = MultiplyLow(c[0], SplatWide(kPhiloxMultiplier0));
    const Wide b = MultiplyLow(c[2], SplatWide(kPhiloxMultiplier1));
    c[0] = Xor(HighToLow(b), c[1], key0);
    c[2] = Xor(HighToLow(a), c[3], key1);
    c[1] = b;
    c[3] = a;
  }
  // The last round makes words 0 and 2 in the high halves, where they lie beside 1 and 3 at once:
  // pairs[0] has words 1 and 0 of each counter, pairs[1] words 3 and 2.
  OCTET_INLINE void LastRound(const PhiloxCommon& common, Wide* pairs) const {
    const Wide a = MultiplyLow(c[0], SplatWide(kPhiloxMultiplier0));
    const Wide b = MultiplyLow(c[2], SplatWide(kPhiloxMultiplier1));
    pairs[0] = Xor(b, LowToHigh(c[1]), common.last0);
    pairs[1] = Xor(a, LowToHigh(c[3]), common.last1);
  }
};

// Adds those of kTokensAtOnce words, in pairs as LastRound leaves them, that are at most `limits`.
OCTET_INLINE void Gather(const Wide* pairs, Wide limits, int64_t place, SmallWords* found) {
  // Lane n stands for words 4 n + 1 and 4 n of the counters'.
  const Wide in_wide = Add(MultiplyLow(CountWide(), SplatWide(4)), SplatWide(1));
  for (int i = 0; i < 2 * kWides; ++i) {
    const auto first = static_cast<uint64_t>(place + 4 * kWideCounters * (i / 2) + 2 * (i % 2));
    const Wide low = Add(in_wide, SplatWide(first));
    const Wide places = Add(low, LowToHigh(Add(low, SplatWide(~uint64_t{0}))));
    const unsigned small = AtMost(pairs[i], limits);
    StoreWords(&found->places[static_cast<size_t>(found->count)], places, small);
    StoreWords(&found->words[static_cast<size_t>(found->count)], pairs[i], small);
    found->count += __builtin_popcount(small);
  }
}

void FindWords(const NoiseKey& key, uint32_t index, int64_t tokens, uint32_t limit,
               SmallWords* found) {
  const PhiloxCommon common(key);
  const Wide multiplier = SplatWide(kPhiloxMultiplier1);
  const Wide step = SplatWide(kWideCounters * uint64_t{kPhiloxMultiplier1});
  const Wide limits = SplatWide(uint64_t{limit} << 32 | limit);
  Wide products = MultiplyLow(Add(SplatWide(index), CountWide()), multiplier);
  found->count = 0;
  for (int64_t place = 0; place < tokens; place += kTokensAtOnce) {
    PhiloxWide wides[kWides];
    for (PhiloxWide& wide : wides) {
      wide.Start(common, products);
      products = Add(products, step);
    }
#pragma GCC unroll 7
    for (int round = 0; round < kFullRounds; ++round) {
      for (PhiloxWide& wide : wides) wide.Round(common.key0[round], common.key1[round]);
    }
    Wide pairs[2 * kWides];
    for (int i = 0; i < kWides; ++i) wides[i].LastRound(common, pairs + 2 * i);
    Wide least = pairs[0];
    for (int i = 1; i < 2 * kWides; ++i) least = MinWords(least, pairs[i]);
    if (AtMost(least, limits) == 0) continue;
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
