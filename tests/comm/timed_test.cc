// Time in collectives is added up on a clock that the test moves; a broadcast's is not.
#include "comm/timed.h"

#include <gtest/gtest.h>

#include <array>

#include "comm/single.h"

namespace octet::comm {
namespace {

int64_t now_ns = 0;
int64_t Now() { return now_ns; }

// Each call takes the time it was told.
class SlowCommunicator final : public Communicator {
 public:
  int64_t call_ns = 0;
  bool gathers = false;
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void Barrier() override { now_ns += call_ns; }
  void Broadcast(std::span<std::byte>, int) override { now_ns += call_ns; }
  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes_of_rank,
                 std::span<std::byte> recv, Stream& stream) override {
    now_ns += call_ns;
    single_.AllGather(send, bytes_of_rank, recv, stream);
  }
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override {
    now_ns += call_ns;
    single_.TreeAllReduce(tree, roots, out, count, stream);
  }
  float* RootsPlace(const ExchangeTree&, int64_t) override { return nullptr; }
  const float* GatherRoots(const ExchangeTree&, const float* roots, int64_t, Stream&) override {
    now_ns += call_ns;
    return gathers ? roots : nullptr;
  }

 private:
  SingleCommunicator single_;
};

TEST(TimedCommunicatorTest, AddsUpCollectivesButNotBroadcasts) {
  ThreadPool pool(1);
  Stream stream(&pool);
  SlowCommunicator slow;
  std::atomic<uint64_t> done{0};
  TimedCommunicator timed(&slow, &done, Now);
  EXPECT_EQ(timed.rank(), 0);
  EXPECT_EQ(timed.size(), 1);
  EXPECT_EQ(timed.collective_us(), 0);
  slow.call_ns = 1500;
  timed.Barrier();
  EXPECT_EQ(timed.collective_us(), 1);
  timed.Barrier();
  EXPECT_EQ(timed.collective_us(), 3);  // parts of a microsecond are not lost

  slow.call_ns = 7000;
  std::array<std::byte, 4> data{};
  timed.Broadcast(data, 0);
  EXPECT_EQ(timed.collective_us(), 3);

  std::array<std::byte, 4> received{};
  data[2] = std::byte{9};
  const std::array<int64_t, 1> bytes = {4};
  timed.AllGather(data, bytes, received, stream);
  EXPECT_EQ(received, data);
  EXPECT_EQ(timed.collective_us(), 10);

  ExchangeTree tree;
  tree.roots_of_rank = {1};
  tree.merges = {0};
  const float root = 2.5f;
  float sum = 0;
  timed.TreeAllReduce(tree, &root, &sum, 1, stream);
  EXPECT_EQ(sum, 2.5f);
  EXPECT_EQ(timed.collective_us(), 17);
  EXPECT_EQ(done, 4u);

  // Gathered roots count like a sum; an offer that was not taken up is followed by one.
  EXPECT_EQ(timed.GatherRoots(tree, &root, 1, stream), nullptr);
  EXPECT_EQ(done, 4u);
  slow.gathers = true;
  EXPECT_EQ(timed.GatherRoots(tree, &root, 1, stream), &root);
  EXPECT_EQ(done, 5u);
}

}  // namespace
}  // namespace octet::comm
