// The products of attention_codes.h with AVX-512: `vpdpwssd` for scores, `vpdpbusd` for values, a
// weight being two bytes.
#pragma once

#include "kernels/attention/attention_dots.h"
#include "kernels/attention/attention_softmax.h"

namespace octet::kernels {
namespace {

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

}  // namespace
}  // namespace octet::kernels
