// The ordered sum and the wait word by themselves.
#include "comm/ordered_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <thread>

#include "comm/shared_group.h"
#include "comm/threads.h"
#include "tests/comm/tree_cases.h"

namespace octet::comm {
namespace {

std::vector<float> Sum(const std::vector<std::vector<float>>& roots,
                       const std::vector<int32_t>& merges, int64_t cut) {
  std::vector<const float*> pointers;
  for (const auto& root : roots) pointers.push_back(root.data());
  const auto count = static_cast<int64_t>(roots[0].size());
  std::vector<float> out(count);
  OrderedSum(pointers, merges, 0, cut, out.data());
  OrderedSum(pointers, merges, cut, count, out.data());
  return out;
}

// A random program over `roots` roots: after each, as many merges as drawn, and all at the end.
std::vector<int32_t> RandomMerges(int64_t roots, std::mt19937_64& random) {
  std::vector<int32_t> merges(roots, 0);
  int64_t depth = 0;
  for (int64_t i = 0; i < roots; ++i) {
    ++depth;
    merges[i] = static_cast<int32_t>(i + 1 == roots ? depth - 1 : random() % depth);
    depth -= merges[i];
  }
  return merges;
}

TEST(OrderedSum, FollowsAnyProgramBitForBit) {
  std::mt19937_64 random(5);
  for (int64_t roots = 1; roots <= kRootsMax; ++roots) {
    const int64_t count = 1 + static_cast<int64_t>(random() % 1500);
    std::vector<std::vector<float>> parts(roots, std::vector<float>(count));
    std::vector<float> flat;
    for (auto& part : parts) {
      for (float& value : part) value = WildFloat(random);
      flat.insert(flat.end(), part.begin(), part.end());
    }
    const std::vector<int32_t> merges = RandomMerges(roots, random);
    std::vector<float> expected;
    for (int64_t k = 0; k < count; ++k) {
      expected.push_back(ScalarTreeSum(flat.data() + k, count, merges));
    }
    const int64_t cut = static_cast<int64_t>(random() % (count + 1));
    const std::vector<float> found = Sum(parts, merges, cut);
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), count * sizeof(float)), 0)
        << roots << " roots, " << count << " elements";
  }
}

TEST(OrderedSum, OrderMattersForTheseFloats) {
  // Guards the tests: were every order the same, they would prove nothing.
  std::mt19937_64 random(6);
  int differ = 0;
  for (int i = 0; i < 100; ++i) {
    const float a = WildFloat(random), b = WildFloat(random), c = WildFloat(random),
                d = WildFloat(random);
    if ((a + b) + (c + d) != ((a + b) + c) + d) ++differ;
  }
  EXPECT_GT(differ, 20);
}

TEST(RootShare, FindsTheRanksPlace) {
  const ExchangeTree tree = {.roots_of_rank = {2, 0, 3}, .merges = {0, 1, 0, 1, 2}};
  const RootShare last = ShareOf(tree, 2, 3);
  EXPECT_EQ(last.total, 5);
  EXPECT_EQ(last.first, 2);
  EXPECT_EQ(last.own, 3);
  EXPECT_EQ(ShareOf(tree, 1, 3).own, 0);
}

// What a kernel keeps in registers is enough for every tree, at every degree and however uneven.
TEST(SumProgram, IsShallowForEveryTree) {
  std::vector<SumTree> trees;
  for (int64_t inputs = 128; inputs <= 65536; inputs += 128 + inputs / 7 / 128 * 128) {
    trees.push_back(SumTree::OverInputs(inputs));
  }
  for (const int64_t heads : {1, 7, 14, 32, 40, 64, 71, 96, 128}) {
    for (const int64_t kv_heads : {int64_t{1}, int64_t{2}, int64_t{5}, int64_t{8}, heads}) {
      if (heads % kv_heads == 0) trees.push_back(SumTree::OverHeads(heads, kv_heads, 64));
    }
  }
  int32_t deepest = 0;
  std::mt19937_64 random(7);
  for (const SumTree& tree : trees) {
    for (int ranks = 1; ranks <= tree.leaf_count(); ++ranks) {
      for (const Deal deal : {Deal::kEven, Deal::kEvenLast, Deal::kRandom}) {
        const auto ranges = DealLeaves(tree.leaf_count(), ranks, deal, random);
        const OrderedSumArgs program = SumProgramOf({{}, tree.MergesAcross(ranges)});
        deepest = std::max(deepest, program.depth);
      }
    }
  }
  EXPECT_GE(deepest, 5);  // else the bound is tested by nothing
}

TEST(RootShareDeathTest, RefusesAProgramThatLeavesTwoSums) {
  const ExchangeTree tree = {.roots_of_rank = {1, 1}, .merges = {0, 0}};
  EXPECT_DEATH(ShareOf(tree, 0, 2), "depth == 1");
}

TEST(SharedRegion, BytesAreAFunctionOfTheLimits) {
  const CommunicatorLimits small = {.gather_bytes_max = 100, .broadcast_bytes_max = 50000};
  EXPECT_EQ(AreaBytes(small, 2), 50048);  // whole lines
  EXPECT_EQ(SharedRegionBytes(small, 2), 2 * 50048 + 192);
  const CommunicatorLimits large = {.gather_bytes_max = int64_t{1} << 33,
                                    .reduce_floats_max = int64_t{1} << 33};
  EXPECT_LE(SharedRegionBytes(large, 32), int64_t{16} << 20);
}

// A lost wake-up costs a slice of the wait: were they all lost, this would outlast its time limit.
TEST(WaitWord, SleepersWake) {
  WaitWord there;
  WaitWord back;
  const WaitPolicy policy;  // no spins: straight to sleep
  constexpr uint32_t kRounds = 1000;
  std::thread other([&] {
    for (uint32_t value = 1; value <= kRounds; ++value) {
      there.WaitAtLeast(value, policy);
      back.Publish(value);
    }
  });
  for (uint32_t value = 1; value <= kRounds; ++value) {
    there.Publish(value);
    back.WaitAtLeast(value, policy);
  }
  other.join();
}

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

TEST(WaitWord, ASpinSeesTheValueAndEndsInSleep) {
  for (const int spin_us : {kSpinUs, 10'000'000}) {
    WaitWord word;
    std::atomic<bool> waits{false};
    double waiter_seconds = 0;
    std::thread waiter([&] {
      const double begin = ThreadSeconds();
      waits = true;
      word.WaitAtLeast(1, {.spin_us = spin_us});
      waiter_seconds = ThreadSeconds() - begin;
    });
    while (!waits) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    word.Publish(1);
    waiter.join();
    if (spin_us > kSpinUs) continue;
    EXPECT_LT(waiter_seconds, 0.05);  // of a processor, not of a clock
  }
}

TEST(WaitWord, CountsModuloTwoToTheThirtyTwo) {
  WaitWord word;
  word.Publish(0xfffffff0u);
  word.WaitAtLeast(0xffffff00u, {});
  word.Publish(5);
  word.WaitAtLeast(0xfffffff8u, {});
  word.WaitAtLeast(5, {});
}

TEST(StopFlagDeathTest, EndsTheProcessFromInsideAWait) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto wait_for_nobody = [] {
    std::atomic<bool> stop{false};
    ThreadGroup group(2, {}, &stop);
    std::thread stopper([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      stop = true;
    });
    group.communicator(0).Barrier();
    stopper.join();
  };
  EXPECT_EXIT(wait_for_nobody(), testing::ExitedWithCode(kStoppedExitCode),
              "rank 0 was told to stop");
}

}  // namespace
}  // namespace octet::comm
