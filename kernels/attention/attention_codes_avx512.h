// The sums of attention_codes.h with AVX-512: `vpdpbusd` adds four products to each neighbour's
// sum. A vector's code is two bytes, the high and the low ones of a query or of weights one after
// the other, which are summed apart.
#pragma once

#include "kernels/attention/attention_codes.h"

namespace octet::kernels {
namespace {

constexpr int64_t kVectorsAtOnce = 3;  // that share a load of codes; sums fill the registers
constexpr int64_t kFoursBetweenFetch = 4;
OCTET_INLINE int64_t FetchPlaces(int64_t fours) {
  return (fours + kFoursBetweenFetch - 1) / kFoursBetweenFetch;
}

// Threes, and twos rather than one alone.
template <typename F>
OCTET_INLINE void ForEachGroup(int64_t begin, int64_t end, const F& f) {
  int64_t v = begin;
  for (; end - v > 4 || end - v == 3; v += 3) f(v, std::integral_constant<int, 3>());
  for (; end - v > 1; v += 2) f(v, std::integral_constant<int, 2>());
  if (v < end) f(v, std::integral_constant<int, 1>());
}

// Of a vector's codes the high bytes [padded_dim], then the low ones, both signed.
OCTET_INLINE int8_t* QueryBytes(const AttentionTile& tile, int64_t vector) {
  return tile.q_bytes + vector * 2 * tile.padded_dim;
}
void PlaceQueries(const AttentionTile& tile) {
  for (int64_t v = 0; v < tile.vectors(); ++v) {
    const int16_t* codes = tile.q_codes + v * tile.padded_dim;
    int8_t* to = QueryBytes(tile, v);
    for (int64_t c = 0; c < tile.padded_dim; c += 32, to += 32) {
      const __m512i x = _mm512_loadu_si512(codes + c);
      const __m512i high = _mm512_srai_epi16(_mm512_add_epi16(x, _mm512_set1_epi16(128)), 8);
      const auto store = [](int8_t* at, __m512i bytes) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm512_cvtepi16_epi8(bytes));
      };
      store(to, high);
      store(to + tile.padded_dim, x);
    }
  }
}

// Of a vector's weights the high bytes [64], then the low ones, both unsigned.
OCTET_INLINE uint8_t* WeightsOf(const AttentionTile& tile, int64_t vector) {
  return tile.weights + vector * 2 * kKvBlockTokens;
}
// `weights` times `scale`, to the nearest integers, of at most 15 bits.
OCTET_INLINE void PlaceWeights(const AttentionTile& tile, int64_t vector,
                               const F32x16 (&weights)[kBlockParts], F32x16 scale) {
  const auto code = [&](int i) { return _mm512_cvtps_epi32((weights[i] * scale).v); };
  // In quarters: four tokens of one part, four of the next.
  const __m512i low = _mm512_packs_epi32(code(0), code(1));
  const __m512i high = _mm512_packs_epi32(code(2), code(3));
  const auto store = [&](uint8_t* to, __m512i a, __m512i b) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_store_si512(to, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(a, b)));
  };
  const __m512i bytes = _mm512_set1_epi16(0xff);
  uint8_t* const to = WeightsOf(tile, vector);
  store(to, _mm512_srli_epi16(low, 8), _mm512_srli_epi16(high, 8));
  store(to + kKvBlockTokens, _mm512_and_si512(low, bytes), _mm512_and_si512(high, bytes));
}

#if !defined(__AMX_INT8__)

struct FourFactors {
  const void* high = nullptr;  // four bytes for each four of codes
  const void* low = nullptr;
  int32_t start = 0;
};
OCTET_INLINE FourFactors QueryFactors(const AttentionTile& tile, int64_t vector) {
  const int8_t* bytes = QueryBytes(tile, vector);
  return {bytes, bytes + tile.padded_dim, KeyStart(tile, vector)};
}
OCTET_INLINE FourFactors WeightFactors(const AttentionTile& tile, int64_t vector, int64_t four) {
  const uint8_t* bytes = WeightsOf(tile, vector) + four * kFour;
  return {bytes, bytes + kKvBlockTokens, 0};
}

// sum += unsigned bytes times signed ones, fours of neighbours together. As an instruction, because
// GCC 12 moves the accumulators of the intrinsic to memory.
OCTET_INLINE void AddProducts(__m512i& sum, __m512i bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(signed_bytes));
}

// sums[r * 64 + n]. A function of its own, as GCC 12 keeps the sums in memory otherwise.
template <int R, bool kKeys>
[[gnu::noinline]] void SumFours(const Fours& fours, const FourFactors (&vectors)[R], Ahead& ahead,
                                int64_t lines, int32_t* sums) {
  __m512i high[R][4], low[R][4];
  const void *high_bytes[R], *low_bytes[R];
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r) {
    high_bytes[r] = vectors[r].high;
    low_bytes[r] = vectors[r].low;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      high[r][j] = _mm512_setzero_si512();
      low[r][j] = _mm512_set1_epi32(vectors[r].start);
    }
  }
  const int64_t stride = fours.stride, count = fours.count;
  const uint8_t* codes = fours.at;
  for (int64_t i = 0; i < count;) {
    ahead.Fetch(lines);
    const int64_t end = count - i < kFoursBetweenFetch ? count : i + kFoursBetweenFetch;
    for (; i < end; ++i, codes += stride) {
      __m512i x[4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) x[j] = _mm512_loadu_si512(codes + j * 64);
#pragma GCC unroll 3
      for (int r = 0; r < R; ++r) {
        const auto splat = [i](const void* bytes) {
          int32_t four;
          std::memcpy(&four, static_cast<const char*>(bytes) + i * kFour, sizeof(four));
          return _mm512_set1_epi32(four);
        };
        const __m512i h = splat(high_bytes[r]), l = splat(low_bytes[r]);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          AddProducts(high[r][j], kKeys ? x[j] : h, kKeys ? h : x[j]);
          AddProducts(low[r][j], kKeys ? x[j] : l, kKeys ? l : x[j]);
        }
      }
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      _mm512_storeu_si512(sums + r * kNeighbours + j * kLanes,
                          _mm512_add_epi32(_mm512_slli_epi32(high[r][j], 8), low[r][j]));
    }
  }
}

#endif

}  // namespace
}  // namespace octet::kernels
