#include <immintrin.h>

#include "kernels/roofline/probes.h"

namespace octet::kernels {

uint64_t ReadAvx512(const std::byte* from, int64_t bytes, int64_t ahead) {
  __m512i sum[4] = {};
  int64_t at = 0;
  for (; at + 256 <= bytes; at += 256) {
    if (ahead > 0) {
#pragma GCC unroll 4
      for (int64_t i = 0; i < 256; i += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(from + at + ahead + i), _MM_HINT_T1);
      }
    }
    for (int i = 0; i < 4; ++i) {
      sum[i] = _mm512_add_epi64(sum[i], _mm512_load_si512(from + at + i * 64));
    }
  }
  for (; at < bytes; at += 64) sum[0] = _mm512_add_epi64(sum[0], _mm512_load_si512(from + at));
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
