#include "kernels/norm/norm.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/ordered_sum.h"
#include "kernels/norm/head_norm.h"
#include "kernels/norm/sum_norm.h"
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
  kernels::Norm({source, weight.data(), y.data(), rows, hidden, kEps}, stream);
  return y;
}

std::vector<float> LayerNorm(const std::vector<float>& x, const std::vector<float>& weight,
                             const std::vector<float>& bias, int threads) {
  const auto hidden = static_cast<int64_t>(weight.size());
  std::vector<float> y(x.size(), 9.0f);
  ThreadPool pool(threads);
  Stream stream(&pool);
  kernels::Norm({.x = x.data(),
                 .weight = weight.data(),
                 .y = y.data(),
                 .rows = static_cast<int64_t>(x.size()) / hidden,
                 .hidden = hidden,
                 .eps = kEps,
                 .centered = true,
                 .bias = bias.data()},
                stream);
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
      kernels::AddNorm({residual.data(), delta.data(), weight.data(), y.data(), rows, hidden, kEps},
                       stream);
      EXPECT_EQ(residual, sum);
      EXPECT_EQ(y, Norm(sum, weight, 1));

      // A bias is added after delta.
      std::vector<float> biased = sum;
      for (int64_t i = 0; i < rows * hidden; ++i) biased[i] += weight[i % hidden];
      kernels::AddNorm({.residual = residual.data(),
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

// The sum by base/ordered_sum.h, then AddNorm; more than a block of a row wide.
TEST(NormTest, SumAddNormIsSumThenAddNorm) {
  const int64_t rows = 3, hidden = 1100, count = rows * hidden;
  const std::vector<float> x = Normal(count, 1);
  const std::vector<float> weight = Normal(hidden, 3);
  const std::vector<std::vector<int32_t>> programs = {{0}, {0, 1}, {0, 1, 0, 2}, {0, 0, 2}};
  for (const std::vector<int32_t>& merges : programs) {
    const auto root_count = static_cast<int32_t>(merges.size());
    const std::vector<float> roots = Normal(root_count * count, 5);
    const ExchangeTree tree = {.roots_of_rank = {root_count}, .merges = merges};
    std::vector<const float*> pointers;
    for (int64_t i = 0; i < root_count; ++i) pointers.push_back(roots.data() + i * count);
    std::vector<float> delta(count);
    OrderedSum(pointers, merges, 0, count, delta.data());
    for (Isa isa : AvailableIsas()) {
      IsaScope scope(isa);
      ThreadPool pool(2);
      Stream stream(&pool);
      std::vector<float> residual = x, y(count), in_one = x, y_in_one(count);
      AddNormArgs args = {residual.data(), delta.data(), weight.data(), y.data(), rows,
                          hidden,          kEps};
      args.delta_bias = weight.data();
      kernels::AddNorm(args, stream);
      args.residual = in_one.data();
      args.delta = nullptr;
      args.y = y_in_one.data();
      SumAddNorm({args, roots.data(), &tree}, stream);
      EXPECT_TRUE(SameBits(in_one, residual)) << root_count << " roots";
      EXPECT_TRUE(SameBits(y_in_one, y)) << root_count << " roots";
    }
  }
}

TEST(NormTest, LayerNormMatchesDoublePrecisionAndKeepsItsBits) {
  for (int64_t hidden : {1, 7, 16, 33, 768, 4097}) {
    const int64_t rows = 5;
    const std::vector<float> x = Normal(rows * hidden, static_cast<uint32_t>(hidden), 5.0f, 3.0f);
    const std::vector<float> weight = Normal(hidden, 77, 1.0f, 0.2f);
    const std::vector<float> bias = Normal(hidden, 78);
    std::vector<float> first;
    for (Isa isa : AvailableIsas()) {
      IsaScope scope(isa);
      const std::vector<float> y = LayerNorm(x, weight, bias, 2);
      // Both sums: a lane of hidden / 16 terms and four levels, at most so many half ulps; the
      // mean's error is that of the largest value, and a few roundings follow.
      ExpectLayerNormed(y, x, weight, bias, 0x1p-24 * (static_cast<double>(hidden) / 8 + 20));
      const auto third = x.begin() + 2 * hidden;  // a row alone
      EXPECT_EQ(LayerNorm({third, third + hidden}, weight, bias, 1),
                std::vector<float>(y.begin() + 2 * hidden, y.begin() + 3 * hidden));
      if (first.empty()) first = y;
      EXPECT_TRUE(SameBits(first, y)) << IsaName(isa);
    }
  }
}

TEST(NormTest, FusedAddIsAddThenLayerNorm) {
  const int64_t rows = 4, hidden = 100;
  const std::vector<float> delta = Normal(rows * hidden, 2);
  const std::vector<float> weight = Normal(hidden, 3);
  const std::vector<float> bias = Normal(hidden, 4);
  std::vector<float> residual = Normal(rows * hidden, 1);
  std::vector<float> fused(residual.size());
  ThreadPool pool(2);
  Stream stream(&pool);
  kernels::AddNorm({.residual = residual.data(),
                    .delta = delta.data(),
                    .weight = weight.data(),
                    .y = fused.data(),
                    .rows = rows,
                    .hidden = hidden,
                    .eps = kEps,
                    .centered = true,
                    .bias = bias.data()},
                   stream);
  EXPECT_TRUE(SameBits(fused, LayerNorm(residual, weight, bias, 1)));
}

// Each head is a row of the norm with its own weight; values and what lies between rows stay.
TEST(NormTest, HeadNormIsTheNormOfEachHead) {
  const int64_t rows = 3, heads = 3, kv_heads = 2, head_dim = 24;
  const int64_t normed = (heads + kv_heads) * head_dim, stride = normed + kv_heads * head_dim + 5;
  const std::vector<float> before = Normal(rows * stride, 1, 0.5f, 2.0f);
  const std::vector<float> q_weight = Normal(head_dim, 2, 1.0f, 0.2f);
  const std::vector<float> k_weight = Normal(head_dim, 3, 1.0f, 0.2f);
  for (Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    std::vector<float> x = before;
    ThreadPool pool(2);
    Stream stream(&pool);
    HeadNorm({.x = x.data(),
              .x_stride = stride,
              .q_weight = q_weight.data(),
              .k_weight = k_weight.data(),
              .rows = rows,
              .heads = heads,
              .kv_heads = kv_heads,
              .head_dim = head_dim,
              .eps = kEps},
             stream);
    for (int64_t row = 0; row < rows; ++row) {
      const auto begin = before.begin() + row * stride;
      std::vector<float> expected(begin, begin + stride);
      for (int64_t head = 0; head < heads + kv_heads; ++head) {
        const auto at = expected.begin() + head * head_dim;
        const std::vector<float> y =
            Norm({at, at + head_dim}, head < heads ? q_weight : k_weight, 1);
        std::copy(y.begin(), y.end(), at);
      }
      EXPECT_TRUE(SameBits({x.begin() + row * stride, x.begin() + (row + 1) * stride}, expected));
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
