#include <immintrin.h>

#include "kernels/roofline/probes.h"

namespace octet::kernels {

uint64_t ReadAvx2(const std::byte* from, int64_t bytes, ReadOrder order) {
  __m256i sum[4] = {};
  const int64_t part = bytes / order.streams;
  for (int64_t at = 0; at < part; at += 128 / order.streams) {
    // Two lines: neighbours, or one of each half.
    const std::byte* const lines[] = {from + at, from + at + (order.streams == 1 ? 64 : part)};
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      if (order.ahead > 0) {
        _mm_prefetch(reinterpret_cast<const char*>(lines[i] + order.ahead), _MM_HINT_T1);
      }
      const auto* line = reinterpret_cast<const __m256i*>(lines[i]);
      sum[i * 2] = _mm256_add_epi64(sum[i * 2], _mm256_load_si256(line));
      sum[i * 2 + 1] = _mm256_add_epi64(sum[i * 2 + 1], _mm256_load_si256(line + 1));
    }
  }
  alignas(32) uint64_t lanes[4];
  _mm256_store_si256(
      reinterpret_cast<__m256i*>(lanes),
      _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3])));
  return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

// The most that this family can do: 8-bit products added in pairs, the pairs to 16-bit sums. What
// it takes to widen those sums now and then (int4 codes) or every product (int8 codes) comes on
// top.
int64_t PeakAvx2(int64_t steps) {
  constexpr int kSums = 8;
  __m256i sum[kSums];
  __m256i codes = _mm256_set1_epi8(3);
  const __m256i q = _mm256_set1_epi8(5);
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) {
    sum[i] = _mm256_setzero_si256();
    asm volatile("" : "+x"(sum[i]));  // else all sums are one
  }
  for (int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 8
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+x"(codes));  // a new value, as far as the compiler knows
      sum[i] = _mm256_add_epi16(sum[i], _mm256_maddubs_epi16(codes, q));
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kSums; ++i) asm volatile("" : : "x"(sum[i]));
  return steps * kSums * 64;
}

}  // namespace octet::kernels
