#include <cstring>

#include "kernels/roofline/probes.h"

namespace octet::kernels {

uint64_t ReadPlain(const std::byte* from, int64_t bytes, ReadOrder) {
  uint64_t sum = 0;
  for (int64_t at = 0; at < bytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, from + at, 8);
    sum += word;
  }
  return sum;
}

int64_t PeakPlain(int64_t steps) {
  // 16-bit factors and 32-bit sums, as in the portable linear.
  constexpr int kLanes = 64;
  int16_t codes[kLanes];
  int32_t sums[kLanes] = {};
  for (int i = 0; i < kLanes; ++i) codes[i] = static_cast<int16_t>(i);
  steps /= 8;  // a portable step takes longer
  for (int64_t step = 0; step < steps; ++step) {
    const auto q = static_cast<int16_t>(step & 0x7f);
    for (int i = 0; i < kLanes; ++i) sums[i] += int32_t{codes[i]} * q;
#if defined(__GNUC__)
    asm volatile("" : : "r"(sums), "r"(codes) : "memory");
#endif
  }
  return steps * kLanes * 2;
}

}  // namespace octet::kernels
