#include "kernels/norm/norm.h"

#include <gtest/gtest.h>

#include "tests/kernels/norm/norm_cases.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

std::vector<float> Norm(const std::vector<float>& x, const std::vector<float>& weight, int threads,
                        bool in_place = false) {
  const auto hidden = static_cast<int64_t>(weight.size());
  const auto rows = static_cast<int64_t>(x.size()) / hidden;
  ThreadPool pool(threads);
  Stream stream(&pool);
  std::vector<float> y = in_place ? x : std::vector<float>(x.size(), 9.0f);
  const float* source = in_place ? y.data() : x.data();
  RmsNorm({source, weight.data(), y.data(), rows, hidden, kEps}, stream);
  return y;
}

TEST(NormTest, MatchesDoublePrecisionAndKeepsItsBits) {
  for (int64_t hidden : {1, 7, 16, 33, 896, 4097}) {
    const int64_t rows = 5;
    const std::vector<float> x = Normal(rows * hidden, static_cast<uint32_t>(hidden), 0.1f, 3.0f);
    const std::vector<float> weight = Normal(hidden, 77, 1.0f, 0.2f);
    std::vector<float> first;
    for (Isa isa : AvailableIsas()) {
      IsaScope scope(isa);
      const std::vector<float> y = Norm(x, weight, 2);
      EXPECT_EQ(y, Norm(x, weight, 1));
      EXPECT_EQ(y, Norm(x, weight, 1, true));
      // A lane's sum of hidden / 16 squares of one sign: at most that many half ulps, halved by the
      // root; then five roundings.
      ExpectNormed(y, x, weight, 0x1p-24 * (static_cast<double>(hidden) / 32 + 10));
      for (int64_t r = 0; r < rows; ++r) {  // a row alone
        const std::vector<float> row(x.begin() + r * hidden, x.begin() + (r + 1) * hidden);
        EXPECT_EQ(Norm(row, weight, 1),
                  std::vector<float>(y.begin() + r * hidden, y.begin() + (r + 1) * hidden));
      }
      if (first.empty()) first = y;
      EXPECT_TRUE(SameBits(first, y)) << IsaName(isa);
    }
  }
}

TEST(NormTest, FusedAddIsAddThenNorm) {
  const int64_t rows = 4, hidden = 100;
  const std::vector<float> x = Normal(rows * hidden, 1);
  const std::vector<float> delta = Normal(rows * hidden, 2);
  const std::vector<float> weight = Normal(hidden, 3);
  std::vector<float> sum = x;
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += delta[i];
  for (Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    for (int threads : {1, 2}) {
      std::vector<float> residual = x;
      std::vector<float> y(x.size());
      ThreadPool pool(threads);
      Stream stream(&pool);
      AddRmsNorm({residual.data(), delta.data(), weight.data(), y.data(), rows, hidden, kEps},
                 stream);
      EXPECT_EQ(residual, sum);
      EXPECT_EQ(y, Norm(sum, weight, 1));

      // A bias is added after delta.
      std::vector<float> biased = sum;
      for (int64_t i = 0; i < rows * hidden; ++i) biased[i] += weight[i % hidden];
      AddRmsNorm({.residual = residual.data(),
                  .delta = std::vector<float>(x.size()).data(),
                  .weight = weight.data(),
                  .y = y.data(),
                  .rows = rows,
                  .hidden = hidden,
                  .eps = kEps,
                  .delta_bias = weight.data()},
                 stream);
      EXPECT_EQ(residual, biased);
      EXPECT_EQ(y, Norm(biased, weight, 1));
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
