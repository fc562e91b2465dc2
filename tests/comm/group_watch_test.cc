// What ends a rank that can not go on, and what does not.
#include "comm/group_watch.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace octet::comm {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFor{4 * kWatchPeriod};

void Wait() { std::this_thread::sleep_for(kFor); }
[[noreturn]] void WaitForEver() {
  for (;;) Wait();
}

// A process that ends at once and stays in the table until it is waited for.
int EndedProcess() {
  const int pid = fork();
  if (pid == 0) _exit(0);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  return pid;
}

class GroupWatchDeathTest : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(GroupWatchDeathTest, EndsAtItsDeadline) {
  const auto hang = [] {
    GroupWatch watch({.rank = 5, .deadline = milliseconds(100)});
    const GroupWatch::Work work(&watch);
    WaitForEver();
  };
  EXPECT_EXIT(hang(), testing::ExitedWithCode(kStoppedExitCode),
              "octet: rank 5: nothing came back from the ranks for 100 ms");
}

TEST_F(GroupWatchDeathTest, EndsWhenTheProbeSaysSoAndAbortsFirst) {
  const auto fail = [] {
    GroupWatch watch({.rank = 1});
    watch.SetProbe({.trouble = [] { return std::string("the wire is cut"); },
                    .abort = [] { std::fputs("aborted\n", stderr); }});
    WaitForEver();
  };
  EXPECT_EXIT(fail(), testing::ExitedWithCode(kStoppedExitCode),
              "octet: rank 1: the wire is cut\naborted");
}

TEST_F(GroupWatchDeathTest, EndsThoughTheAbortHangs) {
  const auto fail = [] {
    GroupWatch watch({.rank = 1});
    watch.SetProbe(
        {.trouble = [] { return std::string("the wire is cut"); }, .abort = [] { WaitForEver(); }});
    WaitForEver();
  };
  EXPECT_EXIT(fail(), testing::ExitedWithCode(kStoppedExitCode), "the wire is cut");
}

TEST_F(GroupWatchDeathTest, EndsWhenTold) {
  const auto stop = [] {
    std::atomic<bool> flag{false};
    GroupWatch watch({.rank = 2, .stop = &flag});
    const GroupWatch::Work work(&watch);
    flag = true;
    WaitForEver();
  };
  EXPECT_EXIT(stop(), testing::ExitedWithCode(kStoppedExitCode), "rank 2: was told to stop");
}

TEST_F(GroupWatchDeathTest, EndsWithAPeerThatDiesMeanwhile) {
  const auto lose = [] {
    const int pid = fork();
    if (pid == 0) {
      Wait();
      _exit(0);
    }
    GroupWatch watch({.rank = 0});
    watch.SetPeers({{.rank = 7, .pid = pid}});
    const GroupWatch::Work work(&watch);
    WaitForEver();
  };
  EXPECT_EXIT(lose(), testing::ExitedWithCode(kStoppedExitCode),
              "rank 0: rank 7 \\(process [0-9]+\\) ended while this rank computed with it");
}

TEST_F(GroupWatchDeathTest, EndsWithAPeerThatIsGoneAlready) {
  const auto lose = [] {
    const int pid = EndedProcess();
    waitpid(pid, nullptr, 0);
    GroupWatch watch({.rank = 0});
    watch.SetPeers({{.rank = 7, .pid = pid}});
    const GroupWatch::Work work(&watch);
    WaitForEver();
  };
  EXPECT_EXIT(lose(), testing::ExitedWithCode(kStoppedExitCode), "rank 7 .* ended");
}

TEST_F(GroupWatchDeathTest, PrintsTheFirstFailureOnly) {
  const auto fail = [] {
    GroupWatch watch({.rank = 3});
    watch.SetProbe({.abort = [] { Wait(); }});
    std::thread second([&] {
      Wait();
      watch.Fail("a consequence");
    });
    watch.Fail("the cause");
  };
  EXPECT_EXIT(fail(), testing::ExitedWithCode(kStoppedExitCode), "^octet: rank 3: the cause\n$");
}

TEST(GroupWatchTest, LetsIdleRanksWait) {
  const int ended = EndedProcess();
  std::atomic<bool> stop{true};
  GroupWatch watch({.deadline = milliseconds(1), .stop = &stop});
  watch.SetPeers({{.rank = 1, .pid = ended}});
  Wait();
  waitpid(ended, nullptr, 0);
}

std::atomic<int64_t> now_ns{0};

TEST(GroupWatchTest, AnyWorkThatEndsIsProgress) {
  GroupWatch watch({.deadline = milliseconds(100), .clock = [] { return now_ns.load(); }});
  const GroupWatch::Work long_one(&watch);  // longer under way than the deadline
  for (int i = 0; i < 4; ++i) {
    const GroupWatch::Work step(&watch);
    now_ns += std::chrono::nanoseconds(milliseconds(60)).count();
    std::this_thread::sleep_for(2 * kWatchPeriod);  // it looks
  }
}

TEST(GroupWatchTest, ARemovedProbeIsNotAsked) {
  std::atomic<int> asked{0};
  GroupWatch watch({});
  watch.SetProbe({.trouble = [&] {
    ++asked;
    return std::string();
  }});
  while (asked == 0) std::this_thread::yield();
  watch.SetProbe({});
  const int then = asked;
  Wait();
  EXPECT_EQ(asked, then);
}

}  // namespace
}  // namespace octet::comm
