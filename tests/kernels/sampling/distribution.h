// Distributions: what a sampler must draw, in double, and how far draws are from it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/sampling/sampling.h"

namespace octet::kernels::test {

inline constexpr int64_t kDraws = 20000;

// The wanted probabilities in double: softmax, the k best, the share p, the floor min-p.
template <typename Logit>
std::vector<double> Wanted(const std::vector<Logit>& logits, const SamplingParams& params) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (params.top_k > 0) order.resize(std::min<size_t>(order.size(), params.top_k));
  std::vector<double> weights;
  for (size_t token : order) {
    weights.push_back(std::exp((double{logits[token]} - logits[order[0]]) / params.temperature));
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  size_t count = 0;
  for (double sum = 0; count < weights.size() && sum < params.top_p * total; ++count) {
    sum += weights[count];
  }
  while (count > 1 && weights[count - 1] < params.min_p) --count;
  const double kept = std::accumulate(weights.begin(), weights.begin() + count, 0.0);
  std::vector<double> wanted(logits.size(), 0.0);
  for (size_t i = 0; i < count; ++i) wanted[order[i]] = weights[i] / kept;
  return wanted;
}

// Chi-square in units of its standard deviation from its mean; rare tokens share a bin.
inline double Deviation(const std::vector<double>& wanted, const std::vector<int64_t>& seen) {
  double chi = 0, rare_wanted = 0, rare_seen = 0;
  int64_t bins = 0;
  const auto add = [&](double expected, double observed) {
    chi += (observed - expected) * (observed - expected) / expected;
    ++bins;
  };
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double expected = wanted[i] * kDraws;
    if (expected == 0) {
      EXPECT_EQ(seen[i], 0) << "token " << i << " is cut off";
    } else if (expected < 8) {
      rare_wanted += expected;
      rare_seen += static_cast<double>(seen[i]);
    } else {
      add(expected, static_cast<double>(seen[i]));
    }
  }
  if (rare_wanted > 0) add(std::max(rare_wanted, 1.0), rare_seen);
  const double freedom = std::max<double>(bins - 1, 1);
  return (chi - freedom) / std::sqrt(2 * freedom);
}

}  // namespace octet::kernels::test
