// How a group of GPUs forms, which calls it makes, and how it ends when NCCL fails or a rank is
// lost. What it computes is in communicator_parity_test.cc.
#include "comm/nccl/nccl_communicator.h"

#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

#include "tests/comm/nccl/nccl_world.h"
#include "tests/comm/rank_array.h"
#include "tests/comm/tree_cases.h"
#include "tests/comm/worlds.h"

namespace octet::comm {
namespace {

using std::chrono::milliseconds;

constexpr CommunicatorLimits kLimits = {
    .gather_bytes_max = 1 << 16, .reduce_floats_max = 1 << 14, .broadcast_bytes_max = 1 << 12};

// The sentences of the ranks that could not form a group; `options` are changed for each rank.
std::set<std::string> Refusals(int ranks, const std::function<void(int, NcclOptions*)>& change) {
  std::mutex mutex;
  std::set<std::string> sentences;
  RunOnThreads(ranks, kLimits, [&](Communicator& control) {
    GroupWatch watch({.rank = control.rank()});
    NcclOptions options = {.library = OCTET_FAKE_NCCL};
    change(control.rank(), &options);
    const auto made = NcclCommunicator::Create({&control, &watch, nullptr}, kLimits, options);
    const std::lock_guard lock(mutex);
    sentences.insert(made.ok() ? "formed" : made.status().message());
  });
  return sentences;
}

TEST(NcclGroupTest, FailsOnAllRanksWhenOneHasNoLibrary) {
  const std::set<std::string> said = Refusals(3, [](int rank, NcclOptions* options) {
    if (rank == 1) options->library = "libm.so.6";
  });
  EXPECT_EQ(said, std::set<std::string>{"rank 1: libm.so.6 is not NCCL: it has no ncclGetVersion"});
}

TEST(NcclGroupTest, FailsOnAllRanksWhenKindsOfDevicesDiffer) {
  const std::set<std::string> said = Refusals(2, [](int rank, NcclOptions* options) {
    options->device_kind = rank == 0 ? "cuda 9.0" : "cuda 8.0";
  });
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said.begin()->find("rank 1 has device kind cuda 8.0"), std::string::npos);
}

TEST(NcclGroupTest, FailsOnAllRanksWhenTwoAreOnOneGpu) {
  const auto same = [](int, NcclOptions* options) { options->device_uuid = "1a2b"; };
  const std::set<std::string> said = Refusals(2, same);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said.begin()->find("ranks 0 and 1 are both on the GPU 1a2b"), std::string::npos);
}

TEST(NcclGroupTest, FailsOnAllRanksWhenOneCanNotJoin) {
  const int aborts = Fake().aborts;
  Fake().init_result = 2;
  Fake().init_result_rank = 1;
  const std::set<std::string> said = Refusals(3, [](int, NcclOptions*) {});
  Fake().init_result_rank = -1;
  EXPECT_EQ(said, std::set<std::string>{"rank 1: NCCL 2.28.9 can not join the group: some fake "
                                        "error: the fake's last words"});
  EXPECT_EQ(Fake().aborts, aborts + 2);  // those that had joined leave without the others
}

TEST(NcclGroupTest, OneRankNeedsNoLibrary) {
  SingleCommunicator control;
  GroupWatch watch({});
  const auto made = MakeGpuCommunicator({&control, &watch, nullptr}, kLimits,
                                        {.library = "libnccl_of_nobody.so"});
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ((*made)->size(), 1);
}

TEST(NcclGroupTest, SeveralRanksComeToNccl) {
  RunOnThreads(2, kLimits, [](Communicator& control) {
    GroupWatch watch({.rank = control.rank()});
    const auto made =
        MakeGpuCommunicator({&control, &watch, nullptr}, kLimits, {.library = OCTET_FAKE_NCCL});
    ASSERT_TRUE(made.ok()) << made.status().message();
    EXPECT_EQ((*made)->size(), 2);
  });
}

TEST(NcclGroupTest, OnOneHostNcclListensOnLoopbackUnlessItIsTold) {
  unsetenv("NCCL_SOCKET_IFNAME");
  EXPECT_EQ(Refusals(2, [](int, NcclOptions*) {}), std::set<std::string>{"formed"});
  EXPECT_STREQ(getenv("NCCL_SOCKET_IFNAME"), "=lo");
  setenv("NCCL_SOCKET_IFNAME", "eth7", 1);
  EXPECT_EQ(Refusals(2, [](int, NcclOptions*) {}), std::set<std::string>{"formed"});
  EXPECT_STREQ(getenv("NCCL_SOCKET_IFNAME"), "eth7");
  unsetenv("NCCL_SOCKET_IFNAME");
}

TEST(NcclGroupTest, AreaIsBoundedAndAFunctionOfTheLimits) {
  EXPECT_EQ(NcclAreaBytes({}, 8), 64 * 32 * 4);
  EXPECT_EQ(NcclAreaBytes({.reduce_floats_max = 1 << 10}, 4), (4 << 12) + 64 * 32 * 4);
  EXPECT_LE(NcclAreaBytes({.reduce_floats_max = int64_t{1} << 33}, 8),
            kNcclAreaBytesMax + 64 * 32 * 4);
}

// The calls of one sum, over all ranks.
struct Calls {
  int all_gathers;
  int groups;
  bool operator==(const Calls&) const = default;
};
void PrintTo(const Calls& calls, std::ostream* out) {
  *out << calls.all_gathers << " all-gathers, " << calls.groups << " groups";
}

Calls CallsOfASum(int ranks, Deal deal, int64_t count, bool by_slices) {
  const TreeCase sum = MakeTreeCase(SumTree::OverInputs(1024), ranks, deal, count, 5);
  const Calls before = {Fake().all_gathers, Fake().groups};
  RunOnThreads(ranks, kLimits, [&](Communicator& control) {
    RunOnNccl(control, kLimits, by_slices, [&](Communicator& comm, Stream& stream) {
      const RankArray<float> roots(sum.roots[comm.rank()], stream);
      RankArray<float> out(std::vector<float>(count), stream);
      comm.TreeAllReduce(sum.exchange, roots.data(), out.data(), count, stream);
    });
  });
  return {Fake().all_gathers - before.all_gathers, Fake().groups - before.groups};
}

TEST(NcclTrafficTest, AShortSumIsOneExchange) {
  EXPECT_EQ(CallsOfASum(4, Deal::kEven, 64, false), (Calls{4, 0}));
  EXPECT_EQ(CallsOfASum(3, Deal::kEven, 64, false), (Calls{0, 3}));  // 3, 3 and 2 leaves
}

TEST(NcclTrafficTest, ALongSumIsTwo) {
  EXPECT_EQ(CallsOfASum(4, Deal::kEven, 256, true), (Calls{4, 4}));
  EXPECT_EQ(CallsOfASum(4, Deal::kEven, 260, true), (Calls{0, 8}));  // slices of two lengths
}

TEST(NcclTrafficTest, GatheredRootsLieInRankOrder) {
  const TreeCase sum = MakeTreeCase(SumTree::OverInputs(1024), 3, Deal::kEven, 40, 6);
  std::vector<float> expected;
  for (const auto& own : sum.roots) expected.insert(expected.end(), own.begin(), own.end());
  RunOnThreads(3, kLimits, [&](Communicator& control) {
    RunOnNccl(control, kLimits, false, [&](Communicator& comm, Stream& stream) {
      const RankArray<float> roots(sum.roots[comm.rank()], stream);
      const float* gathered = comm.GatherRoots(sum.exchange, roots.data(), 40, stream);
      ASSERT_NE(gathered, nullptr);
      std::vector<float> found(expected.size());
      CopyToHost(found.data(), gathered, static_cast<int64_t>(found.size() * sizeof(float)),
                 stream);
      Synchronize(stream);
      EXPECT_EQ(found, expected);
    });
    RunOnNccl(control, kLimits, true, [&](Communicator& comm, Stream& stream) {
      const RankArray<float> roots(sum.roots[comm.rank()], stream);
      EXPECT_EQ(comm.GatherRoots(sum.exchange, roots.data(), 40, stream), nullptr);
    });
  });
}

// Two ranks form a group and gather once; `spoil` is called on rank 0 in between.
void GatherOnTwo(const std::function<void()>& spoil, milliseconds deadline = milliseconds(0)) {
  RunOnThreads(2, kLimits, [&](Communicator& control) {
    GroupWatch watch({.rank = control.rank(), .deadline = deadline});
    const auto made = NcclCommunicator::Create({&control, &watch, nullptr}, kLimits,
                                               {.library = OCTET_FAKE_NCCL});
    if (control.rank() == 0) spoil();
    control.Barrier();
    const Result<std::unique_ptr<Gpu>> gpu = Gpu::Open({});
    const std::vector<int64_t> bytes = {4, 4};
    std::vector<std::byte> data(12);
    const GroupWatch::Work work(&watch);
    (*made)->AllGather({data.data(), 4}, bytes, {data.data() + 4, 8}, (*gpu)->stream());
  });
}

class NcclLossDeathTest : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(NcclLossDeathTest, ARankThatSaysNothingEndsTheOthersAtTheDeadline) {
  EXPECT_EXIT(GatherOnTwo([] { Fake().mute_rank = 1; }, milliseconds(200)),
              testing::ExitedWithCode(kStoppedExitCode),
              "octet: rank [01]: nothing came back from the ranks for 200 ms.*\n"
              "fake NCCL: rank [01] aborts");
}

TEST_F(NcclLossDeathTest, AnErrorInTheBackgroundEndsTheRank) {
  const auto spoil = [] {
    Fake().mute_rank = 1;  // so that the gather waits
    Fake().async_error = 6;
  };
  EXPECT_EXIT(GatherOnTwo(spoil), testing::ExitedWithCode(kStoppedExitCode),
              "rank [01]: NCCL met an error: remote process exited: the fake's last words\n"
              "fake NCCL: rank [01] aborts");
}

TEST_F(NcclLossDeathTest, ACallThatFailsEndsTheRankAndNamesTheCall) {
  EXPECT_EXIT(GatherOnTwo([] { Fake().call_result = 1; }),
              testing::ExitedWithCode(kStoppedExitCode),
              "rank [01]: NCCL failed at .*nccl_communicator.cc:[0-9]+: nccl_.all_gather.*: some "
              "fake error: the fake's last words");
}

TEST_F(NcclLossDeathTest, AnAbortThatHangsDoesNotKeepTheRank) {
  const auto spoil = [] {
    Fake().mute_rank = 0;
    Fake().abort_hangs = true;
  };
  EXPECT_EXIT(GatherOnTwo(spoil, milliseconds(200)), testing::ExitedWithCode(kStoppedExitCode),
              "nothing came back");
}

TEST_F(NcclLossDeathTest, ARankThatNeverJoinsEndsTheOthersAtTheDeadline) {
  const auto join = [] {
    Fake().absent_rank = 1;
    GatherOnTwo([] {}, milliseconds(200));
  };
  EXPECT_EXIT(join(), testing::ExitedWithCode(kStoppedExitCode), "nothing came back");
}

}  // namespace
}  // namespace octet::comm
