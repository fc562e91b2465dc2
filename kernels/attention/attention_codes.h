// The two inner products of attention over an int8 cache: codes of queries with keys, codes of
// weights with values. Sums are exact in int32, so their order, and with it the family and the
// number of vectors at a time, can not show. Rows are read past head_dim, up to 63 bytes, where
// codes of the query are 0 and sums of values go unused; what lies there is the cache's own.
//
// The codes of a query are 16 bits, those of a weight 15 (attention_int8.h).
#pragma once

#include "kernels/attention/attention_dots.h"
#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

constexpr int64_t kSumDims = 64;  // values that SumCodes takes

#if defined(__AVX512F__)

constexpr int kScoreRows = 4;  // vectors that share a load of a key
constexpr int kSumRows = 2;    // and of a value

// Weights are bytes: of eight vectors the high ones [8, 64], then the low ones.
constexpr int64_t kLowWeights = 512;
OCTET_INLINE uint8_t* WeightsOf(uint8_t* weights, int64_t vector) {
  return weights + vector / 8 * 1024 + vector % 8 * 64;
}
// The codes of tokens [16 i, 16 i + 16), which are the two low bytes of each lane's bits.
OCTET_INLINE void StoreWeights(uint8_t* weights, int i, F32x16 codes) {
  const __m512i bits = _mm512_castps_si512(codes.v);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(weights + 16 * i),
                   _mm512_cvtepi32_epi8(_mm512_srli_epi32(bits, 8)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(weights + kLowWeights + 16 * i),
                   _mm512_cvtepi32_epi8(bits));
}

// dots[r * 64 + t] for R vectors and 16 tokens; queries [R, q_stride].
template <int R>
OCTET_INLINE void ScoreCodes(const int16_t* q, int64_t q_stride, int64_t dim, const int8_t* k,
                             Ahead& ahead, int64_t lines, int32_t* dots) {
  __m512i quarters[R][4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
    __m512i sum[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sum[r][i] = _mm512_setzero_si512();
    }
    ahead.Fetch(lines);
    for (int64_t c = 0; c < dim; c += 32) {
      __m512i key[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        key[i] = _mm512_cvtepi8_epi16(
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(k + (4 * i + t) * dim + c)));
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const __m512i query = _mm512_loadu_si512(q + r * q_stride + c);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sum[r][i] = _mm512_dpwssd_epi32(sum[r][i], query, key[i]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      quarters[r][t] = FoldQuad(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m512i* x = quarters[r];
    _mm512_storeu_si512(dots + r * kKvBlockTokens, FoldQuarters(x[0], x[1], x[2], x[3]));
  }
}

// Word 4 L + i of x[j] and word 4 L + j of x[i] change places.
OCTET_INLINE void TransposeInQuarters(__m512i (&x)[4]) {
  const __m512i ab_low = _mm512_unpacklo_epi32(x[0], x[1]);
  const __m512i ab_high = _mm512_unpackhi_epi32(x[0], x[1]);
  const __m512i cd_low = _mm512_unpacklo_epi32(x[2], x[3]);
  const __m512i cd_high = _mm512_unpackhi_epi32(x[2], x[3]);
  x[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
  x[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
  x[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
  x[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}
// Word 4 L + i of x[j] becomes word 16 L + 4 j + i of all four.
OCTET_INLINE void TransposeQuarters(__m512i (&x)[4]) {
  const __m512i a = _mm512_shuffle_i32x4(x[0], x[1], 0x44);
  const __m512i b = _mm512_shuffle_i32x4(x[2], x[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(x[0], x[1], 0xee);
  const __m512i d = _mm512_shuffle_i32x4(x[2], x[3], 0xee);
  x[0] = _mm512_shuffle_i32x4(a, b, 0x88);
  x[1] = _mm512_shuffle_i32x4(a, b, 0xdd);
  x[2] = _mm512_shuffle_i32x4(c, d, 0x88);
  x[3] = _mm512_shuffle_i32x4(c, d, 0xdd);
}

// 64 values of four tokens, so that the four of a value are neighbours: word 4 L + i of x[j] is
// value 16 L + 4 j + i.
OCTET_INLINE void InterleaveTokens(const int8_t* v, int64_t stride, __m512i (&x)[4]) {
  __m512i row[4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) row[t] = _mm512_loadu_si512(v + t * stride);
  const __m512i ab_low = _mm512_unpacklo_epi8(row[0], row[1]);
  const __m512i ab_high = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i cd_low = _mm512_unpacklo_epi8(row[2], row[3]);
  const __m512i cd_high = _mm512_unpackhi_epi8(row[2], row[3]);
  x[0] = _mm512_unpacklo_epi16(ab_low, cd_low);
  x[1] = _mm512_unpackhi_epi16(ab_low, cd_low);
  x[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
  x[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

// sums[r * 64 + d] of vectors `first`.. over tokens [begin, end) and what else shares their fours.
template <int R>
OCTET_INLINE void SumCodes(uint8_t* weights, int64_t first, const int8_t* v, int64_t stride,
                           int64_t begin, int64_t end, Ahead& ahead, int64_t lines, int32_t* sums) {
  __m512i high[R][4], low[R][4];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) high[r][j] = low[r][j] = _mm512_setzero_si512();
  }
  for (int64_t t = begin / 4 * 4; t < end; t += 4) {
    ahead.Fetch(lines);
    __m512i x[4];
    InterleaveTokens(v + t * stride, stride, x);
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      int32_t bytes[2];
      const uint8_t* weight = WeightsOf(weights, first + r) + t;
      std::memcpy(&bytes[0], weight, 4);
      std::memcpy(&bytes[1], weight + kLowWeights, 4);
      const __m512i of_high = _mm512_set1_epi32(bytes[0]);
      const __m512i of_low = _mm512_set1_epi32(bytes[1]);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        high[r][j] = _mm512_dpbusd_epi32(high[r][j], of_high, x[j]);
        low[r][j] = _mm512_dpbusd_epi32(low[r][j], of_low, x[j]);
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    __m512i sum[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      sum[j] = _mm512_add_epi32(_mm512_slli_epi32(high[r][j], 8), low[r][j]);
    }
    TransposeQuarters(sum);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) _mm512_storeu_si512(sums + r * kSumDims + j * kLanes, sum[j]);
  }
}

#else

// Weights are 16-bit words [64].
OCTET_INLINE uint8_t* WeightsOf(uint8_t* weights, int64_t vector) {
  return weights + vector * kKvBlockTokens * 2;
}
OCTET_INLINE void StoreWeights(uint8_t* weights, int i, F32x16 codes) {
  int16_t words[kLanes];
  StoreLowShorts(words, codes);
  std::memcpy(weights + i * sizeof(words), words, sizeof(words));
}

#if defined(__AVX2__)

constexpr int kScoreRows = 4;  // vectors that share the widening of a key
constexpr int kSumRows = 4;    // and of a value

OCTET_INLINE __m256i LoadShorts(const int8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// The sums of eight vectors of words, in order.
OCTET_INLINE __m256i FoldEight(const __m256i (&x)[8]) {
  const auto fold = [](__m256i a, __m256i b, __m256i c, __m256i d) {
    return _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  };
  const __m256i low = fold(x[0], x[1], x[2], x[3]);
  const __m256i high = fold(x[4], x[5], x[6], x[7]);
  return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                          _mm256_permute2x128_si256(low, high, 0x31));
}

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
    for (int64_t c = 0; c < dim; c += 16) {
      __m256i key[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) key[t] = LoadShorts(k + t * dim + c);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const auto* at = reinterpret_cast<const __m256i*>(q + r * q_stride + c);
        const __m256i query = _mm256_loadu_si256(at);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          __m256i& to = sum[r * kTokens + t];
          to = _mm256_add_epi32(to, _mm256_madd_epi16(query, key[t]));
        }
      }
    }
    alignas(32) int32_t folded[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(folded), FoldEight(sum));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      std::memcpy(dots + r * kKvBlockTokens + first, folded + r * kTokens, kTokens * 4);
    }
  }
}

// sums[r * 64 + d] of vectors `first`.. over tokens [begin, end) and what else shares their pairs.
template <int R>
OCTET_INLINE void SumCodes(uint8_t* weights, int64_t first, const int8_t* v, int64_t stride,
                           int64_t begin, int64_t end, Ahead& ahead, int64_t lines, int32_t* sums) {
  constexpr int kDims = R == 1 ? 64 : R == 2 ? 32 : 16;  // at a time, likewise
  constexpr int kPasses = kSumDims / kDims;
  for (int64_t d = 0; d < kSumDims; d += kDims) {
    __m256i sum[R][kDims / 8];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int i = 0; i < kDims / 8; ++i) sum[r][i] = _mm256_setzero_si256();
    }
    for (int64_t t = begin / 2 * 2; t < end; t += 2) {
      if (t % (4 * kPasses) == 0) ahead.Fetch(lines);
#pragma GCC unroll 4
      for (int c = 0; c < kDims; c += 16) {
        const int8_t* at = v + t * stride + d + c;
        const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + stride));
        const __m256i low = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b));
        const __m256i high = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b));
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          int32_t pair;
          std::memcpy(&pair, WeightsOf(weights, first + r) + 2 * t, 4);
          const __m256i weight = _mm256_set1_epi32(pair);
          __m256i(&to)[kDims / 8] = sum[r];
          to[c / 8] = _mm256_add_epi32(to[c / 8], _mm256_madd_epi16(weight, low));
          to[c / 8 + 1] = _mm256_add_epi32(to[c / 8 + 1], _mm256_madd_epi16(weight, high));
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int i = 0; i < kDims / 8; ++i) {
        auto* to = reinterpret_cast<__m256i*>(sums + r * kSumDims + d + 8 * i);
        _mm256_storeu_si256(to, sum[r][i]);
      }
    }
  }
}

#else

constexpr int kScoreRows = 1;
constexpr int kSumRows = 1;

template <int R>
OCTET_INLINE void ScoreCodes(const int16_t* q, int64_t, int64_t dim, const int8_t* k, Ahead& ahead,
                             int64_t lines, int32_t* dots) {
  ahead.Fetch(4 * lines);
  for (int64_t t = 0; t < kLanes; ++t, k += dim) {
    int32_t sum = 0;
    for (int64_t c = 0; c < dim; ++c) sum += int32_t{q[c]} * k[c];
    dots[t] = sum;
  }
}

template <int R>
OCTET_INLINE void SumCodes(uint8_t* weights, int64_t first, const int8_t* v, int64_t stride,
                           int64_t begin, int64_t end, Ahead& ahead, int64_t lines, int32_t* sums) {
  ahead.Fetch(16 * lines);
  std::memset(sums, 0, kSumDims * sizeof(int32_t));
  for (int64_t t = begin; t < end; ++t) {
    int16_t weight;
    std::memcpy(&weight, WeightsOf(weights, first) + 2 * t, 2);
    for (int64_t c = 0; c < kSumDims; ++c) sums[c] += int32_t{weight} * v[t * stride + c];
  }
}

#endif
#endif

#if !defined(__AMX_INT8__)

// What attention_int8.h needs of a family; attention_tiles.h has it for the tile unit.

void PlaceQueries(const AttentionTile&) {}

OCTET_INLINE FetchPace PaceOf(const AttentionTile& tile, const VisibleBlock& block) {
  const int64_t lines = tile.head_bytes / kBufferAlignment;
  const int64_t vectors = block.end - block.begin;
  const int64_t score_steps = (vectors + kScoreRows - 1) / kScoreRows * (kKvBlockTokens / 4);
  const int64_t value_steps = (vectors + kSumRows - 1) / kSumRows * (tile.padded_dim / 4);
  return {lines * 7 / 16 / score_steps + 1, lines / 16 / vectors, lines * 3 / 8 / value_steps + 1};
}

// The dots of all vectors of the block with its keys.
void ScoreBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines) {
  const auto* k = reinterpret_cast<const int8_t*>(block.data + tile.k_data);
  const int64_t dim = tile.head_dim;
  for (int64_t t = block.tokens.begin / kLanes * kLanes; t < block.tokens.end; t += kLanes) {
    ForEachTile<kScoreRows>(block.begin, block.end, [&](int64_t v, auto count) {
      ScoreCodes<count.value>(tile.q_codes + v * tile.padded_dim, tile.padded_dim, dim, k + t * dim,
                              ahead, lines, tile.dots + v * kKvBlockTokens + t);
    });
  }
}

OCTET_INLINE void PlaceWeights(const AttentionTile& tile, int64_t vector, int i, F32x16 codes) {
  StoreWeights(WeightsOf(tile.weights, vector), i, codes);
}

// sink(vector, sums [64], first value) for all vectors and values of the block.
template <typename Sink>
void SumBlock(const AttentionTile& tile, const VisibleBlock& block, Ahead& ahead, int64_t lines,
              const Sink& sink) {
  const auto* values = reinterpret_cast<const int8_t*>(block.data + tile.v_data);
  for (int64_t c = 0; c < tile.head_dim; c += kSumDims) {
    ForEachTile<kSumRows>(block.begin, block.end, [&](int64_t v, auto count) {
      alignas(64) int32_t sums[kSumRows * kSumDims];
      SumCodes<count.value>(tile.weights, v, values + c, tile.head_dim, block.tokens.begin,
                            block.tokens.end, ahead, lines, sums);
      for (int r = 0; r < count.value; ++r) sink(v + r, sums + r * kSumDims, c);
    });
  }
}

#endif

}  // namespace
}  // namespace octet::kernels
