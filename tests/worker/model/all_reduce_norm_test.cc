// Which way the sum and the norm go, and that each gives the same bits.
#include "worker/model/all_reduce_norm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "comm/counting.h"
#include "comm/single.h"
#include "comm/threads.h"

namespace octet {
namespace {

constexpr int64_t kRows = 3;
constexpr int64_t kHidden = 40;
const ExchangeTree kTwoRoots = {.roots_of_rank = {2}, .merges = {0, 1}};

// Gathers nothing, as where sums go by slices.
class SummingCommunicator final : public comm::Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void Barrier() override {}
  void Broadcast(std::span<std::byte>, int) override {}
  void AllGather(std::span<const std::byte> send, std::span<const int64_t> bytes,
                 std::span<std::byte> recv, Stream& stream) override {
    single_.AllGather(send, bytes, recv, stream);
  }
  void TreeAllReduce(const ExchangeTree& tree, const float* roots, float* out, int64_t count,
                     Stream& stream) override {
    ++sums_;
    single_.TreeAllReduce(tree, roots, out, count, stream);
  }
  float* RootsPlace(const ExchangeTree&, int64_t) override { return nullptr; }
  const float* GatherRoots(const ExchangeTree&, const float*, int64_t, Stream&) override {
    return nullptr;
  }
  int sums() const { return sums_; }

 private:
  comm::SingleCommunicator single_;
  int sums_ = 0;
};

// [count], different everywhere.
std::vector<float> Ramp(int64_t count, float step) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = 0.5f + step * static_cast<float>(i % 97);
  return values;
}

struct Normed {
  std::vector<float> residual;
  std::vector<float> y;
  bool operator==(const Normed&) const = default;
};

Normed SumAndNorm(comm::Communicator& comm) {
  ThreadPool pool(1);
  Stream stream(&pool);
  Normed result = {Ramp(kRows * kHidden, 0.37f), std::vector<float>(kRows * kHidden)};
  const std::vector<float> roots = Ramp(2 * kRows * kHidden, -0.013f);
  const std::vector<float> weight = Ramp(kHidden, 0.11f);
  std::vector<float> delta(kRows * kHidden);
  worker::TreeAllReduceAddNorm(comm,
                               {.tree = &kTwoRoots,
                                .roots = roots.data(),
                                .delta = delta.data(),
                                .norm = {.residual = result.residual.data(),
                                         .weight = weight.data(),
                                         .y = result.y.data(),
                                         .rows = kRows,
                                         .hidden = kHidden,
                                         .delta_bias = weight.data()}},
                               stream);
  return result;
}

TEST(AllReduceNormTest, AddsGatheredRootsElseTakesTwoSteps) {
  SummingCommunicator summing;
  const Normed in_steps = SumAndNorm(summing);
  EXPECT_EQ(summing.sums(), 1);
  comm::SingleCommunicator single;
  EXPECT_EQ(SumAndNorm(single), in_steps);

  // And they are what they should be: the first element by hand.
  const float expected = 0.5f + (0.5f + (0.5f - 0.013f * static_cast<float>(kRows * kHidden % 97)));
  EXPECT_EQ(in_steps.residual[0], expected + 0.5f);
}

// Rows that go in several runs, the last a short one, and rows few enough to be written where the
// other rank reads them, give what a sum made at once gives.
void CompareWithOneSum(int64_t rows, int64_t hidden, bool expect_place, int64_t expect_exchanges) {
  const int64_t count = rows * hidden;
  const ExchangeTree tree = {.roots_of_rank = {1, 1}, .merges = {0, 1}};
  const std::vector<float> roots[2] = {Ramp(count, -0.013f), Ramp(count, 0.57f)};
  const std::vector<float> weight = Ramp(hidden, 0.11f);
  ThreadPool pools[] = {ThreadPool(1), ThreadPool(1), ThreadPool(1)};
  const auto norm_of = [&](Normed& to) {
    to = {Ramp(count, 0.37f), std::vector<float>(count)};
    return kernels::AddNormArgs{.residual = to.residual.data(),
                                .weight = weight.data(),
                                .y = to.y.data(),
                                .rows = rows,
                                .hidden = hidden};
  };
  Normed whole;
  std::vector<float> sum(count);
  for (int64_t i = 0; i < count; ++i) sum[i] = roots[0][i] + roots[1][i];
  kernels::AddNormArgs at_once = norm_of(whole);
  at_once.delta = sum.data();
  Stream stream(&pools[2]);
  kernels::AddNorm(at_once, stream);

  comm::ThreadGroup group(2, {.reduce_floats_max = count});
  const auto run = [&](int rank) {
    Stream own(&pools[rank]);
    comm::CountingCommunicator comm(&group.communicator(rank));
    // Twice: the area of the first is read while the second's is written.
    for (int turn = 0; turn < 2; ++turn) {
      Normed result;
      std::vector<float> delta(count);
      const float* own_roots = roots[rank].data();
      float* place = comm.RootsPlace(tree, count);
      EXPECT_EQ(place != nullptr, expect_place);
      if (place != nullptr) {
        std::copy(roots[rank].begin(), roots[rank].end(), place);
        own_roots = place;
      }
      worker::TreeAllReduceAddNorm(
          comm, {.tree = &tree, .roots = own_roots, .delta = delta.data(), .norm = norm_of(result)},
          own);
      EXPECT_EQ(result, whole);
      EXPECT_EQ(comm.counts().collectives(), (turn + 1) * expect_exchanges);
    }
  };
  std::thread other(run, 1);
  run(0);
  other.join();
}
TEST(AllReduceNormTest, RunsOfRowsKeepTheBits) { CompareWithOneSum(300, 1008, false, 3); }
TEST(AllReduceNormTest, TheRowsOfADecodeStepAreOneExchange) {
  CompareWithOneSum(256, 2048, false, 1);
}
TEST(AllReduceNormTest, RootsInTheirPlaceKeepTheBits) { CompareWithOneSum(32, 1008, true, 1); }

}  // namespace
}  // namespace octet
