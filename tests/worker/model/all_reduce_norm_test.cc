// Which way the sum and the norm go, and that each gives the same bits.
#include "worker/model/all_reduce_norm.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "comm/single.h"
#include "comm/threads.h"
#include "kernels/norm/sum_norm.h"

namespace octet {
namespace {

int sums_in_one_kernel = 0;
constexpr int64_t kRows = 3;
constexpr int64_t kHidden = 40;
const ExchangeTree kTwoRoots = {.roots_of_rank = {2}, .merges = {0, 1}};

// As NcclCommunicator does with few bytes, on the memory of the CPU.
class GatheringCommunicator final : public comm::Communicator {
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
    single_.TreeAllReduce(tree, roots, out, count, stream);
  }
  const float* GatherRoots(const ExchangeTree&, const float* roots, int64_t, Stream&) override {
    return roots;
  }

 private:
  comm::SingleCommunicator single_;
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

TEST(AllReduceNormTest, TakesOneKernelWhereRootsAreGatheredElseTwoSteps) {
  comm::SingleCommunicator single;  // gathers nothing on a CPU
  const Normed in_steps = SumAndNorm(single);
  EXPECT_EQ(sums_in_one_kernel, 0);
  GatheringCommunicator gathering;
  const Normed in_one = SumAndNorm(gathering);
  EXPECT_EQ(sums_in_one_kernel, 1);
  EXPECT_EQ(in_one, in_steps);

  // And they are what they should be: the first element by hand.
  const float expected = 0.5f + (0.5f + (0.5f - 0.013f * static_cast<float>(kRows * kHidden % 97)));
  EXPECT_EQ(in_steps.residual[0], expected + 0.5f);
}

// Rows enough for several runs, the last a short one, give what all of them at once give.
TEST(AllReduceNormTest, RunsOfRowsKeepTheBits) {
  constexpr int64_t kManyRows = 300;
  constexpr int64_t kWide = 1000;
  constexpr int64_t kCount = kManyRows * kWide;
  const ExchangeTree tree = {.roots_of_rank = {1, 1}, .merges = {0, 1}};
  const std::vector<float> roots[2] = {Ramp(kCount, -0.013f), Ramp(kCount, 0.57f)};
  const std::vector<float> weight = Ramp(kWide, 0.11f);
  ThreadPool pools[] = {ThreadPool(1), ThreadPool(1), ThreadPool(1)};
  const auto norm_of = [&](Normed& to) {
    to = {Ramp(kCount, 0.37f), std::vector<float>(kCount)};
    return kernels::AddNormArgs{.residual = to.residual.data(),
                                .weight = weight.data(),
                                .y = to.y.data(),
                                .rows = kManyRows,
                                .hidden = kWide};
  };
  Normed whole;
  std::vector<float> sum(kCount);
  for (int64_t i = 0; i < kCount; ++i) sum[i] = roots[0][i] + roots[1][i];
  kernels::AddNormArgs at_once = norm_of(whole);
  at_once.delta = sum.data();
  Stream stream(&pools[2]);
  kernels::AddNorm(at_once, stream);

  comm::ThreadGroup group(2, {.reduce_floats_max = kCount});
  const auto run = [&](int rank) {
    Stream own(&pools[rank]);
    Normed result;
    std::vector<float> delta(kCount);
    worker::TreeAllReduceAddNorm(group.communicator(rank),
                                 {.tree = &tree,
                                  .roots = roots[rank].data(),
                                  .delta = delta.data(),
                                  .norm = norm_of(result)},
                                 own);
    EXPECT_EQ(result, whole);
  };
  std::thread other(run, 1);
  run(0);
  other.join();
}

}  // namespace

// Stands in for the kernel.
void kernels::cuda::SumAddNorm(const SumAddNormArgs& args, Stream& stream) {
  ++sums_in_one_kernel;
  std::vector<float> delta(args.norm.rows * args.norm.hidden);
  comm::SingleCommunicator single;
  single.TreeAllReduce(*args.tree, args.roots, delta.data(), static_cast<int64_t>(delta.size()),
                       stream);
  AddNormArgs norm = args.norm;
  norm.delta = delta.data();
  kernels::AddNorm(norm, stream);
}

}  // namespace octet
