// The sentences by which a group that can not compute together is refused.
#include "comm/group_agreement.h"

#include <gtest/gtest.h>

#include "tests/comm/worlds.h"

namespace octet::comm {
namespace {

std::vector<RankIdentity> ThreeRanks() {
  std::vector<RankIdentity> ranks(3);
  for (int r = 0; r < 3; ++r) {
    ranks[r] = {.build = "1.0 abc",
                .device_kind = "cuda 9.0",
                .host = "boot/1",
                .device_uuid = "gpu-" + std::to_string(r),
                .nccl_version = 22809,
                .pid = 100 + r};
  }
  return ranks;
}

TEST(GroupAgreementTest, EqualRanksAgree) {
  EXPECT_TRUE(CheckAgreement(ThreeRanks()).ok());
  EXPECT_TRUE(CheckDevices(ThreeRanks(), false).ok());
}

TEST(GroupAgreementTest, NamesTheFirstRankThatDiffersAndHow) {
  auto ranks = ThreeRanks();
  ranks[2].build = "1.0 def";
  EXPECT_EQ(CheckAgreement(ranks).message(),
            "rank 2 has build 1.0 def, rank 0 has 1.0 abc: all ranks must have the same, or their "
            "results would differ");
  ranks = ThreeRanks();
  ranks[1].device_kind = "cuda 8.0";
  EXPECT_EQ(CheckAgreement(ranks).message(),
            "rank 1 has device kind cuda 8.0, rank 0 has cuda 9.0: all ranks must have the same, "
            "or their results would differ");
  ranks = ThreeRanks();
  ranks[1].nccl_version = 22700;
  EXPECT_NE(CheckAgreement(ranks).message().find("rank 1 has NCCL 2.27.0, rank 0 has 2.28.9"),
            std::string::npos);
}

TEST(GroupAgreementTest, ARanksProblemComesFirst) {
  auto ranks = ThreeRanks();
  ranks[1].problem = "there is no GPU";
  ranks[1].device_kind = "";
  EXPECT_EQ(CheckAgreement(ranks).message(), "rank 1: there is no GPU");
}

TEST(GroupAgreementTest, TwoRanksOnOneGpuNeedTheSwitch) {
  auto ranks = ThreeRanks();
  ranks[2].device_uuid = ranks[0].device_uuid;
  EXPECT_EQ(CheckDevices(ranks, false).message(),
            "ranks 0 and 2 are both on the GPU gpu-0: start at most one rank for each GPU (--tp), "
            "or pass --share-gpu, which is slow and only meant for tests");
  EXPECT_TRUE(CheckDevices(ranks, true).ok());
  for (RankIdentity& rank : ranks) rank.device_uuid = "";  // CPU ranks have none to share
  EXPECT_TRUE(CheckDevices(ranks, false).ok());
}

TEST(GroupAgreementTest, WatchesOnlyProcessesOfTheSameTable) {
  auto ranks = ThreeRanks();
  ranks[1].host = "boot/2";
  const std::vector<PeerProcess> peers = PeersOf(ranks, 0);
  ASSERT_EQ(peers.size(), 1u);
  EXPECT_EQ(peers[0].rank, 2);
  EXPECT_EQ(peers[0].pid, 102);
  ranks[2].pid = ranks[0].pid;  // ranks that are threads
  EXPECT_TRUE(PeersOf(ranks, 0).empty());
  for (RankIdentity& rank : ranks) rank.host = "";
  EXPECT_TRUE(PeersOf(ranks, 1).empty());
}

TEST(GroupAgreementTest, LongTextsAreCutOff) {
  const FixedText<8> text(std::string_view("0123456789"));
  EXPECT_EQ(text.view(), "0123456");
}

TEST(GroupAgreementTest, EveryRankHearsOfAll) {
  RunOnThreads(4, {.broadcast_bytes_max = sizeof(RankIdentity)}, [](Communicator& comm) {
    const RankIdentity own = {.pid = 10 + comm.rank(),
                              .problem = "p" + std::to_string(comm.rank())};
    const std::vector<RankIdentity> ranks = ExchangeIdentities(comm, own);
    for (int r = 0; r < 4; ++r) {
      EXPECT_EQ(ranks[r].pid, 10 + r);
      EXPECT_EQ(ranks[r].problem.view(), "p" + std::to_string(r));
    }
  });
}

}  // namespace
}  // namespace octet::comm
