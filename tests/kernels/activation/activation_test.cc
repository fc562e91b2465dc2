#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

std::vector<float> Gated(const std::vector<float>& gate_up, int64_t rows, int64_t width,
                         int threads) {
  std::vector<float> y(static_cast<size_t>(rows * width), 123.0f);
  ThreadPool pool(threads);
  Stream stream(&pool);
  SiluMul({gate_up.data(), y.data(), rows, width}, stream);
  return y;
}

TEST(ActivationTest, MatchesDoublePrecisionAndKeepsItsBits) {
  for (int64_t width : {1, 15, 16, 100, 4096, 4097, 9000}) {
    const int64_t rows = 3;
    const std::vector<float> x =
        Normal(rows * 2 * width, static_cast<uint32_t>(width), 0.0f, 10.0f);
    std::vector<float> first;
    for (Isa isa : AvailableIsas()) {
      IsaScope scope(isa);
      const std::vector<float> y = Gated(x, rows, width, 2);
      EXPECT_EQ(y, Gated(x, rows, width, 1));
      for (int64_t i = 0; i < rows * width; ++i) {
        const double gate = x[i / width * 2 * width + i % width];
        const double up = x[i / width * 2 * width + width + i % width];
        const double expected = gate / (1 + std::exp(-gate)) * up;
        // exp: 2 ulp; the sum, the division and the product: half an ulp each.
        EXPECT_NEAR(y[i], expected, 4 * 0x1p-23 * std::abs(expected) + 1e-36);
      }
      if (first.empty()) first = y;
      EXPECT_TRUE(SameBits(first, y)) << IsaName(isa);
    }
  }
}

TEST(ActivationTest, LargeGatesSaturate) {
  const std::vector<float> x = {200.0f, -200.0f, 3.0f, 3.0f};
  for (Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    EXPECT_EQ(Gated(x, 1, 2, 1), (std::vector<float>{600.0f, -0.0f}));
  }
}

TEST(ActivationTest, ReluKeepsWhatIsAboveZero) {
  std::vector<float> x = Normal(3 * 4099, 5);
  x[0] = -0.0f;
  x[1] = INFINITY;
  x[2] = -INFINITY;
  std::vector<float> expected = x;
  for (float& value : expected) value = value > 0 ? value : 0.0f;
  for (Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    ThreadPool pool(2);
    Stream stream(&pool);
    std::vector<float> y(x.size(), 7.0f);
    Relu({.x = x.data(), .y = y.data(), .rows = 3, .width = 4099}, stream);
    EXPECT_TRUE(SameBits(y, expected));
    const float nan = NAN;
    Relu({.x = &nan, .y = y.data(), .rows = 1, .width = 1}, stream);
    EXPECT_TRUE(std::isnan(y[0]));
  }
}

}  // namespace
}  // namespace octet::kernels::test
