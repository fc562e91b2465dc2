// The two inner products of attention in register tiles: queries with keys, weights with values.
// Tiles differ per instruction family; the order of every sum does not (lanes.h):
//   score  = sum over lanes of (sum over chunks of q * k), products rounded before they are added
//   values = (((acc + w_0 v_0) + w_1 v_1) + ...) in token order
#pragma once

#include "kernels/formats/kv_layout.h"
#include "kernels/lanes.h"

namespace octet::kernels {
namespace {

#if defined(__AVX512F__)

constexpr int kRowsOfTile = 4;    // vectors that share a load of a key or value
constexpr int kChunksOfTile = 4;  // chunks of 16 values

template <int kLow, int kHigh>
OCTET_INLINE __m512 AddQuarters(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, kLow), _mm512_shuffle_f32x4(a, b, kHigh));
}
// Folds four sums to a quarter each: lanes 4 i .. 4 i + 3 add up to the sum of the i-th.
OCTET_INLINE __m512 FoldQuad(__m512 a, __m512 b, __m512 c, __m512 d) {
  return AddQuarters<0x88, 0xdd>(AddQuarters<0x44, 0xee>(a, b), AddQuarters<0x44, 0xee>(c, d));
}
OCTET_INLINE __m512 AddPairs(__m512 a, __m512 b) {
  const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
OCTET_INLINE __m512 AddNeighbours(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}
// Folds four such quarters: lane 4 i + j is the i-th sum of the j-th.
OCTET_INLINE __m512 FoldQuarters(__m512 a, __m512 b, __m512 c, __m512 d) {
  return AddNeighbours(AddPairs(a, b), AddPairs(c, d));
}

// scores[r * 64 + t] for `R` vectors and 16 tokens.
template <int R, typename T>
OCTET_INLINE void ScoreSixteen(const float* q, int64_t dim, const T* k, int64_t k_stride,
                               float* scores) {
  __m512 quarters[R][4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
    F32x16 sum[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sum[r][i] = Splat(0.0f);
    }
    for (int64_t c = 0; c < dim; c += kLanes) {
      F32x16 key[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) key[i] = LoadLanes(k + (4 * i + t) * k_stride + c);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const F32x16 query = LoadLanes(q + r * dim + c);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sum[r][i] = sum[r][i] + query * key[i];
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      quarters[r][t] = FoldQuad(sum[r][0].v, sum[r][1].v, sum[r][2].v, sum[r][3].v);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const __m512* x = quarters[r];
    StoreLanes(scores + r * kKvBlockTokens, {FoldQuarters(x[0], x[1], x[2], x[3])});
  }
}

#elif defined(__AVX2__)

constexpr int kRowsOfTile = 2;
constexpr int kChunksOfTile = 2;

// Folds two sums to halves: lanes 0..3 add up to the first, 4..7 to the second.
OCTET_INLINE __m256 FoldHalves(F32x16 a, F32x16 b) {
  const __m256 x = _mm256_add_ps(a.v[0], a.v[1]);
  const __m256 y = _mm256_add_ps(b.v[0], b.v[1]);
  return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}
// Folds four such pairs: lane i is the first sum of the i-th, lane 4 + i its second.
OCTET_INLINE __m256 FoldPairs(__m256 a, __m256 b, __m256 c, __m256 d) {
  const auto pairs = [](__m256 x, __m256 y) {
    const __m256d low = _mm256_unpacklo_pd(_mm256_castps_pd(x), _mm256_castps_pd(y));
    const __m256d high = _mm256_unpackhi_pd(_mm256_castps_pd(x), _mm256_castps_pd(y));
    return _mm256_add_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
  };
  const __m256 ab = pairs(a, b);
  const __m256 cd = pairs(c, d);
  return _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x88), _mm256_shuffle_ps(ab, cd, 0xdd));
}

// scores[r * 64 + t] for `R` vectors and 16 tokens, eight at a time, tokens t and t + 4 together.
template <int R, typename T>
OCTET_INLINE void ScoreSixteen(const float* q, int64_t dim, const T* k, int64_t k_stride,
                               float* scores) {
  for (int64_t first = 0; first < kLanes; first += 8, k += 8 * k_stride) {
    __m256 halves[R][4];
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      F32x16 sum[R][2];
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Splat(0.0f);
      for (int64_t c = 0; c < dim; c += kLanes) {
        const F32x16 key[2] = {LoadLanes(k + t * k_stride + c),
                               LoadLanes(k + (t + 4) * k_stride + c)};
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
          const F32x16 query = LoadLanes(q + r * dim + c);
          sum[r][0] = sum[r][0] + query * key[0];
          sum[r][1] = sum[r][1] + query * key[1];
        }
      }
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) halves[r][t] = FoldHalves(sum[r][0], sum[r][1]);
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      const __m256* x = halves[r];
      _mm256_storeu_ps(scores + r * kKvBlockTokens + first, FoldPairs(x[0], x[1], x[2], x[3]));
    }
  }
}

#else

constexpr int kRowsOfTile = 2;
constexpr int kChunksOfTile = 1;

template <int R, typename T>
OCTET_INLINE void ScoreSixteen(const float* q, int64_t dim, const T* k, int64_t k_stride,
                               float* scores) {
  for (int64_t t = 0; t < kLanes; ++t) {
    F32x16 sum[R];
    for (int r = 0; r < R; ++r) sum[r] = Splat(0.0f);
    for (int64_t c = 0; c < dim; c += kLanes) {
      const F32x16 key = LoadLanes(k + t * k_stride + c);
      for (int r = 0; r < R; ++r) sum[r] = sum[r] + LoadLanes(q + r * dim + c) * key;
    }
    for (int r = 0; r < R; ++r) scores[r * kKvBlockTokens + t] = ReduceSum(sum[r]);
  }
}

#endif

// acc[r][0, 16 C) += sum over tokens [begin, end) of weights[r][t] * v[t][0, 16 C).
template <int R, int C, typename T>
OCTET_INLINE void AddValuesTile(const T* v, int64_t v_stride, const float* weights, int64_t begin,
                                int64_t end, float* acc, int64_t acc_stride) {
  F32x16 sum[R][C];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = LoadLanes(acc + r * acc_stride + c * kLanes);
  }
  for (int64_t t = begin; t < end; ++t) {
    F32x16 value[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) value[c] = LoadLanes(v + t * v_stride + c * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const F32x16 weight = Splat(weights[r * kKvBlockTokens + t]);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = sum[r][c] + weight * value[c];
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) StoreLanes(acc + r * acc_stride + c * kLanes, sum[r][c]);
  }
}

template <int R, typename T>
void AddValues(const T* v, int64_t v_stride, int64_t dim, const float* weights, int64_t begin,
               int64_t end, float* acc, int64_t acc_stride) {
  if (begin >= end) return;
  constexpr int64_t kWide = kChunksOfTile * kLanes;
  int64_t c = 0;
  if constexpr (R == 1 && kChunksOfTile > 1) {  // a vector alone: more sums in flight
    for (; c + 2 * kWide <= dim; c += 2 * kWide) {
      AddValuesTile<1, 2 * kChunksOfTile>(v + c, v_stride, weights, begin, end, acc + c, 0);
    }
  }
  for (; c + kWide <= dim; c += kWide) {
    AddValuesTile<R, kChunksOfTile>(v + c, v_stride, weights, begin, end, acc + c, acc_stride);
  }
  for (; c < dim; c += kLanes) {
    AddValuesTile<R, 1>(v + c, v_stride, weights, begin, end, acc + c, acc_stride);
  }
}

}  // namespace
}  // namespace octet::kernels
