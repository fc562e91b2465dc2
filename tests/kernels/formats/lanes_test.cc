// The plain build of lanes.h; the AVX builds are compared with it through the ops.
#include "kernels/lanes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/dtype.h"

namespace octet::kernels {
namespace {

TEST(LanesTest, ExpIsWithinTwoUlp) {
  double worst = 0;
  for (float x = -87.0f; x < 88.7f; x += 0.00137f) {
    const double exact = std::exp(double{x});
    const auto rounded = static_cast<float>(exact);
    const double ulp = std::nextafter(rounded, INFINITY) - double{rounded};
    worst = std::max(worst, std::abs(Exp(x) - exact) / ulp);
  }
  EXPECT_LT(worst, 2.0);
  RecordProperty("worst_ulp_thousandths", static_cast<int>(worst * 1000));
}

TEST(LanesTest, ExpAtItsEdges) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Exp(0.0f), 1.0f);
  EXPECT_EQ(Exp(-0.0f), 1.0f);
  EXPECT_EQ(Exp(-kInf), 0.0f);
  EXPECT_EQ(Exp(-1e30f), 0.0f);
  EXPECT_EQ(Exp(-87.001f), 0.0f);
  EXPECT_EQ(Exp(kInf), kInf);
  EXPECT_EQ(Exp(1e30f), kInf);
  EXPECT_EQ(Exp(89.0f), kInf);
  EXPECT_TRUE(std::isnan(Exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(LanesTest, LanesAreAddedByHalves) {
  float x[16];
  for (int i = 0; i < 16; ++i) x[i] = std::sin(static_cast<float>(i)) * 1e3f;
  float y[8];
  for (int i = 0; i < 8; ++i) y[i] = x[i] + x[i + 8];
  for (int i = 0; i < 4; ++i) y[i] = y[i] + y[i + 4];
  EXPECT_EQ(ReduceSum(LoadLanes(x)), (y[0] + y[2]) + (y[1] + y[3]));
}

TEST(LanesTest, NarrowTypesWidenExactly) {
  int8_t codes[16];
  BF16 halves[16];
  uint16_t pairs[32];
  float even[16], odd[16], wide[16];
  for (int base = 0; base < 65536; base += 32) {
    for (int i = 0; i < 32; ++i) pairs[i] = static_cast<uint16_t>(base + i);
    F32x16 a, b;
    LoadF16Pairs(pairs, &a, &b);
    StoreLanes(even, a);
    StoreLanes(odd, b);
    for (int i = 0; i < 16; ++i) {
      halves[i].bits = static_cast<uint16_t>(base + i);
      codes[i] = static_cast<int8_t>(base + i);
      if ((pairs[2 * i] & 0x7c00) == 0x7c00) continue;
      EXPECT_EQ(even[i], F16ToFloat(pairs[2 * i]));
      EXPECT_EQ(odd[i], F16ToFloat(pairs[2 * i + 1]));
    }
    StoreLanes(wide, LoadLanes(halves));
    for (int i = 0; i < 16; ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(wide[i]), uint32_t{halves[i].bits} << 16);
    }
    StoreLanes(wide, LoadLanes(codes));
    for (int i = 0; i < 16; ++i) EXPECT_EQ(wide[i], codes[i]);
  }
}

TEST(LanesTest, NibblesComeLowOneFirst) {
  uint8_t bytes[8], back[8];
  for (int base = 0; base < 256; base += 8) {
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(base + i);
    float wide[16];
    StoreLanes(wide, LoadNibbles(bytes));
    for (int i = 0; i < 16; ++i) EXPECT_EQ(wide[i], bytes[i / 2] >> (i % 2 * 4) & 15);
    StoreNibbles(back, LoadNibbles(bytes) + Splat(12582912.0f));
    EXPECT_EQ(0, std::memcmp(bytes, back, 8));
  }
}

}  // namespace
}  // namespace octet::kernels
