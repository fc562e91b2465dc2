#include "coordinator/engine/token_rates.h"

#include <gtest/gtest.h>

namespace octet::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TokenRatesTest : public ::testing::Test {
 protected:
  std::chrono::steady_clock::time_point now_{seconds(1000)};
  TokenRates rates_{[this] { return now_; }};
};

TEST_F(TokenRatesTest, ARateIsOverTheTimeSinceTheStartAtFirst) {
  now_ += milliseconds(4000);
  rates_.Observe({400, 40});
  EXPECT_DOUBLE_EQ(rates_.Over().prompt_tokens_per_second, 100);
  EXPECT_DOUBLE_EQ(rates_.Over().generated_tokens_per_second, 10);
  EXPECT_DOUBLE_EQ(rates_.Over().seconds, 4);
}

TEST_F(TokenRatesTest, AShortTimeMakesNoHighRate) {
  now_ += milliseconds(1);
  rates_.Observe({0, 5});
  EXPECT_DOUBLE_EQ(rates_.Over().generated_tokens_per_second, 5);
}

TEST_F(TokenRatesTest, ASteadyRateIsToldWhateverTheMoment) {
  for (int64_t tenth = 0; tenth < 250; ++tenth) {
    rates_.Observe({0, 7 * tenth});
    now_ += milliseconds(100);
    if (tenth <= 20) continue;
    EXPECT_NEAR(rates_.Over().generated_tokens_per_second, 70, 4) << tenth;
  }
  EXPECT_GE(rates_.Over().seconds, 10);
  EXPECT_LT(rates_.Over().seconds, 11);
}

TEST_F(TokenRatesTest, WhatIsLongAgoIsForgottenAlsoWhenNothingHappens) {
  rates_.Observe({500, 50});
  now_ += seconds(10);
  EXPECT_GT(rates_.Over().prompt_tokens_per_second, 0);
  now_ += seconds(1);
  EXPECT_EQ(rates_.Over().prompt_tokens_per_second, 0);
  now_ += seconds(11);  // the same place of the ring again
  rates_.Observe({500, 60});
  EXPECT_EQ(rates_.Over().prompt_tokens_per_second, 0);
  EXPECT_GT(rates_.Over().generated_tokens_per_second, 0);
}

}  // namespace
}  // namespace octet::engine
