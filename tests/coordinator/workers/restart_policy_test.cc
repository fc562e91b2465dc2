#include "coordinator/workers/restart_policy.h"

#include <gtest/gtest.h>

namespace octet::workers {
namespace {

TEST(RestartPolicy, WaitsGrowAndEnd) {
  RestartPolicy policy({0, 1, 2, 4});
  for (const double delay : {0.0, 1.0, 2.0, 4.0}) EXPECT_EQ(policy.NextDelay(100), delay);
  EXPECT_EQ(policy.NextDelay(100), std::nullopt);
}

TEST(RestartPolicy, WhatIsLongAgoIsForgotten) {
  RestartPolicy policy({0, 1});
  EXPECT_EQ(policy.NextDelay(0), 0);
  EXPECT_EQ(policy.NextDelay(300), 1);
  EXPECT_EQ(policy.NextDelay(600), std::nullopt);
  EXPECT_EQ(policy.NextDelay(601), 1);  // the one at 300 still counts
  EXPECT_EQ(policy.NextDelay(2000), 0);
}

TEST(RestartPolicy, NoDelaysMeanNoRestart) {
  EXPECT_EQ(RestartPolicy({}).NextDelay(0), std::nullopt);
}

}  // namespace
}  // namespace octet::workers
