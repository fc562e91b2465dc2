// The scalar conversions, exhaustively over the 16-bit types and against the compiler's _Float16.
#include "base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#if defined(__FLT16_MAX__)
#define OCTET_HAVE_FLOAT16 1
#endif

namespace octet {
namespace {

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

// Every pattern near a rounding boundary of a 16-bit type, and random ones.
std::vector<uint32_t> FloatPatterns(int mantissa_bits_dropped) {
  std::vector<uint32_t> patterns;
  const uint32_t half = 1u << (mantissa_bits_dropped - 1);
  for (uint32_t top = 0; top < (1u << (32 - mantissa_bits_dropped)); top += 3) {
    const uint32_t base = top << mantissa_bits_dropped;
    for (const uint32_t low : {0u, 1u, half - 1, half, half + 1, 2 * half - 1}) {
      patterns.push_back(base | low);
    }
  }
  std::mt19937 random(7);
  for (int i = 0; i < 1000000; ++i) patterns.push_back(static_cast<uint32_t>(random()));
  return patterns;
}

TEST(DType, BytesAndNames) {
  EXPECT_EQ(DTypeBytes(DType::kF32), 4);
  EXPECT_EQ(DTypeBytes(DType::kF16), 2);
  EXPECT_EQ(DTypeBytes(DType::kBF16), 2);
  EXPECT_EQ(DTypeBytes(DType::kI8), 1);
  EXPECT_EQ(DTypeBytes(DType::kU8), 1);
  EXPECT_EQ(DTypeBytes(DType::kI32), 4);
  EXPECT_EQ(DTypeBytes(DType::kI64), 8);
  EXPECT_EQ(DTypeName(DType::kF32), "F32");
  EXPECT_EQ(DTypeName(DType::kI64), "I64");
}

TEST(F16, AllPatternsRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = F16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(FloatToF16(value), bits);
  }
}

TEST(BF16, AllPatternsRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = BF16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(BF16ToFloat(FloatToBF16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(FloatToBF16(value), bits);
  }
}

TEST(F16, KnownValues) {
  EXPECT_EQ(F16ToFloat(0x3c00), 1.0f);
  EXPECT_EQ(F16ToFloat(0x7bff), 65504.0f);
  EXPECT_EQ(F16ToFloat(0x0001), 0x1p-24f);
  EXPECT_EQ(Bits(F16ToFloat(0x8000)), 0x80000000u);
  EXPECT_EQ(FloatToF16(65519.9f), 0x7bff);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7c00);  // ties to even: up, to infinity
  EXPECT_EQ(FloatToF16(0x1p-25f), 0x0000);  // half of the least: to even
  EXPECT_EQ(FloatToF16(std::nextafter(0x1p-25f, 1.0f)), 0x0001);
  EXPECT_EQ(FloatToF16(-0.0f), 0x8000);
}

TEST(BF16, RoundsToNearestTiesToEven) {
  EXPECT_EQ(FloatToBF16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(FloatToBF16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(FloatToBF16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(FloatToBF16(std::bit_cast<float>(0x7f7fffffu)), 0x7f80);  // to infinity
}

// A bfloat16 is the float nearest to the value among those with 16 zero bits at the end.
TEST(BF16, IsTheNearest) {
  for (const uint32_t pattern : FloatPatterns(16)) {
    const auto value = std::bit_cast<float>(pattern);
    if (!std::isfinite(value) || (pattern & 0x7fffffffu) >= 0x7f7f0000u) continue;
    const uint16_t rounded = FloatToBF16(value);
    const auto down = static_cast<uint16_t>(pattern >> 16);
    const auto up = static_cast<uint16_t>(down + 1);
    const double to_down = std::fabs(double{value} - double{BF16ToFloat(down)});
    const double to_up = std::fabs(double{BF16ToFloat(up)} - double{value});
    const bool take_up = to_up < to_down || (to_up == to_down && (down & 1) != 0);
    ASSERT_EQ(rounded, take_up ? up : down) << std::hex << pattern;
  }
}

#ifdef OCTET_HAVE_FLOAT16
TEST(F16, AgreesWithTheCompiler) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto theirs = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
    const float ours = F16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(theirs)) {
      ASSERT_TRUE(std::isnan(ours)) << bits;
      continue;
    }
    ASSERT_EQ(Bits(ours), Bits(theirs)) << bits;
  }
  for (const uint32_t pattern : FloatPatterns(13)) {
    const auto value = std::bit_cast<float>(pattern);
    const uint16_t ours = FloatToF16(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(F16ToFloat(ours))) << std::hex << pattern;
      continue;
    }
    ASSERT_EQ(ours, std::bit_cast<uint16_t>(static_cast<_Float16>(value))) << std::hex << pattern;
  }
}
#endif

}  // namespace
}  // namespace octet
