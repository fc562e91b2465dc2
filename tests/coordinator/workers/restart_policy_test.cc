#include "coordinator/workers/restart_policy.h"

#include <gtest/gtest.h>

namespace octet::workers {
namespace {

TEST(RestartPolicy, WaitsGrowAndEnd) {
  RestartPolicy policy({0, 1, 2, 4});
  for (const double delay : {0.0, 1.0, 2.0, 4.0}) EXPECT_EQ(policy.AfterLoss(100), delay);
  EXPECT_EQ(policy.AfterLoss(100), std::nullopt);
}

TEST(RestartPolicy, WhatIsLongAgoIsForgotten) {
  RestartPolicy policy({0, 1});
  EXPECT_EQ(policy.AfterLoss(0), 0);
  EXPECT_EQ(policy.AfterLoss(300), 1);
  EXPECT_EQ(policy.AfterLoss(600), std::nullopt);
  EXPECT_EQ(policy.AfterLoss(601), 1);  // the one at 300 still counts
  EXPECT_EQ(policy.AfterLoss(2000), 0);
}

TEST(RestartPolicy, NoDelaysMeanNoRestart) {
  EXPECT_EQ(RestartPolicy({}).AfterLoss(0), std::nullopt);
}

TEST(RestartPolicy, StartsThatFailAreTriedForAWhile) {
  RestartPolicy policy({0, 1, 4});
  EXPECT_EQ(policy.AfterLoss(0), 0);
  for (const double delay : {0.0, 1.0, 4.0, 4.0, 4.0})
    EXPECT_EQ(policy.AfterFailedStart(10), delay);
  EXPECT_EQ(policy.AfterFailedStart(130), 4);
  EXPECT_EQ(policy.AfterFailedStart(131), std::nullopt);
  EXPECT_EQ(policy.AfterLoss(132), 1) << "a failed start counts as no loss";
  EXPECT_EQ(policy.AfterFailedStart(140), 0) << "a group has worked in between";
  EXPECT_EQ(RestartPolicy({}).AfterFailedStart(0), std::nullopt);
}

}  // namespace
}  // namespace octet::workers
