// The sums of attention_codes.h with AVX2: codes are widened to 16-bit words as they are loaded,
// and `vpmaddwd` multiplies a neighbour's four with a vector's, which leaves two sums that are
// added in the end.
#pragma once

#include "kernels/attention/attention_codes.h"

namespace octet::kernels {
namespace {

constexpr int64_t kVectorsAtOnce = 4;  // that share the widening of a code
// Neighbours at a time, so that eight registers hold all sums.
constexpr int NeighboursAtOnce(int vectors) { return vectors == 1 ? 32 : vectors == 2 ? 16 : 8; }
OCTET_INLINE int64_t FetchPlaces(int64_t) { return kNeighbours / NeighboursAtOnce(4); }

template <typename F>
OCTET_INLINE void ForEachGroup(int64_t begin, int64_t end, const F& f) {
  ForEachTile<kVectorsAtOnce>(begin, end, f);
}

// What one or two vectors read beside each pair of lines that they ask for, in bytes, so that the
// pairs are a block's whole part when its products are done.
constexpr int64_t kPairBytes = 2 * kBufferAlignment;

// sums[r * 64 + n].
template <int R, bool kKeys>
[[gnu::noinline]] void SumFours(const Fours& fours, const FourFactors (&vectors)[R], Ahead& ahead,
                                int64_t lines, int32_t* sums) {
  constexpr int kAtOnce = NeighboursAtOnce(R);
  constexpr int kRegisters = kAtOnce / 4;
  const int64_t stride = fours.stride, count = fours.count;
  for (int64_t n = 0; n < kNeighbours; n += kAtOnce) {
    if (R > 2) ahead.Fetch(lines);
    __m256i sum[R][kRegisters];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kRegisters; ++p) sum[r][p] = _mm256_setzero_si256();
    }
    const uint8_t* codes = fours.at + n * kFour;
#pragma GCC unroll 4
    for (int64_t i = 0; i < count; ++i, codes += stride) {
      if (R <= 2 && i % (kPairBytes / (kAtOnce * kFour)) == 0) ahead.Fetch(2);
      __m256i words[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        int64_t four;
        std::memcpy(&four, vectors[r].words + i * kFour, sizeof(four));
        words[r] = _mm256_set1_epi64x(four);
      }
#pragma GCC unroll 8
      for (int p = 0; p < kRegisters; ++p) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + 16 * p));
        const __m256i wide = kKeys ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          sum[r][p] = _mm256_add_epi32(sum[r][p], _mm256_madd_epi16(words[r], wide));
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const __m256i start = _mm256_set1_epi32(vectors[r].start);
#pragma GCC unroll 4
      for (int p = 0; p < kRegisters; p += 2) {
        const __m256i pairs = _mm256_hadd_epi32(sum[r][p], sum[r][p + 1]);
        const __m256i ordered = _mm256_permute4x64_epi64(pairs, 0xd8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * kNeighbours + n + 4 * p),
                            _mm256_add_epi32(ordered, start));
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
