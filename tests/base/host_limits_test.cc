#include "base/host_limits.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace octet
