// Log-probabilities against a log-softmax in double, their bits at every cut of the vocabulary, and
// what is told where logits are no numbers.
#include "kernels/sampling/logprobs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

struct Told {
  double log_sum_exp = 0;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  bool operator==(const Told&) const = default;
};

// As the ranks do it, whose runs of the vocabulary begin at `bounds`.
Told TellAsRanks(const std::vector<float>& logits, int32_t best, const std::vector<int64_t>& bounds,
                 int threads = 1) {
  ThreadPool pool(threads);
  Stream stream(&pool);
  std::vector<TileSum> tiles;
  std::vector<Candidate> all;
  for (size_t rank = 0; rank + 1 < bounds.size(); ++rank) {
    const int64_t held = bounds[rank + 1] - bounds[rank];
    std::vector<TileSum> own(static_cast<size_t>(TileCount(held)));
    std::vector<Candidate> top(static_cast<size_t>(best));
    const LogprobRow row = {.logits = logits.data() + bounds[rank],
                            .tiles = own.data(),
                            .best = best,
                            .top = top.data()};
    LocalLogprobs({.rows = {&row, 1}, .tokens = held, .token_begin = bounds[rank]}, stream);
    tiles.insert(tiles.end(), own.begin(), own.end());
    all.insert(all.end(), top.begin(), top.end());
  }
  Told told{.log_sum_exp = LogSumExp(tiles)};
  const int32_t real = MergeBest(all, best);
  for (int32_t i = 0; i < real; ++i) {
    told.tokens.push_back(all[i].token);
    told.logprobs.push_back(Logprob(all[i].logit, told.log_sum_exp));
  }
  return told;
}

double LogSumExpInDouble(const std::vector<float>& logits) {
  double max = -kInf, sum = 0;
  for (const float logit : logits) max = std::max(max, double{logit});
  for (const float logit : logits) sum += std::exp(logit - max);
  return max + std::log(sum);
}

TEST(LogprobsTest, AreTheLogSoftmax) {
  for (const Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    for (const int64_t tokens : {1, 15, 512, 513, 5000, 151936}) {
      for (const float deviation : {0.0f, 2.0f, 30.0f}) {
        const std::vector<float> logits = Normal(tokens, 7, 5.0f, deviation);
        const Told told = TellAsRanks(logits, 20, {0, tokens});
        EXPECT_NEAR(told.log_sum_exp, LogSumExpInDouble(logits), 4e-6);
        std::vector<int32_t> order(logits.size());
        for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
        std::stable_sort(order.begin(), order.end(),
                         [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
        order.resize(std::min<size_t>(order.size(), 20));
        EXPECT_EQ(told.tokens, order);
        for (size_t i = 0; i < order.size(); ++i) {
          EXPECT_EQ(told.logprobs[i], Logprob(logits[order[i]], told.log_sum_exp));
          EXPECT_LE(told.logprobs[i], 0.0f);
        }
      }
    }
  }
}

TEST(LogprobsTest, SameBitsAtEveryCutThreadAndFamily) {
  const int64_t tokens = 7 * 512 + 99;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::vector<float> logits = Normal(tokens, seed, 0, 3);
    for (size_t i = 11; i < logits.size(); i += 64) logits[i] = 6.5f;  // ties
    for (size_t i = 5; i < logits.size(); i += 501) logits[i] = seed % 2 == 0 ? kNan : -kInf;
    const Told whole = TellAsRanks(logits, 17, {0, tokens});
    for (const Isa isa : AvailableIsas()) {
      IsaScope scope(isa);
      EXPECT_TRUE(TellAsRanks(logits, 17, {0, 2048, tokens}) == whole);
      EXPECT_TRUE(TellAsRanks(logits, 17, {0, 512, 512, 1024, 2560, tokens, tokens}, 3) == whole);
    }
  }
}

TEST(LogprobsTest, NoNumberIsToldAsTheFloor) {
  std::vector<float> logits(1300, 1.0f);
  logits[5] = kNan;
  logits[6] = -kInf;
  Told told = TellAsRanks(logits, 3, {0, 512, 1300});
  EXPECT_NEAR(told.log_sum_exp, 1 + std::log(1298.0), 1e-5);
  EXPECT_EQ(told.tokens, (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(Logprob(logits[5], told.log_sum_exp), kLogprobFloor);
  EXPECT_EQ(Logprob(logits[6], told.log_sum_exp), kLogprobFloor);
  EXPECT_EQ(Logprob(-1e30f, told.log_sum_exp), kLogprobFloor);

  logits[700] = kInf;
  told = TellAsRanks(logits, 2, {0, 512, 1300});
  EXPECT_EQ(told.tokens, (std::vector<int32_t>{700, 0}));
  EXPECT_EQ(told.logprobs, (std::vector<float>{0.0f, kLogprobFloor}));

  logits.assign(1300, kNan);
  logits[3] = -kInf;
  told = TellAsRanks(logits, 2, {0, 512, 1300});
  EXPECT_TRUE(told.tokens.empty());
  EXPECT_EQ(Logprob(kNan, told.log_sum_exp), kLogprobFloor);
  EXPECT_EQ(Logprob(1.0f, told.log_sum_exp), kLogprobFloor);
}

}  // namespace
}  // namespace octet::kernels::test
