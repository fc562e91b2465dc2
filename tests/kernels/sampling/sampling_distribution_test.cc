// The distribution of each route against the softmax, by chi-square over many positions. Seeds are
// fixed, so these tests either always pass or never do; the bounds are what a correct sampler
// exceeds once in ten thousand seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/random.h"
#include "tests/kernels/sampling/distribution.h"
#include "tests/kernels/sampling/ranks.h"

namespace octet::kernels::test {
namespace {

constexpr int64_t kTokens = 700;  // two tiles

class Distribution : public testing::TestWithParam<SamplingParams> {};

TEST_P(Distribution, IsTheSoftmaxOfWhatIsKept) {
  const std::vector<float> logits = Normal(kTokens, 31, 0.0f, 2.0f);
  ThreadPool pool(1);
  Stream stream(&pool);
  std::vector<int64_t> seen(kTokens, 0);
  for (int64_t position = 0; position < kDraws; ++position) {
    const int32_t token = ChooseAsRanks(GetParam(), position, logits, {0, 512, kTokens}, stream);
    ASSERT_GE(token, 0);
    ++seen[token];
  }
  // Four standard deviations, with room for the skew of a chi-square of few degrees of freedom.
  EXPECT_LT(std::abs(Deviation(Wanted(logits, GetParam()), seen)), 5.0);
}

INSTANTIATE_TEST_SUITE_P(Routes, Distribution,
                         testing::Values(SamplingParams{1.0f, 0, 1.0f, 0.0f, 11, 0},
                                         SamplingParams{0.6f, 0, 1.0f, 0.0f, 12, 3},
                                         SamplingParams{1.0f, 40, 1.0f, 0.0f, 13, 0},
                                         SamplingParams{1.3f, 100, 0.8f, 0.0f, 14, 0},
                                         SamplingParams{1.0f, 60, 0.95f, 0.05f, 15, 0},
                                         SamplingParams{1.0f, 300, 1.0f, 0.0f, 16, 0},
                                         SamplingParams{0.9f, 0, 0.7f, 0.0f, 17, 0},
                                         SamplingParams{2.0f, 0, 0.99f, 0.0f, 18, 0},
                                         SamplingParams{1.0f, 0, 1.0f, 0.02f, 19, 0},
                                         SamplingParams{1.0f, 0, 0.6f, 0.1f, 20, 1}));

TEST(DistributionTest, SamplesOfOneRequestDiffer) {
  const std::vector<float> logits(kTokens, 0.0f);
  ThreadPool pool(1);
  Stream stream(&pool);
  std::vector<int32_t> tokens;
  for (uint32_t sample = 0; sample < 50; ++sample) {
    tokens.push_back(
        ChooseAsRanks({1.0f, 0, 1.0f, 0.0f, 5, sample}, 8, logits, {0, kTokens}, stream));
  }
  std::sort(tokens.begin(), tokens.end());
  // 50 of 700 at random: about 48 are distinct.
  EXPECT_GT(std::unique(tokens.begin(), tokens.end()) - tokens.begin(), 40);
}

}  // namespace
}  // namespace octet::kernels::test
