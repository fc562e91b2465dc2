// The sentences of a rank whose device can not carry its plan, on made-up devices; and the buckets
// of rows.
#include "worker/engine/rank_device.h"

#include <gtest/gtest.h>

#include "tests/worker/engine/odd_model.h"
#include "worker/engine/row_buckets.h"

namespace octet::worker {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

DeviceInfo Card(int64_t total_bytes, int64_t free_bytes) {
  DeviceInfo info = PlannedGpu();
  info.index = 2;
  info.name = "Card";
  info.total_bytes = total_bytes;
  info.free_bytes = free_bytes;
  return info;
}

MemoryPlan PlanOf(int64_t weight_bytes) {
  MemoryPlan plan;
  plan.weight_bytes = weight_bytes;
  plan.kv_bytes = 2 * kGiB;
  plan.reserve = {.context_bytes = kGiB, .graph_bytes = kGiB, .communicator_bytes = 0};
  return plan;
}

TEST(RankDeviceTest, DealsOutOneGpuEach) {
  EXPECT_EQ(DeviceIndexOf(3, 4, false).value(), 3);
  EXPECT_EQ(DeviceIndexOf(5, 4, true).value(), 1);
  EXPECT_EQ(DeviceIndexOf(5, 1, false).value(), 0);  // the launcher shows each rank its own
  EXPECT_EQ(DeviceIndexOf(4, 4, false).status().message(),
            "rank number 4 of this host finds no GPU of its own, for there are 4; start fewer "
            "ranks here, or for a test let them share with --share-gpu");
  EXPECT_FALSE(DeviceIndexOf(0, 0, true).ok());
}

TEST(RankDeviceTest, APlanFitsOrTheSentenceHasItsNumbers) {
  // What the driver holds when the device is opened is in the reserve.
  EXPECT_TRUE(CheckPlanFits(PlanOf(4 * kGiB), Card(8 * kGiB, 7 * kGiB), 1).ok());
  const std::string busy = CheckPlanFits(PlanOf(4 * kGiB), Card(8 * kGiB, 5 * kGiB), 1).message();
  EXPECT_NE(busy.find("rank 1 needs 8589934592 bytes (weights 4294967296, KV cache 2147483648"),
            std::string::npos)
      << busy;
  EXPECT_NE(busy.find("GPU 2 (Card) has 8589934592 bytes, but 2147483648 of them are in use by "
                      "another process"),
            std::string::npos)
      << busy;
  const std::string small = CheckPlanFits(PlanOf(5 * kGiB), Card(8 * kGiB, 8 * kGiB), 0).message();
  EXPECT_NE(small.find("use more ranks"), std::string::npos) << small;
}

TEST(RankDeviceTest, TheRanksOfAHostFitItsMemoryTogether) {
  MemoryPlan plan;
  plan.weight_bytes = 2 * kGiB;
  plan.kv_bytes = kGiB;
  EXPECT_TRUE(CheckPlanFits(plan, 6 * kGiB, 2, 1).ok());
  const std::string message = CheckPlanFits(plan, 6 * kGiB - 1, 2, 1).message();
  EXPECT_NE(message.find("rank 1 needs 3221225472 bytes"), std::string::npos) << message;
  EXPECT_NE(message.find("its host has 6442450943 bytes for 2 ranks"), std::string::npos)
      << message;
}

TEST(RankDeviceTest, TheReserveIsNotExceeded) {
  const MemoryPlan plan = PlanOf(4 * kGiB);
  const DeviceInfo info = Card(10 * kGiB, 9 * kGiB);
  const auto check = [&](int64_t free_bytes) {
    return CheckReserve(plan, MeasureReserve(plan, info, free_bytes), info, 0);
  };
  EXPECT_TRUE(check(2 * kGiB).ok());
  EXPECT_EQ(check(2 * kGiB - 1).message(),
            "rank 0: graphs and NCCL of GPU 2 (Card) hold 1073741825 bytes, more than the "
            "1073741824 that are reserved for them");
  const DeviceInfo late = Card(10 * kGiB, 8 * kGiB);
  EXPECT_FALSE(CheckReserve(plan, MeasureReserve(plan, late, kGiB), late, 0).ok());
}

TEST(RankDeviceTest, TheFlagIsOneOfThree) {
  EXPECT_EQ(OpenRankDevice({.device = "tpu"}, 0).status().message(),
            "--device is 'tpu'; expected auto, cpu or cuda");
  EXPECT_EQ(OpenRankDevice({.device = "cpu"}, 0).value(), nullptr);
}

TEST(RowBucketsTest, AreCloseWhereRowsAreFew) {
  const std::vector<int64_t> buckets = RowBuckets(300);
  const std::vector<int64_t> expected = {1,  2,  4,   8,   16,  24,  32,  48,
                                         64, 96, 128, 160, 192, 224, 256, 300};
  EXPECT_EQ(buckets, expected);
  EXPECT_EQ(buckets[BucketOf(buckets, 1)], 1);
  EXPECT_EQ(buckets[BucketOf(buckets, 33)], 48);
  EXPECT_EQ(buckets[BucketOf(buckets, 300)], 300);
  EXPECT_EQ(RowBuckets(1), std::vector<int64_t>{1});
  EXPECT_EQ(RowBuckets(4096).back(), 4096);
}

}  // namespace
}  // namespace octet::worker
