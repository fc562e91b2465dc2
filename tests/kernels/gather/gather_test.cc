#include "kernels/gather/gather.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace octet::kernels {
namespace {

TEST(GatherColumns, TakesEveryColumnFromItsPlace) {
  std::mt19937 random(1);
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    Stream stream(&pool);
    for (const int64_t width : {1, 7, 4096, 9001}) {
      const int64_t rows = 5;
      std::vector<int32_t> order(width);
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random);
      std::vector<float> x(rows * width);
      std::iota(x.begin(), x.end(), 0.0f);
      const int64_t stride = width + 3;
      std::vector<float> y(rows * stride, -1.0f);
      GatherColumns({x.data(), order.data(), y.data(), rows, width, stride, width}, stream);
      for (int64_t i = 0; i < rows * stride; ++i) {
        const int64_t column = i % stride;
        const float expected = column < width ? x[i / stride * width + order[column]] : -1.0f;
        ASSERT_EQ(y[i], expected) << width << " " << i;
      }
    }
  }
}

TEST(GatherColumns, PutsZerosWhereNothingIsTaken) {
  ThreadPool pool(2);
  Stream stream(&pool);
  const std::vector<float> x = {1, 2, 3, 4, 5, 6};  // two rows of three
  const std::vector<int32_t> order = {2, -1, 0, 0, -1};
  std::vector<float> y(10, 7.0f);
  GatherColumns({x.data(), order.data(), y.data(), 2, 5, 5, 3}, stream);
  EXPECT_EQ(y, (std::vector<float>{3, 0, 1, 1, 0, 6, 0, 4, 4, 0}));
}

}  // namespace
}  // namespace octet::kernels
