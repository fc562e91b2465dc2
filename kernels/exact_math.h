// exp and log whose bits are fixed by this source: sums, products and quotients that IEEE 754
// rounds one way, in a written order, so that every device that is built without contraction of a *
// b + c (as all of Octet is) computes the same. What ranks must agree on, and what a GPU must
// choose as the CPU does, is computed by these and not by a library's.
#pragma once

#include <bit>
#include <cstdint>

namespace octet::kernels {

inline constexpr double kLn2High = 0x1.62e42fee00000p-1;  // 33 bits: exact times an exponent
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

// log(x) for normal x > 0, at most 2 ulp off, near 1 too: x = 2^e m with m in [2/3, 4/3), and
// log(m) = 2 atanh(s) with s = (m - 1) / (m + 1), |s| <= 1/5, by its series up to s^23.
constexpr double ExactLog(double x) {
  constexpr uint64_t kTwoThirds = 0x3FE5555555555555u;  // bits of the double below 2/3
  const auto bits = std::bit_cast<uint64_t>(x);
  const int64_t exponent = static_cast<int64_t>(bits - kTwoThirds) >> 52;
  const double m = std::bit_cast<double>(bits - (static_cast<uint64_t>(exponent) << 52));
  const double s = (m - 1.0) / (m + 1.0);
  const double square = s * s;
  double series = 1.0 / 23.0;
  for (int odd = 21; odd >= 3; odd -= 2) series = series * square + 1.0 / odd;
  const double e = static_cast<double>(exponent);
  const double rest = s * square * series;  // atanh(s) - s
  return e * kLn2High + (2.0 * s + (2.0 * rest + e * kLn2Low));
}

// e^x for x <= 0, at most 2 ulp off; 0 below -708. x = k ln 2 + r with |r| <= ln 2 / 2, and e^r by
// its series up to r^14.
constexpr double ExactExp(double x) {
  constexpr double kOnePerLn2 = 0x1.71547652b82fep+0;
  if (!(x >= -708.0)) return 0.0;
  const auto k = static_cast<int64_t>(x * kOnePerLn2 - 0.5);  // rounds towards 0, so to nearest
  const double n = static_cast<double>(k);
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double series = 1.0;
  for (int i = 14; i >= 1; --i) series = series * (r / i) + 1.0;
  return series * std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52);
}

// The one lane of Exp in kernels/lanes.h: the same operations on a float, hence the same bits.
constexpr float ExactExp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the integer n
  if (x != x) return x;
  if (x < -87.0f) return 0.0f;
  if (88.72f < x) return __builtin_inff();
  const float z = x * 1.44269504088896341f + kRound;
  const float n = z - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * (r * r) + r) + 1.0f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(z) << 23));
}

// floor(a * b / 2^64).
constexpr uint64_t MultiplyHigh(uint64_t a, uint64_t b) {
  const uint64_t a_low = a & 0xffffffffu, a_high = a >> 32;
  const uint64_t b_low = b & 0xffffffffu, b_high = b >> 32;
  const uint64_t middle = a_high * b_low + (a_low * b_low >> 32);
  const uint64_t other = a_low * b_high + (middle & 0xffffffffu);
  return a_high * b_high + (middle >> 32) + (other >> 32);
}

}  // namespace octet::kernels
