#include "base/host_limits.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <vector>

namespace octet {
namespace {

TEST(HostLimits, AShareOfTimeIsWholeCores) {
  EXPECT_EQ(CoresOfShare("200000 100000", 64), 2);
  EXPECT_EQ(CoresOfShare("250000 100000", 64), 2);
  EXPECT_EQ(CoresOfShare("50000 100000", 64), 1);
  EXPECT_EQ(CoresOfShare("6400000 100000", 8), 8);
}

TEST(HostLimits, NoShareIsNoLimit) {
  for (const char* none : {"max 100000", "", "what", "-1 100000", "100000", "100000 0"}) {
    EXPECT_EQ(CoresOfShare(none, 64), 64) << none;
  }
}

TEST(HostLimits, ThereIsACoreAndMemory) {
  EXPECT_GE(HostCores(), 1);
  EXPECT_GT(HostMemoryBytes(), int64_t{1} << 20);
}

TEST(HostLimits, CoresAreThoseThatTheProcessMayRunOn) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(OwnCores().count(), 1u);
  EXPECT_EQ(HostCores(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(HostLimits, SharersHaveACoreInCommon) {
  const CoreSet first = CoreSet().set(0).set(1), second = CoreSet().set(2).set(700);
  EXPECT_EQ(SharersOf(first, std::vector{first, second, first, CoreSet().set(1).set(2)}), 3);
  EXPECT_EQ(SharersOf(second, std::vector{first, second}), 1);
  EXPECT_EQ(SharersOf(second, std::vector{CoreSet().set(), second}), 2);
  EXPECT_TRUE(OwnCores().any());
}

}  // namespace
}  // namespace octet
