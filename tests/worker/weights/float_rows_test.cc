#include "worker/weights/float_rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace octet::worker {
namespace {

TEST(ToFloats, IsExactForEveryFiniteHalf) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const auto half = static_cast<uint16_t>(bits);
      const float expected = dtype == DType::kF16 ? F16ToFloat(half) : BF16ToFloat(half);
      const auto* stored = reinterpret_cast<const std::byte*>(&half);
      ASSERT_EQ(AllFinite(dtype, stored, 1), std::isfinite(expected)) << bits;
      if (!std::isfinite(expected)) continue;
      float value;
      ToFloats(dtype, stored, 1, &value);
      ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(expected)) << bits;
      uint16_t back;
      ASSERT_TRUE(FromFloats(dtype, &value, 1, reinterpret_cast<std::byte*>(&back)));
      ASSERT_EQ(back, half);
    }
  }
}

TEST(AllFinite, FindsOneBadValueAnywhere) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kInfinity, -kInfinity, std::nanf(""), -std::nanf("")}) {
    for (int at = 0; at < 37; ++at) {
      std::vector<float> values(37, -std::numeric_limits<float>::max());
      EXPECT_TRUE(AllFinite(DType::kF32, reinterpret_cast<std::byte*>(values.data()), 37));
      values[at] = bad;
      EXPECT_FALSE(AllFinite(DType::kF32, reinterpret_cast<std::byte*>(values.data()), 37));
    }
  }
}

TEST(FromFloats, SaysWhenAValueIsTooLarge) {
  const float values[] = {1.0f, 65519.0f, 65520.0f};
  uint16_t out[3];
  EXPECT_TRUE(FromFloats(DType::kF16, values, 2, reinterpret_cast<std::byte*>(out)));
  EXPECT_FALSE(FromFloats(DType::kF16, values, 3, reinterpret_cast<std::byte*>(out)));
  EXPECT_TRUE(FromFloats(DType::kBF16, values, 3, reinterpret_cast<std::byte*>(out)));
}

}  // namespace
}  // namespace octet::worker
