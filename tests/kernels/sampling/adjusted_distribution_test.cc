// The distribution that is drawn from when logits are adjusted first, on every route, against the
// softmax of logits adjusted in double. That the bound tells faults apart is tested too: leaving
// out any one adjustment is far outside of it.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/random.h"
#include "tests/kernels/sampling/adjust_reference.h"
#include "tests/kernels/sampling/distribution.h"
#include "tests/kernels/sampling/ranks.h"

namespace octet::kernels::test {
namespace {

constexpr int64_t kTokens = 700;  // two tiles
constexpr double kBound = 5.0;    // as in sampling_distribution_test.cc

// What the likeliest tokens meet: each adjustment moves some of them noticeably.
OwnedAdjustment Everything(const std::vector<float>& logits) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  OwnedAdjustment a;
  a.banned = {order[0]};
  a.bias = {{order[1], -1.5f}, {order[40], 3.0f}, {order[300], 4.0f}};
  a.repetition = 1.2f;
  a.presence = 1.0f;
  a.frequency = 0.7f;
  a.prompt = {order[2], order[3], order[2], order[5], order[600]};
  a.answer = {order[4], order[5], order[4], order[4], order[7], order[40], order[2]};
  return a;
}

std::vector<int64_t> Draw(const OwnedAdjustment& a, const std::vector<float>& logits,
                          const SamplingParams& params) {
  std::vector<float> adjusted = logits;
  std::vector<uint32_t> counts(logits.size(), 0);
  for (const int64_t begin : {int64_t{0}, int64_t{512}}) {
    const int64_t end = begin == 0 ? 512 : kTokens;
    AdjustLogits(a.view(), {adjusted.data() + begin, end - begin, begin}, counts.data(), nullptr);
  }
  ThreadPool pool(1);
  Stream stream(&pool);
  std::vector<int64_t> seen(kTokens, 0);
  for (int64_t position = 0; position < kDraws; ++position) {
    ++seen[ChooseAsRanks(params, position, adjusted, {0, 512, kTokens}, stream)];
  }
  return seen;
}

class AdjustedDistribution : public ::testing::TestWithParam<SamplingParams> {};

TEST_P(AdjustedDistribution, IsTheSoftmaxOfAdjustedLogits) {
  const std::vector<float> logits = Normal(kTokens, 31, 0.0f, 2.0f);
  const OwnedAdjustment all = Everything(logits);
  const std::vector<int64_t> seen = Draw(all, logits, GetParam());
  const auto wanted = Wanted(AdjustedByDefinition(all, logits), GetParam());
  EXPECT_LT(std::abs(Deviation(wanted, seen)), kBound);
}

INSTANTIATE_TEST_SUITE_P(Routes, AdjustedDistribution,
                         ::testing::Values(SamplingParams{1.0f, 0, 1.0f, 0.0f, 11, 0},
                                           SamplingParams{0.8f, 0, 1.0f, 0.0f, 12, 2},
                                           SamplingParams{1.0f, 50, 1.0f, 0.0f, 13, 0},
                                           SamplingParams{1.2f, 60, 0.9f, 0.02f, 14, 0},
                                           SamplingParams{1.0f, 300, 1.0f, 0.0f, 15, 0},
                                           SamplingParams{1.0f, 0, 0.9f, 0.0f, 16, 0},
                                           SamplingParams{1.0f, 0, 1.0f, 0.02f, 17, 0}));

TEST(AdjustedDistributionTest, LeavingOutAnyAdjustmentShows) {
  const SamplingParams params{1.0f, 0, 1.0f, 0.0f, 21, 0};
  const std::vector<float> logits = Normal(kTokens, 31, 0.0f, 2.0f);
  const OwnedAdjustment all = Everything(logits);
  std::vector<OwnedAdjustment> faulty(5, all);
  faulty[0].banned.clear();
  faulty[1].bias.clear();
  faulty[2].repetition = 1;
  faulty[3].presence = 0;
  faulty[4].frequency = 0;
  // The faulty one draws everything, so that none of its tokens is unexpected.
  const std::vector<int64_t> seen = Draw(all, logits, params);
  for (size_t i = 0; i < faulty.size(); ++i) {
    const auto wanted = Wanted(AdjustedByDefinition(faulty[i], logits), params);
    EXPECT_GT(Deviation(wanted, seen), 2 * kBound) << "left out: " << i;
  }
}

}  // namespace
}  // namespace octet::kernels::test
