// What the norm's tests share: the double-precision reference.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace octet::kernels::test {

inline constexpr float kEps = 1e-5f;

// y [rows, hidden] is x normed, each value within `relative` of itself.
inline void ExpectNormed(const std::vector<float>& y, const std::vector<float>& x,
                         const std::vector<float>& weight, double relative) {
  const auto hidden = static_cast<int64_t>(weight.size());
  ASSERT_EQ(y.size(), x.size());
  for (int64_t begin = 0; begin < static_cast<int64_t>(x.size()); begin += hidden) {
    double squares = 0;
    for (int64_t i = 0; i < hidden; ++i) squares += double{x[begin + i]} * x[begin + i];
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(hidden) + double{kEps});
    for (int64_t i = 0; i < hidden; ++i) {
      const double expected = x[begin + i] * inverse * weight[i];
      ASSERT_NEAR(y[begin + i], expected, relative * std::abs(expected))
          << "hidden " << hidden << ", element " << begin + i;
    }
  }
}

// y [rows, hidden] is the layer norm of x, each value within `relative` of its row's largest.
inline void ExpectLayerNormed(const std::vector<float>& y, const std::vector<float>& x,
                              const std::vector<float>& weight, const std::vector<float>& bias,
                              double relative) {
  const auto hidden = static_cast<int64_t>(weight.size());
  ASSERT_EQ(y.size(), x.size());
  for (int64_t begin = 0; begin < static_cast<int64_t>(x.size()); begin += hidden) {
    double mean = 0, squares = 0, largest = 0;
    for (int64_t i = 0; i < hidden; ++i) mean += x[begin + i] / static_cast<double>(hidden);
    for (int64_t i = 0; i < hidden; ++i) {
      const double off = x[begin + i] - mean;
      squares += off * off;
      largest = std::max(largest, std::abs(double{x[begin + i]}));
    }
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(hidden) + double{kEps});
    for (int64_t i = 0; i < hidden; ++i) {
      const double scale = inverse * weight[i];
      const double expected = (x[begin + i] - mean) * scale + bias[i];
      ASSERT_NEAR(y[begin + i], expected,
                  relative * (largest * std::abs(scale) + std::abs(bias[i])))
          << "hidden " << hidden << ", element " << begin + i;
    }
  }
}

}  // namespace octet::kernels::test
