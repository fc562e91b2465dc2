#include "coordinator/workers/loss_explanation.h"

#include <gtest/gtest.h>

namespace octet::workers {
namespace {

const std::string kRule(74, '-');

TEST(ExplainLoss, MpirunsAccountComesFirst) {
  EXPECT_EQ(
      ExplainLoss({"rank 0 (process 5) died",
                   true,
                   "mpirun",
                   "exited with code 139",
                   {"loading layer 3", kRule, "Primary job  terminated normally, but", kRule, kRule,
                    "mpirun noticed that process rank 1 with PID 7 on node a exited on signal "
                    "11 (Segmentation fault).",
                    kRule}}),
      "rank 1 on a was ended by signal 11 (Segmentation fault); the last line of output was: "
      "loading layer 3");
}

TEST(ExplainLoss, TheProcessIsTheOneThatTheLinkKnows) {
  const std::string notice =
      "mpirun noticed that process rank 1 with PID 0 on node a exited on signal 9 (Killed).";
  EXPECT_TRUE(IsDeathNotice(notice));
  EXPECT_EQ(
      ExplainLoss({"rank 1 (process 77) died", true, "mpirun", "exited with code 137", {notice}}),
      "rank 1 (process 77) was ended by signal 9 (Killed)");
  EXPECT_FALSE(IsDeathNotice("mpirun noticed that the job aborted, but has no info"));
}

TEST(ExplainLoss, WhoWeEndedDidNotDieByItself) {
  EXPECT_EQ(ExplainLoss({"rank 1 (process 77) has not been heard of for 10 s",
                         false,
                         "mpirun",
                         "",
                         {"mpirun noticed that process rank 1 with PID 0 on node a exited on "
                          "signal 9 (Killed)."}}),
            "rank 1 (process 77) has not been heard of for 10 s");
}

TEST(ExplainLoss, WithoutItTheExitIsTold) {
  EXPECT_EQ(
      ExplainLoss({"rank 1 (process 5) died",
                   true,
                   "mpirun",
                   "exited with code 3",
                   {"bad", "worse", "10:00:00.000 info: all is well"}}),
      "rank 1 (process 5) died; mpirun exited with code 3; the last line of output was: worse");
}

TEST(ExplainLoss, AFailedCheckSaysMoreThanTheTraceBehindIt) {
  EXPECT_EQ(ExplainLoss({"rank 0 (process 5) died",
                         true,
                         "mpirun",
                         "exited with code 134",
                         {"octet: CHECK failed at base/buffer.cc:19: no memory",
                          "[host:00005] *** Process received signal ***",
                          "[host:00005] *** End of error message ***"}}),
            "rank 0 (process 5) died; mpirun exited with code 134; it said: octet: CHECK failed at "
            "base/buffer.cc:19: no memory");
}

TEST(ExplainLoss, ASilentHangIsJustThat) {
  EXPECT_EQ(ExplainLoss({"rank 1 has not been heard of for 20 s", false, "mpirun", "", {}}),
            "rank 1 has not been heard of for 20 s");
}

}  // namespace
}  // namespace octet::workers
