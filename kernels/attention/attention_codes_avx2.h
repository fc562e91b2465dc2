// The products of attention_codes.h with AVX2 (`vpmaddwd`): pairs of codes as 16-bit words. Few
// vectors widen keys and values as they go; more share one widened copy of a block, in which the
// pairs of 16 neighbours (tokens of keys, values of a token pair) lie side by side, so that scores
// need no sums across lanes.
#pragma once

#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

constexpr int kScoreRows = 4;  // vectors that share the widening of a key
constexpr int kSumRows = 4;    // and of a value
// From so many on they share a copy of the block.
constexpr int64_t kCopyVectors = 8;

// Weights are 16-bit words [64].
OCTET_INLINE int16_t* WordsOf(uint8_t* weights, int64_t vector) {
  return reinterpret_cast<int16_t*>(weights) + vector * kKvBlockTokens;
}
OCTET_INLINE uint8_t* WeightsOf(uint8_t* weights, int64_t vector) {
  return reinterpret_cast<uint8_t*>(WordsOf(weights, vector));
}
OCTET_INLINE void StoreWeights(uint8_t* weights, int i, F32x16 codes) {
  StoreLowShorts(reinterpret_cast<int16_t*>(weights) + i * kLanes, codes);
}

// Sixteen codes in 16 bits each. From memory this is one step; from a register it would be two, and
// slow ones.
OCTET_INLINE __m256i LoadShorts(const int8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
OCTET_INLINE __m256i LoadPairs(const void* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
OCTET_INLINE void StorePairs(void* p, __m256i x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
}
// Two words in all lanes.
OCTET_INLINE __m256i SplatPair(const int16_t* words) {
  int32_t pair;
  std::memcpy(&pair, words, sizeof(pair));
  return _mm256_set1_epi32(pair);
}
OCTET_INLINE void AddProducts(__m256i& sum, __m256i a, __m256i b) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

// The sums of eight vectors of words, in order.
OCTET_INLINE __m256i FoldEight(const __m256i (&x)[8]) {
  const auto words = [](__m256i a, __m256i b) {
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  };
  const auto pairs = [](__m256i a, __m256i b) {
    return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
  };
  const __m256i low = pairs(words(x[0], x[1]), words(x[2], x[3]));
  const __m256i high = pairs(words(x[4], x[5]), words(x[6], x[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x21),
                          _mm256_blend_epi32(low, high, 0xf0));
}

// What one or two vectors read beside each pair of lines that they ask for, in bytes, so that the
// pairs are a block's whole part when its products are done.
constexpr int64_t kPairBytes = 2 * kBufferAlignment;

// dots[r * 64 + t] for R vectors and 16 tokens; queries [R, q_stride].
template <int R>
OCTET_INLINE void ScoreCodes(const int16_t* q, int64_t q_stride, int64_t dim, const int8_t* k,
                             Ahead& ahead, int64_t lines, int32_t* dots) {
  constexpr int kTokens = R == 1 ? 8 : R == 2 ? 4 : 2;  // so that sums and keys are registers
  for (int64_t first = 0; first < kLanes; first += kTokens, k += kTokens * dim) {
    if (first % 8 == 0) ahead.Fetch(2 * lines);
    __m256i sum[8];  // [R][kTokens]
#pragma GCC unroll 8
    for (__m256i& x : sum) x = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int64_t c = 0; c < dim; c += 16) {
      if (R <= 2 && c % (kPairBytes / kTokens) == 0) ahead.FetchPair();
      __m256i key[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) key[t] = LoadShorts(k + t * dim + c);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const __m256i query = LoadPairs(q + r * q_stride + c);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) AddProducts(sum[r * kTokens + t], query, key[t]);
      }
    }
    alignas(32) int32_t folded[8];
    StorePairs(folded, FoldEight(sum));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      std::memcpy(dots + r * kKvBlockTokens + first, folded + r * kTokens, kTokens * 4);
    }
  }
}

// Two rows of 16 words, of which the pairs are in lanes 0 .. 3 and 8 .. 11 of `to[0]`, else of
// `to[1]`: no instruction crosses the middle of a register for less.
OCTET_INLINE void PairWords(__m256i a, __m256i b, __m256i (&to)[2]) {
  to[0] = _mm256_unpacklo_epi16(a, b);
  to[1] = _mm256_unpackhi_epi16(a, b);
}
// Sums of such pairs, stored in the order of the values.
OCTET_INLINE void StoreSums(int32_t* to, __m256i first, __m256i second) {
  StorePairs(to, _mm256_permute2x128_si256(first, second, 0x20));
  StorePairs(to + 8, _mm256_permute2x128_si256(first, second, 0x31));
}

// The eights of tokens of which some are among `tokens`: weights are 0 where a vector sees none.
OCTET_INLINE TokenRange WholeEights(TokenRange tokens) {
  return {tokens.begin / 8 * 8, (tokens.end + 7) / 8 * 8};
}

// Tokens whose products are added between two places to ask for memory.
constexpr int64_t kSumTokens = 8;

// sums[r * 64 + d] of vectors `vector`.. over tokens [begin, end) and what else is in their eights.
template <int R>
OCTET_INLINE void SumCodes(uint8_t* weights, int64_t vector, const int8_t* v, int64_t stride,
                           int64_t begin, int64_t end, Ahead& ahead, int64_t lines, int32_t* sums) {
  const int16_t* words = WordsOf(weights, vector);
  const TokenRange eights = WholeEights({begin, end});
  constexpr int kDims = R == 1 ? 64 : R == 2 ? 32 : 16;  // at a time, likewise
  constexpr int64_t kPasses = kSumDims / kDims;
  const int64_t fetched = (2 * lines + kPasses - 1) / kPasses;  // places: 8 in each pass, 16 asked
  for (int64_t d = 0; d < kSumDims; d += kDims) {
    __m256i sum[R][kDims / 16][2];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < kDims / 16; ++c) sum[r][c][0] = sum[r][c][1] = _mm256_setzero_si256();
    }
    for (int64_t first = eights.begin; first < eights.end; first += kSumTokens) {
      ahead.Fetch(fetched);
      const int64_t left = eights.end - first;  // GCC spills if it knows how many turns there are
      const int64_t last = first + (kSumTokens < left ? kSumTokens : left);
      const int8_t* row = v + first * stride + d;
#pragma GCC unroll 4
      for (int64_t t = first; t < last; t += 2, row += 2 * stride) {
        if (R <= 2 && (t - first) % (kPairBytes / kDims) == 0) ahead.FetchPair();
#pragma GCC unroll 4
        for (int c = 0; c < kDims / 16; ++c) {
          __m256i value[2];
          PairWords(LoadShorts(row + 16 * c), LoadShorts(row + stride + 16 * c), value);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) {
            const __m256i weight = SplatPair(words + r * kKvBlockTokens + t);
            AddProducts(sum[r][c][0], weight, value[0]);
            AddProducts(sum[r][c][1], weight, value[1]);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int c = 0; c < kDims / 16; ++c) {
        StoreSums(sums + r * kSumDims + d + 16 * c, sum[r][c][0], sum[r][c][1]);
      }
    }
  }
}

// A block's copy is made of panels: 16 pairs beside each other, of all values of 16 tokens' keys,
// or of all tokens of 16 values.
constexpr int64_t kPanelPairs = 16;

// sums[r * sums_stride + i] of R vectors and 16 columns of a panel, over `count` rows of it, whole
// fours, each times a pair of the vector's words. kValues: in the order of values (PairWords).
template <int R, bool kValues>
OCTET_INLINE void SumPanel(const int16_t* words, int64_t words_stride, const int32_t* panel,
                           int64_t count, int32_t* sums, int64_t sums_stride) {
  __m256i sum[R][2];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (int64_t i = 0; i < count; ++i) {
    const __m256i low = LoadPairs(panel + i * kPanelPairs);
    const __m256i high = LoadPairs(panel + i * kPanelPairs + 8);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m256i splat = SplatPair(words + r * words_stride + 2 * i);
      AddProducts(sum[r][0], splat, low);
      AddProducts(sum[r][1], splat, high);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r, sums += sums_stride) {
    if (kValues) {
      StoreSums(sums, sum[r][0], sum[r][1]);
    } else {
      StorePairs(sums, sum[r][0]);
      StorePairs(sums + 8, sum[r][1]);
    }
  }
}

OCTET_INLINE bool CopiesBlock(const AttentionTile&, const VisibleBlock& block) {
  return block.end - block.begin >= kCopyVectors;
}
OCTET_INLINE FetchSteps StepsOfCopy(const AttentionTile& tile, int64_t vectors) {
  const int64_t fours = (vectors + 3) / 4;
  return {fours * 4 + kKvBlockTokens / 4, fours * (tile.padded_dim / 16) + tile.padded_dim / 2};
}
// One panel of keys [padded_dim / 2][16], then four of values [32][16]: made and used one after the
// other, so that they stay in the nearest cache.
OCTET_INLINE int32_t* KeyPanel(const AttentionTile& tile) {
  return reinterpret_cast<int32_t*>(tile.wide);
}
OCTET_INLINE int32_t* ValuePanel(const AttentionTile& tile, int64_t index) {
  return KeyPanel(tile) + tile.padded_dim / 2 * kPanelPairs +
         index * kKvBlockTokens / 2 * kPanelPairs;
}

// Eight pairs of each of 4 tokens.
OCTET_INLINE void CopyKeys(const int8_t* k, int64_t dim, int32_t* to) {
  const __m256i a = LoadShorts(k), b = LoadShorts(k + dim);
  const __m256i c = LoadShorts(k + 2 * dim), d = LoadShorts(k + 3 * dim);
  const __m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
  const __m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);
  const auto store = [&](int pair, __m256i x) {  // the upper half is of the pair four further
    _mm_store_si128(reinterpret_cast<__m128i*>(to + pair * kPanelPairs), _mm256_castsi256_si128(x));
    _mm_store_si128(reinterpret_cast<__m128i*>(to + (pair + 4) * kPanelPairs),
                    _mm256_extracti128_si256(x, 1));
  };
  store(0, _mm256_unpacklo_epi64(ab_low, cd_low));
  store(1, _mm256_unpackhi_epi64(ab_low, cd_low));
  store(2, _mm256_unpacklo_epi64(ab_high, cd_high));
  store(3, _mm256_unpackhi_epi64(ab_high, cd_high));
}

// The scores of a block of which many vectors share a copy; false where they are few.
bool ScoreCopied(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead,
                 int64_t lines) {
  if (!CopiesBlock(tile, block)) return false;
  const auto* k = reinterpret_cast<const int8_t*>(block.data + tile.k_data);
  const int64_t dim = tile.head_dim;
  int32_t* panel = KeyPanel(tile);
  for (int64_t t = block.tokens.begin / kLanes * kLanes; t < block.tokens.end; t += kLanes) {
    for (int64_t i = 0; i < kLanes; i += 4) {
      ahead.Fetch(lines);
      for (int64_t c = 0; c < dim; c += 16) {
        CopyKeys(k + (t + i) * dim + c, dim, panel + c / 2 * kPanelPairs + i);
      }
    }
    ForEachTile<4>(block.begin, block.end, [&](int64_t v, auto count) {
      ahead.Fetch(lines);
      SumPanel<count.value, false>(tile.q_codes + v * tile.padded_dim, tile.padded_dim, panel,
                                   (dim + 7) / 8 * 4, tile.dots + v * kKvBlockTokens + t,
                                   kKvBlockTokens);
    });
  }
  return true;
}

// The same for its values; sink as of SumBlock.
template <typename Sink>
bool SumCopied(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
               const Sink& sink) {
  if (!CopiesBlock(tile, block)) return false;
  const auto* v = reinterpret_cast<const int8_t*>(block.data + tile.v_data);
  const int64_t dim = tile.head_dim;
  const TokenRange eights = WholeEights(block.tokens);
  const int64_t rows = (eights.end - eights.begin) / 2;
  for (int64_t c = 0; c < dim; c += kSumDims) {
    for (int64_t t = eights.begin; t < eights.end; t += 2) {
      ahead.Fetch(lines);
      const int8_t* row = v + t * dim + c;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        __m256i pairs[2];
        int32_t* to = ValuePanel(tile, i) + t / 2 * kPanelPairs;
        PairWords(LoadShorts(row + i * 16), LoadShorts(row + i * 16 + dim), pairs);
        StorePairs(to, pairs[0]);
        StorePairs(to + 8, pairs[1]);
      }
    }
    ForEachTile<4>(block.begin, block.end, [&](int64_t first, auto count) {
      constexpr int R = count.value;
      const int16_t* words = WordsOf(tile.weights, first) + eights.begin;
      alignas(64) int32_t sums[R * kSumDims];
      for (int i = 0; i < 4; ++i) {
        ahead.Fetch(lines);
        const int32_t* panel = ValuePanel(tile, i) + eights.begin / 2 * kPanelPairs;
        SumPanel<R, true>(words, kKvBlockTokens, panel, rows, sums + 16 * i, kSumDims);
      }
      for (int r = 0; r < R; ++r) sink(first + r, sums + r * kSumDims, c);
    });
  }
  return true;
}

}  // namespace
}  // namespace octet::kernels
