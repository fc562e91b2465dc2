#include <immintrin.h>

#include "kernels/roofline/probes.h"

namespace octet::kernels {

uint64_t ReadAvx512(const std::byte* from, int64_t bytes, ReadOrder order) {
  __m512i sum[4] = {};
  const int64_t part = bytes / order.streams;
  for (int64_t at = 0; at < part; at += 256 / order.streams) {
    // Two pairs of lines: neighbours, or one of each half.
    const std::byte* const pairs[] = {from + at, from + at + (order.streams == 1 ? 128 : part)};
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
#pragma GCC unroll 2
      for (int64_t line = 0; line < 2; ++line) {
        const std::byte* const here = pairs[i] + line * 64;
        if (order.ahead > 0) {
          _mm_prefetch(reinterpret_cast<const char*>(here + order.ahead), _MM_HINT_T1);
        }
        __m512i& to = sum[i * 2 + line];
        to = _mm512_add_epi64(to, _mm512_load_si512(here));
      }
    }
  }
  alignas(64) uint64_t lanes[8];
  _mm512_store_si512(
      lanes, _mm512_add_epi64(_mm512_add_epi64(sum[0], sum[1]), _mm512_add_epi64(sum[2], sum[3])));
  uint64_t all = 0;
  for (int i = 0; i < 8; ++i) all += lanes[i];
  return all;
}

int64_t PeakAvx512(int64_t steps) {
  constexpr int kSums = 12;  // enough for two per cycle at a latency of four or five
  __m512i sum[kSums];
  __m512i codes = _mm512_set1_epi8(3);
  const __m512i q = _mm512_set1_epi8(5);
#pragma GCC unroll 12
  for (int i = 0; i < kSums; ++i) {
    sum[i] = _mm512_setzero_si512();
    asm volatile("" : "+v"(sum[i]));  // else all sums are one
  }
  for (int64_t step = 0; step < steps; ++step) {
    asm volatile("" : "+v"(codes));  // a new value, as far as the compiler knows
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sum[i] = _mm512_dpbusd_epi32(sum[i], codes, q);
  }
#pragma GCC unroll 12
  for (int i = 0; i < kSums; ++i) asm volatile("" : : "v"(sum[i]));
  return steps * kSums * 128;
}

}  // namespace octet::kernels
