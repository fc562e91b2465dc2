#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

struct Angles {
  std::vector<float> cos, sin;
};

std::vector<float> Frequencies(int64_t half) {
  std::vector<float> inverse;
  for (int64_t i = 0; i < half; ++i) {
    inverse.push_back(static_cast<float>(std::pow(10000.0, -static_cast<double>(i) / half)));
  }
  return inverse;
}

Angles Make(const std::vector<int32_t>& positions, const std::vector<float>& inverse,
            float magnitude, ThreadPool& pool) {
  const auto half = static_cast<int64_t>(inverse.size());
  const auto rows = static_cast<int64_t>(positions.size());
  Angles angles{std::vector<float>(rows * half), std::vector<float>(rows * half)};
  Stream stream(&pool);
  RopeAngles({positions.data(), inverse.data(), magnitude, angles.cos.data(), angles.sin.data(),
              rows, 2 * half},
             stream);
  return angles;
}

TEST(RopeTest, AnglesAreRoundedOnceEach) {
  const std::vector<int32_t> positions = {0, 1, 17, 4095, 131071, 4000000};
  const std::vector<float> inverse = Frequencies(32);
  ThreadPool pool(2);
  const Angles angles = Make(positions, inverse, 1.0f, pool);
  for (size_t r = 0; r < positions.size(); ++r) {
    for (size_t i = 0; i < inverse.size(); ++i) {
      const float angle = static_cast<float>(positions[r]) * inverse[i];
      EXPECT_EQ(angles.cos[r * 32 + i], static_cast<float>(std::cos(double{angle})));
      EXPECT_EQ(angles.sin[r * 32 + i], static_cast<float>(std::sin(double{angle})));
    }
  }
  EXPECT_EQ(Make({5}, inverse, 0.5f, pool).cos[3], Make({5}, inverse, 1.0f, pool).cos[3] * 0.5f);
}

TEST(RopeTest, EachRowGoesByItsTable) {
  std::vector<float> tables = Frequencies(8);
  const std::vector<float> other(8, 0.25f);
  tables.insert(tables.end(), other.begin(), other.end());
  const std::vector<int32_t> positions = {9, 9, 9}, table_of_row = {1, 0, -1};
  std::vector<float> cos(3 * 8), sin(3 * 8);
  ThreadPool pool(2);
  Stream stream(&pool);
  RopeAngles({.positions = positions.data(),
              .inverse_frequency = tables.data(),
              .cos = cos.data(),
              .sin = sin.data(),
              .rows = 3,
              .rotary_dim = 16,
              .table_of_row = table_of_row.data()},
             stream);
  const Angles first = Make({9}, Frequencies(8), 1.0f, pool);
  const Angles second = Make({9}, other, 1.0f, pool);
  EXPECT_EQ(std::vector<float>(cos.begin(), cos.begin() + 8), second.cos);
  EXPECT_EQ(std::vector<float>(sin.begin() + 8, sin.begin() + 16), first.sin);
  EXPECT_EQ(std::vector<float>(cos.begin() + 16, cos.end()), first.cos);
}

TEST(RopeTest, RotatesPairsHalfAHeadApart) {
  for (int64_t rotary : {64, 40, 2}) {
    const int64_t rows = 9, heads = 3, dim = 64, stride = heads * dim + 7, half = rotary / 2;
    std::vector<int32_t> positions;
    for (int32_t r = 0; r < rows; ++r) positions.push_back(100 * r + 3);
    const std::vector<float> before = Normal(rows * stride, 5);
    for (int threads : {1, 2}) {
      ThreadPool pool(threads);
      const Angles angles = Make(positions, Frequencies(half), 1.0f, pool);
      std::vector<float> x = before;
      Stream stream(&pool);
      Rope({x.data(), stride, angles.cos.data(), angles.sin.data(), rows, heads, dim, rotary},
           stream);
      for (int64_t i = 0; i < rows * stride; ++i) {
        const int64_t row = i / stride, column = i % stride, d = column % dim;
        if (column >= heads * dim || d >= rotary) {
          EXPECT_EQ(x[i], before[i]);
          continue;
        }
        const float cos = angles.cos[row * half + d % half];
        const float sin = angles.sin[row * half + d % half];
        const float expected = d < half ? before[i] * cos - before[i + half] * sin
                                        : before[i] * cos + before[i - half] * sin;
        EXPECT_EQ(x[i], expected);
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
