// The kernels of comm: the bits of the ordered sum on the CPU, and bytes that arrive. On the
// emulator and, the same source, on a GPU.
#include <gtest/gtest.h>

#include <cstring>

#include "comm/copy_bytes.h"
#include "comm/ordered_sum.h"
#include "comm/single.h"
#include "tests/comm/tree_cases.h"
#include "tests/support/test_device.h"

namespace octet::comm {
namespace {

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// All ranks' roots, one behind the other.
std::vector<float> RootsOf(const TreeCase& sum) {
  std::vector<float> roots;
  for (const auto& own : sum.roots) roots.insert(roots.end(), own.begin(), own.end());
  return roots;
}

// The sum by the kernel of elements [begin, begin + count) of all roots.
std::vector<float> KernelSum(const TreeCase& sum, int64_t begin, int64_t count, Stream& stream) {
  const auto stride = static_cast<int64_t>(sum.sum.size());
  const DeviceBuffer roots = test::ToDevice(RootsOf(sum), stream);
  const DeviceBuffer out = test::ToDevice(std::vector<float>(count, -1.0f), stream);
  OrderedSumArgs args = SumProgramOf(sum.exchange);
  for (int32_t i = 0; i < args.root_count; ++i) {
    args.roots[i] = roots.as<const float>() + i * stride + begin;
  }
  args.out = out.as<float>();
  args.count = count;
  cuda::OrderedSum(args, stream);
  return test::ToHost<float>(out, stream);
}

class OrderedSumCudaTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
  Stream& stream() { return test::TestGpu()->stream(); }
};

TEST_F(OrderedSumCudaTest, HasTheBitsOfTheUnshardedSumAtEveryDegree) {
  uint64_t seed = 1;
  for (const SumTree& tree :
       {SumTree::OverInputs(1024), SumTree::OverInputs(29568), SumTree::OverHeads(14, 2, 64)}) {
    for (const int ranks : {1, 2, 3, 5, 8}) {
      for (const Deal deal : {Deal::kEven, Deal::kRandom}) {
        for (const int64_t count :
             {1, 7, 260, 516}) {  // by ones; by fours with a tail of the block
          const TreeCase sum = MakeTreeCase(tree, ranks, deal, count, ++seed);
          EXPECT_TRUE(SameBits(KernelSum(sum, 0, count, stream()), sum.sum))
              << ranks << " ranks, " << count << " elements, seed " << seed;
        }
      }
    }
  }
}

// Every leaf a root of its own: more than are loaded at once, and the deepest stack.
TEST_F(OrderedSumCudaTest, AddsManyRoots) {
  const SumTree tree = SumTree::OverInputs(16384);
  const auto ranks = static_cast<int>(tree.leaf_count());
  EXPECT_EQ(ranks, 32);
  const TreeCase sum = MakeTreeCase(tree, ranks, Deal::kEven, 132, 9);
  EXPECT_TRUE(SameBits(KernelSum(sum, 0, 132, stream()), sum.sum));
}

TEST_F(OrderedSumCudaTest, AnElementsBitsDoNotDependOnItsPlace) {
  const TreeCase sum = MakeTreeCase(SumTree::OverInputs(1024), 3, Deal::kEven, 300, 11);
  for (const auto& [begin, count] : {std::pair{0, 4}, {1, 4}, {4, 128}, {3, 297}}) {
    const std::vector<float> expected(sum.sum.begin() + begin, sum.sum.begin() + begin + count);
    EXPECT_TRUE(SameBits(KernelSum(sum, begin, count, stream()), expected)) << begin;
  }
}

TEST_F(OrderedSumCudaTest, AGroupOfOneRankSumsAndGathersOnTheDevice) {
  const TreeCase sum = MakeTreeCase(SumTree::OverInputs(1024), 1, Deal::kEven, 36, 13);
  const DeviceBuffer roots = test::ToDevice(sum.roots[0], stream());
  const DeviceBuffer out = test::ToDevice(std::vector<float>(36, -1.0f), stream());
  SingleCommunicator single;
  single.TreeAllReduce(sum.exchange, roots.as<const float>(), out.as<float>(), 36, stream());
  EXPECT_TRUE(SameBits(test::ToHost<float>(out, stream()), sum.sum));
  EXPECT_EQ(single.GatherRoots(sum.exchange, roots.as<const float>(), 36, stream()),
            roots.as<const float>());
  for (const int64_t bytes : {144, 3, 0}) {
    const DeviceBuffer recv = test::ToDevice(std::vector<std::byte>(bytes, std::byte{7}), stream());
    single.AllGather({roots.data(), static_cast<size_t>(bytes)}, std::span(&bytes, 1),
                     {recv.data(), static_cast<size_t>(bytes)}, stream());
    const auto found = test::ToHost<std::byte>(recv, stream());
    EXPECT_EQ(std::memcmp(found.data(), sum.roots[0].data(), static_cast<size_t>(bytes)), 0);
  }
}

}  // namespace
}  // namespace octet::comm
