// The tree by known examples, and by the property it exists for: however its leaves are dealt to
// ranks, the sum has the bits of the whole.
#include "base/sum_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

namespace octet {
namespace {

std::vector<int64_t> LeafSizes(const SumTree& tree) {
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < tree.leaf_count(); ++i) {
    sizes.push_back(tree.bounds()[i + 1] - tree.bounds()[i]);
  }
  return sizes;
}

std::vector<LeafRange> Consecutive(const std::vector<int64_t>& bounds) {
  std::vector<LeafRange> ranges;
  for (size_t r = 0; r + 1 < bounds.size(); ++r) ranges.push_back({bounds[r], bounds[r + 1]});
  return ranges;
}

TEST(LeafTarget, IsAPowerOfTwoFromEightToThirtyTwo) {
  EXPECT_EQ(LeafTarget(256), 8);
  EXPECT_EQ(LeafTarget(1024), 8);
  EXPECT_EQ(LeafTarget(8191), 8);
  EXPECT_EQ(LeafTarget(8192), 16);
  EXPECT_EQ(LeafTarget(16383), 16);
  EXPECT_EQ(LeafTarget(16384), 32);
  EXPECT_EQ(LeafTarget(1 << 20), 32);
}

TEST(SumTreeOverInputs, KnownExamples) {
  EXPECT_EQ(LeafSizes(SumTree::OverInputs(1024)), std::vector<int64_t>(8, 128));
  EXPECT_EQ(LeafSizes(SumTree::OverInputs(8192)), std::vector<int64_t>(16, 512));
  EXPECT_EQ(LeafSizes(SumTree::OverInputs(256)), std::vector<int64_t>(2, 128));
  EXPECT_EQ(LeafSizes(SumTree::OverInputs(128)), std::vector<int64_t>{128});
  EXPECT_EQ(LeafSizes(SumTree::OverInputs(100)), std::vector<int64_t>{100});
  EXPECT_EQ(LeafSizes(SumTree::OverInputs(300)), (std::vector<int64_t>{128, 128, 44}));
}

TEST(SumTreeOverInputs, LargerHalfComesFirst) {
  const SumTree tree = SumTree::OverInputs(29568);  // 231 grains
  ASSERT_EQ(tree.leaf_count(), 32);
  for (const int64_t size : LeafSizes(tree)) {
    EXPECT_TRUE(size == 7 * kGrainInputs || size == 8 * kGrainInputs) << size;
  }
  EXPECT_EQ(tree.bounds()[16], 116 * kGrainInputs);
  EXPECT_EQ(tree.bounds()[8], 58 * kGrainInputs);
  EXPECT_EQ(LeafSizes(tree).front(), 8 * kGrainInputs);
  EXPECT_EQ(LeafSizes(tree).back(), 7 * kGrainInputs);
}

TEST(SumTreeOverHeads, KnownExamples) {
  EXPECT_EQ(LeafSizes(SumTree::OverHeads(8, 2, 32)), std::vector<int64_t>(8, 32));
  EXPECT_EQ(LeafSizes(SumTree::OverHeads(64, 8, 128)), std::vector<int64_t>(16, 512));
  // 14 heads of 2 kv heads: 7 query heads each, cut 4 + 3, then 2 + 2 and 2 + 1.
  EXPECT_EQ(LeafSizes(SumTree::OverHeads(14, 2, 64)),
            (std::vector<int64_t>{128, 128, 128, 64, 128, 128, 128, 64}));
  EXPECT_EQ(SumTree::OverHeads(1, 1, 4096).leaf_count(), 1);
}

TEST(SumTreeOverHeads, LeavesAreWholeHeadsInsideOneKvHead) {
  for (const int64_t kv_heads : {1, 2, 3, 4, 5, 8, 12}) {
    for (const int64_t group : {1, 2, 3, 4, 7, 8}) {
      const int64_t head_dim = 64;
      const SumTree tree = SumTree::OverHeads(kv_heads * group, kv_heads, head_dim);
      for (const int64_t bound : tree.bounds()) EXPECT_EQ(bound % head_dim, 0);
      EXPECT_EQ(tree.inputs(), kv_heads * group * head_dim);
      if (tree.leaf_count() < kv_heads) continue;
      for (int64_t i = 0; i < tree.leaf_count(); ++i) {
        const int64_t kv = group * head_dim;
        EXPECT_EQ(tree.bounds()[i] / kv, (tree.bounds()[i + 1] - 1) / kv);
      }
    }
  }
}

TEST(SumTreeRoots, KnownExamples) {
  const SumTree tree = SumTree::OverInputs(1024);
  EXPECT_EQ(tree.Roots({0, 8}), (std::vector<LeafRange>{{0, 8}}));
  EXPECT_EQ(tree.Roots({0, 3}), (std::vector<LeafRange>{{0, 2}, {2, 3}}));
  EXPECT_EQ(tree.Roots({3, 6}), (std::vector<LeafRange>{{3, 4}, {4, 6}}));
  EXPECT_EQ(tree.Roots({1, 7}), (std::vector<LeafRange>{{1, 2}, {2, 4}, {4, 6}, {6, 7}}));
  EXPECT_TRUE(tree.Roots({3, 3}).empty());
  EXPECT_TRUE(tree.Roots({8, 8}).empty());
}

TEST(SumTreeMerges, KnownExamples) {
  const SumTree tree = SumTree::OverInputs(1024);
  EXPECT_EQ(tree.MergesWithin({0, 8}), (std::vector<int32_t>{0, 1, 0, 2, 0, 1, 0, 3}));
  EXPECT_EQ(tree.MergesWithin({1, 4}), (std::vector<int32_t>{0, 0, 1}));
  EXPECT_EQ(tree.MergesAcross(Consecutive({0, 8})), (std::vector<int32_t>{0}));
  EXPECT_EQ(tree.MergesAcross(Consecutive({0, 4, 8})), (std::vector<int32_t>{0, 1}));
  // Roots 0-2, 2 | 3, 4-6 | 6-8.
  EXPECT_EQ(tree.MergesAcross(Consecutive({0, 3, 6, 8})), (std::vector<int32_t>{0, 0, 2, 0, 2}));
  EXPECT_EQ(tree.MergesAcross(Consecutive({0, 0, 8, 8})), (std::vector<int32_t>{0}));
}

// The definition, written apart from the code: halves by grains, the larger first.
float SumByInputs(const std::vector<float>& leaves, size_t& next, int64_t grains, int64_t target) {
  if (target <= 1 || grains <= 1) return leaves[next++];
  const float left = SumByInputs(leaves, next, (grains + 1) / 2, target / 2);
  return left + SumByInputs(leaves, next, grains / 2, target / 2);
}

std::vector<float> Evaluate(const std::vector<float>& parts, const std::vector<int32_t>& merges) {
  std::vector<float> stack;
  for (size_t i = 0; i < parts.size(); ++i) {
    stack.push_back(parts[i]);
    for (int32_t merge = 0; merge < merges[i]; ++merge) {
      const float right = stack.back();
      stack.pop_back();
      stack.back() = stack.back() + right;
    }
  }
  return stack;
}

std::vector<float> RandomLeaves(int64_t count, std::mt19937_64& random) {
  std::vector<float> leaves(count);
  for (float& leaf : leaves) {
    const auto draw = random();
    leaf = std::ldexp(static_cast<float>(static_cast<int64_t>(draw % 0xffffff) - 0x7fffff),
                      static_cast<int>((draw >> 40) % 12));
  }
  return leaves;
}

// The sum by ranks: each evaluates its own roots, then all roots are evaluated in rank order.
std::vector<float> SumByRanks(const SumTree& tree, const std::vector<float>& leaves,
                              const std::vector<LeafRange>& ranges) {
  std::vector<float> roots;
  for (const LeafRange& range : ranges) {
    const std::vector<float> own(leaves.begin() + range.begin, leaves.begin() + range.end);
    const std::vector<float> sums = Evaluate(own, tree.MergesWithin(range));
    EXPECT_EQ(sums.size(), tree.Roots(range).size());
    roots.insert(roots.end(), sums.begin(), sums.end());
  }
  return Evaluate(roots, tree.MergesAcross(ranges));
}

std::vector<LeafRange> RandomRanges(int64_t leaves, std::mt19937_64& random) {
  std::vector<int64_t> bounds(1 + random() % 10);
  for (int64_t& bound : bounds) bound = static_cast<int64_t>(random() % (leaves + 1));
  bounds.push_back(0);
  bounds.push_back(leaves);
  std::sort(bounds.begin(), bounds.end());
  return Consecutive(bounds);
}

void ExpectSameBits(const std::vector<float>& found, float expected) {
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(std::bit_cast<uint32_t>(found[0]), std::bit_cast<uint32_t>(expected));
}

TEST(SumTreeProperty, AnyDealOfLeavesHasTheBitsOfTheWhole) {
  std::mt19937_64 random(2026);
  for (int trial = 0; trial < 400; ++trial) {
    const auto inputs = static_cast<int64_t>(1 + random() % 40000);
    const SumTree tree = SumTree::OverInputs(inputs);
    EXPECT_EQ(tree.inputs(), inputs);
    const std::vector<float> leaves = RandomLeaves(tree.leaf_count(), random);
    size_t next = 0;
    const int64_t grains = (inputs + kGrainInputs - 1) / kGrainInputs;
    const float whole = SumByInputs(leaves, next, grains, LeafTarget(inputs));
    EXPECT_EQ(next, leaves.size());
    for (int deal = 0; deal < 5; ++deal) {
      ExpectSameBits(SumByRanks(tree, leaves, RandomRanges(tree.leaf_count(), random)), whole);
    }
  }
}

TEST(SumTreeProperty, HeadsToo) {
  std::mt19937_64 random(2027);
  for (int trial = 0; trial < 400; ++trial) {
    const auto kv_heads = static_cast<int64_t>(1 + random() % 12);
    const auto group = static_cast<int64_t>(1 + random() % 9);
    const SumTree tree = SumTree::OverHeads(kv_heads * group, kv_heads, 64);
    const std::vector<float> leaves = RandomLeaves(tree.leaf_count(), random);
    const std::vector<float> whole = Evaluate(leaves, tree.MergesWithin({0, tree.leaf_count()}));
    ASSERT_EQ(whole.size(), 1u);
    for (int deal = 0; deal < 5; ++deal) {
      const auto ranges = RandomRanges(tree.leaf_count(), random);
      ExpectSameBits(SumByRanks(tree, leaves, ranges), whole[0]);
    }
  }
}

TEST(SumTreeDeathTest, RangesMustCoverAllLeavesInOrder) {
  const SumTree tree = SumTree::OverInputs(1024);
  const std::vector<LeafRange> gap = {{0, 3}, {4, 8}};
  EXPECT_DEATH(tree.MergesAcross(gap), "range.begin == next");
  const std::vector<LeafRange> early_end = {{0, 3}, {3, 7}};
  EXPECT_DEATH(tree.MergesAcross(early_end), "leaf_count");
}

TEST(DealUnits, DealsAsEvenlyAsUnitsAllow) {
  EXPECT_EQ(DealUnits(8, 3, true), (std::vector<int64_t>{0, 3, 6, 8}));
  EXPECT_EQ(DealUnits(8, 3, false), (std::vector<int64_t>{0, 2, 5, 8}));
  EXPECT_EQ(DealUnits(2, 4, true), (std::vector<int64_t>{0, 1, 2, 2, 2}));
  EXPECT_EQ(DealUnits(2, 4, false), (std::vector<int64_t>{0, 0, 0, 1, 2}));
  EXPECT_EQ(DealUnits(0, 2, true), (std::vector<int64_t>{0, 0, 0}));
}

}  // namespace
}  // namespace octet
