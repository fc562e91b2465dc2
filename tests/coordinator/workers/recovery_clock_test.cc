#include "coordinator/workers/recovery_clock.h"

#include <gtest/gtest.h>

namespace octet::workers {
namespace {

TEST(RecoveryClockTest, SaysWhereTheTimeWent) {
  RecoveryClock clock;
  clock.Launched(0);
  clock.Hello(1);
  clock.Ready(2);
  EXPECT_FALSE(clock.Result(3).has_value());  // there was no loss
  clock.Lost(10);
  clock.Ended(10.5);
  clock.Launched(11.5);
  clock.Hello(11.75);
  clock.Hello(12);
  clock.Ready(13.75);
  const auto times = clock.Result(14);
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->total_seconds, 4);
  EXPECT_EQ(times->end_seconds, 0.5);
  EXPECT_EQ(times->wait_seconds, 1);
  EXPECT_EQ(times->hello_seconds, 0.25);
  EXPECT_EQ(times->load_seconds, 2);
  EXPECT_EQ(times->first_step_seconds, 0.25);
  EXPECT_FALSE(clock.Result(15).has_value());
}

TEST(RecoveryClockTest, AGroupThatIsLostOnTheWayProlongsTheOutage) {
  RecoveryClock clock;
  clock.Lost(10);
  clock.Ended(11);
  clock.Launched(11);
  clock.Lost(12);
  clock.Ended(13);
  clock.Launched(14);
  clock.Hello(15);
  clock.Ready(16);
  const auto times = clock.Result(17);
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->total_seconds, 7);
  EXPECT_EQ(times->end_seconds, 3);
  EXPECT_EQ(Describe(*times),
            "7.00 s: the lost group took 3.00 s to end, then 1.00 s of waiting, 1.00 s to start, "
            "1.00 s to load, 1.00 s for a step");
}

}  // namespace
}  // namespace octet::workers
