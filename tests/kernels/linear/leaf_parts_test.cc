// However leaves are dealt to parts, what the parts and the rest add is the tree's sum.
#include "kernels/linear/leaf_parts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace octet::kernels {
namespace {

using Stack = std::vector<std::string>;

void Merge(int32_t times, Stack* stack) {
  for (int32_t i = 0; i < times; ++i) {
    ASSERT_GE(stack->size(), 2u);
    const std::string right = stack->back();
    stack->pop_back();
    stack->back() = "(" + stack->back() + " " + right + ")";
  }
}

// The roots of a program, written out.
Stack Whole(const std::vector<int32_t>& merges) {
  Stack stack;
  for (size_t leaf = 0; leaf < merges.size(); ++leaf) {
    stack.push_back(std::to_string(leaf));
    Merge(merges[leaf], &stack);
  }
  return stack;
}

Stack InParts(const LeafParts& dealt) {
  Stack sums;
  for (int32_t part = 0; part < dealt.parts; ++part) {
    EXPECT_EQ(dealt.sum_begin[part], sums.size());
    Stack stack;
    for (int32_t leaf = dealt.leaf_begin[part]; leaf < dealt.leaf_begin[part + 1]; ++leaf) {
      stack.push_back(std::to_string(leaf));
      EXPECT_LE(static_cast<int32_t>(stack.size()), dealt.depth);
      Merge(dealt.merges[leaf], &stack);
    }
    sums.insert(sums.end(), stack.begin(), stack.end());
  }
  EXPECT_EQ(dealt.rest.count, static_cast<int32_t>(sums.size()));
  Stack roots;
  for (int32_t sum = 0; sum < dealt.rest.count; ++sum) {
    roots.push_back(sums[sum]);
    EXPECT_LE(static_cast<int32_t>(roots.size()), dealt.rest.depth);
    Merge(dealt.rest.merges[sum], &roots);
  }
  EXPECT_EQ(dealt.rest.roots, static_cast<int32_t>(roots.size()));
  return roots;
}

TEST(LeafParts, AddUpTheSameTree) {
  for (const int64_t inputs : {64, 296, 1848, 4480, 29568, 8192}) {
    const SumTree tree = SumTree::OverInputs(inputs);
    for (int64_t ranks = 1; ranks <= std::min<int64_t>(tree.leaf_count(), 9); ++ranks) {
      const std::vector<int64_t> bounds = DealUnits(tree.leaf_count(), ranks, false);
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const std::vector<int32_t> merges = tree.MergesWithin({bounds[rank], bounds[rank + 1]});
        for (int64_t parts = 1; parts <= kPartLeavesMax; ++parts) {
          const LeafParts dealt = DealLeaves(merges, parts);
          EXPECT_EQ(InParts(dealt), Whole(merges))
              << inputs << " inputs, rank " << rank << " of " << ranks << ", " << parts << " parts";
          if (parts == 1) {
            EXPECT_EQ(dealt.rest.count, dealt.rest.roots);
          }
        }
      }
    }
  }
}

// A part that is a subtree leaves one sum.
TEST(LeafParts, WholeSubtreesLeaveOneSum) {
  const SumTree tree = SumTree::OverInputs(8192);
  ASSERT_EQ(tree.leaf_count(), 16);
  const LeafParts dealt = DealLeaves(tree.MergesWithin({0, 16}), 4);
  EXPECT_EQ(dealt.rest.count, 4);
  EXPECT_EQ(dealt.depth, 3);
}

}  // namespace
}  // namespace octet::kernels
