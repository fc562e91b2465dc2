#include "coordinator/workers/process.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>

#include "tests/coordinator/support/program.h"

namespace octet::workers {
namespace {

constexpr double kWaitSeconds = 10;

std::unique_ptr<Process> Shell(
    const std::string& script, std::vector<std::string> environment = {},
    std::function<void()> on_exit = [] {}) {
  auto process =
      Process::Start({{"sh", "-c", script}, std::move(environment), "test"}, std::move(on_exit));
  EXPECT_TRUE(process.ok()) << process.status().message();
  return std::move(*process);
}

// Until the shell has written `line`.
bool WaitLine(const Process& process, const std::string& line) {
  for (int i = 0; i < 1000; ++i) {
    for (const std::string& have : process.LastLines())
      if (have == line) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST(Process, ItsExitAndItsLinesAreKept) {
  std::atomic<int> exits{0};
  auto process = Shell("echo one; echo two >&2; printf three; exit 3", {}, [&exits] { ++exits; });
  ASSERT_TRUE(process->WaitExit(kWaitSeconds));
  EXPECT_EQ(process->DescribeExit(), "exited with code 3");
  EXPECT_TRUE(WaitLine(*process, "three"));
  EXPECT_EQ(process->LastLines(), (std::vector<std::string>{"one", "two", "three"}));
  process.reset();
  EXPECT_EQ(exits, 1);
}

TEST(Process, OnlyTheLastLinesAreKept) {
  auto process = Shell("i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done");
  ASSERT_TRUE(WaitLine(*process, "line 99"));
  EXPECT_EQ(process->LastLines().size(), kOutputLinesKept);
  EXPECT_EQ(process->LastLines().front(), "line 60");
}

TEST(Process, ProgressIsNoLine) {
  auto process = Shell("echo one; printf '\\r10 %%\\n'; echo two");
  ASSERT_TRUE(WaitLine(*process, "two"));
  EXPECT_EQ(process->LastLines(), (std::vector<std::string>{"one", "two"}));
}

TEST(Process, ALineWithoutEndIsCut) {
  auto process = Shell("head -c 10000 /dev/zero | tr '\\0' 'x'; echo; echo end");
  ASSERT_TRUE(WaitLine(*process, "end"));
  const auto lines = process->LastLines();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0].size(), kOutputLineBytesMax);
  EXPECT_EQ(lines[2].size(), 10000 - 2 * kOutputLineBytesMax);
}

TEST(Process, TheWholeGroupIsSignalled) {
  auto process = Shell("sleep 100 & echo $!; echo started; wait");
  ASSERT_TRUE(WaitLine(*process, "started"));
  const pid_t child = std::stoi(process->LastLines().front());
  process->SignalGroup(SIGTERM);
  ASSERT_TRUE(process->WaitExit(kWaitSeconds));
  EXPECT_EQ(process->DescribeExit(), "was ended by signal 15 (Terminated)");
  for (int i = 0; i < 500 && fakes::IsAlive(child); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_FALSE(fakes::IsAlive(child));
  process->SignalGroup(SIGKILL);  // of nobody
}

TEST(Process, OneThatHoldsThePipeOpenIsNotWaitedFor) {
  // The child leaves the group and keeps the output.
  auto process = Shell("setsid sleep 5 & echo away; exit 0");
  ASSERT_TRUE(process->WaitExit(kWaitSeconds));
  process.reset();
}

TEST(Process, TheEnvironmentIsOursWithAdditions) {
  setenv("OCTET_TEST_KEPT", "kept", 1);
  setenv("OCTET_TEST_REPLACED", "old", 1);
  auto process = Shell("echo $OCTET_TEST_KEPT $OCTET_TEST_REPLACED; cat; echo end",
                       {"OCTET_TEST_REPLACED=new"});
  ASSERT_TRUE(WaitLine(*process, "end"));  // its input is empty: cat returns
  EXPECT_EQ(process->LastLines().front(), "kept new");
}

TEST(Process, WhatCanNotBeStartedIsSaid) {
  const auto process = Process::Start({{"/no/such/program"}, {}, "test"}, [] {});
  EXPECT_EQ(process.status().message(),
            "/no/such/program can not be started (No such file or directory)");
}

TEST(DescribeWaitStatus, ALaunchersCodeNamesTheSignal) {
  EXPECT_EQ(DescribeWaitStatus(137 << 8),
            "exited with code 137: a process was ended by signal 9 (Killed)");
  EXPECT_EQ(DescribeWaitStatus(0), "exited with code 0");
}

}  // namespace
}  // namespace octet::workers
