// Our own exp and log against the C library's, and the float form against its lanes.
#include "kernels/exact_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/lanes.h"
#include "kernels/sampling/random.h"

namespace octet::kernels::test {
namespace {

// Distance in units in the last place of `wanted`.
double UlpsBetween(double found, double wanted) {
  if (found == wanted) return 0;
  return std::abs(found - wanted) / (std::nextafter(std::abs(wanted), INFINITY) - std::abs(wanted));
}

// Both sides are off: ours by 2 ulp at most, the library's by 1.
constexpr double kUlps = 3;

TEST(ExactMathTest, LogIsTheLibrarysToThreeUlp) {
  std::mt19937_64 engine(1);
  for (int i = 0; i < 200000; ++i) {
    const double unit = (static_cast<double>(engine() >> 32) + 0.5) * 0x1p-32;
    const double small = std::ldexp(unit + 1, -static_cast<int>(engine() % 1000));
    for (const double x : {unit, 1 - unit, 1 - unit * 0x1p-20, 1 + unit, small, 1e6 * unit}) {
      ASSERT_LE(UlpsBetween(ExactLog(x), std::log(x)), kUlps) << x;
    }
  }
  EXPECT_EQ(ExactLog(1.0), 0.0);
}

TEST(ExactMathTest, ExpIsTheLibrarysToThreeUlp) {
  std::mt19937_64 engine(2);
  for (int i = 0; i < 200000; ++i) {
    const double unit = static_cast<double>(engine() >> 32) * 0x1p-32;
    for (const double x : {-unit, -30 * unit, -708 * unit}) {
      ASSERT_LE(UlpsBetween(ExactExp(x), std::exp(x)), kUlps) << x;
    }
  }
  EXPECT_EQ(ExactExp(0.0), 1.0);
  EXPECT_EQ(ExactExp(-710.0), 0.0);
  EXPECT_EQ(ExactExp(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST(ExactMathTest, TheFloatIsOneLaneBitForBit) {
  std::mt19937 engine(3);
  for (int i = 0; i < 300000; ++i) {
    // Every bit pattern may come, and half of them within the range of exp.
    float x = std::bit_cast<float>(static_cast<uint32_t>(engine()));
    if (i % 2 == 0) x = (static_cast<float>(engine() % 200000) - 100000) / 1100;
    const float wanted = Exp(x);
    const float found = ExactExp(x);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(found));
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(wanted)) << x;
    }
  }
}

TEST(ExactMathTest, HighWordOfAProduct) {
  __extension__ using Wide = unsigned __int128;
  std::mt19937_64 engine(4);
  for (int i = 0; i < 100000; ++i) {
    const uint64_t a = engine() >> engine() % 64;
    const uint64_t b = engine() >> engine() % 64;
    ASSERT_EQ(MultiplyHigh(a, b), static_cast<uint64_t>((Wide{a} * b) >> 64));
  }
  EXPECT_EQ(MultiplyHigh(~0ull, ~0ull), ~0ull - 1);
}

TEST(ExactMathTest, NoiseIsGumbels) {
  std::mt19937 engine(5);
  for (int i = 0; i < 300000; ++i) {
    auto word = static_cast<uint32_t>(engine());
    if (i % 3 == 0) word >>= engine() % 32;
    const double v = (word + 0.5) * 0x1p-32;
    const double wanted = -std::log(-std::log1p(-v));
    // A rounding to float, and near 0 what the inner logarithm is off, in units of 1.
    ASSERT_NEAR(GumbelNoise(word), wanted, std::abs(wanted) * 0x1p-24 + 1e-15) << word;
  }
  EXPECT_NEAR(GumbelNoise(0), 33 * std::log(2.0), 2e-6);
  EXPECT_NEAR(GumbelNoise(~0u), -std::log(33 * std::log(2.0)), 1e-6);
}

}  // namespace
}  // namespace octet::kernels::test
