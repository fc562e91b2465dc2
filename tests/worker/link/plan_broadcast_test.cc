// A plan of any size reaches every rank; one that fits takes one broadcast.
#include "worker/link/plan_broadcast.h"

#include <gtest/gtest.h>

#include <thread>

#include "comm/counting.h"
#include "comm/threads.h"
#include "worker/engine/engine_config.h"

namespace octet::worker {
namespace {

TEST(PlanBroadcastTest, PlansOfEverySizeArrive) {
  constexpr int kRanks = 3;
  std::vector<std::string> plans;
  for (const int64_t bytes :
       {int64_t{0}, int64_t{1}, kPlanMessageBytes - 8, kPlanMessageBytes - 7,
        2 * kPlanMessageBytes - 8, 2 * kPlanMessageBytes - 7, 20 * kPlanMessageBytes + 5}) {
    std::string plan(static_cast<size_t>(bytes), '\0');
    for (size_t i = 0; i < plan.size(); ++i) plan[i] = static_cast<char>(i * 31 + i / 256);
    plans.push_back(plan);
  }
  comm::ThreadGroup group(kRanks, {.broadcast_bytes_max = kPlanMessageBytes});
  std::vector<std::thread> threads;
  std::vector<std::vector<std::string>> received(kRanks);
  std::vector<int64_t> calls;  // of rank 0, for each plan
  for (int rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      comm::CountingCommunicator counting(&group.communicator(rank));
      PlanBroadcast broadcast(&counting);
      for (const std::string& plan : plans) {
        counting.Reset();
        const auto got = broadcast.Exchange(rank == 0 ? std::optional(plan) : std::nullopt);
        received[static_cast<size_t>(rank)].push_back(got.value_or("none"));
        if (rank == 0) calls.push_back(counting.counts().broadcast.calls);
      }
      EXPECT_FALSE(broadcast.Exchange(std::nullopt).has_value());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<std::string>& of_rank : received) EXPECT_TRUE(of_rank == plans);
  EXPECT_EQ(calls, (std::vector<int64_t>{1, 1, 1, 2, 2, 3, 21}));
}

TEST(PlanBroadcastTest, AShortPlanIsOneMessage) {
  comm::ThreadGroup group(1, {.broadcast_bytes_max = kPlanMessageBytes});
  comm::CountingCommunicator counting(&group.communicator(0));
  PlanBroadcast(&counting).Exchange("a plan");
  EXPECT_EQ(counting.counts().broadcast, (comm::Traffic{.calls = 1, .bytes = kPlanMessageBytes}));
}

}  // namespace
}  // namespace octet::worker
