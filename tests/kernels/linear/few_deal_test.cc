// How panels are dealt for few rows: each once, in blocks that fit, and never in clusters that the
// hardware does not have.
#include "kernels/linear/few_deal.h"

#include <gtest/gtest.h>

#include "base/sum_tree.h"

namespace octet::kernels {
namespace {

constexpr int64_t kSharedBytes = 227 << 10;  // of a block

TEST(FewDeal, FitsAndLeavesNoPanelOut) {
  for (const int64_t multiprocessors : {1, 4, 114, 132}) {
    for (const int64_t panels : {1, 3, 20, 128, 160, 924}) {
      for (const int64_t cluster : {1, 2, 3, 4, 8}) {
        for (const int32_t split : {1, 2, 4, 8}) {
          const FewNeeds needs = {33000, 4096, 4232, 16, split};
          const auto deal = DealFew(needs, panels, cluster, multiprocessors);
          ASSERT_TRUE(deal.has_value());
          EXPECT_EQ(int64_t{deal->columns} * deal->column_panels + deal->longer_columns, panels);
          EXPECT_LT(deal->longer_columns, deal->columns);
          EXPECT_LE(deal->columns * cluster, std::max(cluster, multiprocessors));
          EXPECT_GE(deal->warps, split);
          EXPECT_EQ(deal->warps % split, 0);
          EXPECT_LE(deal->warps, needs.warps_max);
          EXPECT_GE(deal->stages, 2);
          const int64_t bytes = needs.shared_bytes +
                                deal->warps * (needs.warp_bytes + deal->stages * needs.stage_bytes);
          EXPECT_LE(bytes, kSharedBytes);
        }
      }
    }
  }
}

TEST(FewDeal, RefusesWhatHasNoRoom) {
  EXPECT_FALSE(DealFew({230000, 0, 4232, 16, 1}, 128, 8, 132).has_value());
  EXPECT_FALSE(DealFew({180000, 0, 4232, 8, 8}, 128, 8, 132).has_value());
  EXPECT_TRUE(DealFew({180000, 0, 4232, 8, 4}, 128, 8, 132).has_value());
  EXPECT_FALSE(DealFew({1000, 0, 4232, 8, 1}, 128, 16, 132).has_value());  // no such cluster
}

// Of few rows one sum is in registers, so a part of a single pair of leaves has none in shared
// memory.
TEST(FewDeal, LevelsAreOfTheDeepestPart) {
  const auto levels = [](int64_t inputs, int64_t parts, int64_t rows = 8) {
    const SumTree tree = SumTree::OverInputs(inputs);
    return FewLevels(DealLeaves(tree.MergesWithin({0, tree.leaf_count()}), parts),
                     FewTopInRegisters(rows));
  };
  EXPECT_EQ(levels(8192, 16), 0);
  EXPECT_EQ(levels(8192, 8), 0);
  EXPECT_EQ(levels(8192, 4), 1);
  EXPECT_EQ(levels(8192, 2), 2);
  EXPECT_EQ(levels(8192, 1), 3);
  EXPECT_EQ(levels(8192, 8, 16), 0);
  EXPECT_EQ(levels(8192, 8, 32), 1);
  EXPECT_EQ(levels(8192, 1, 32), 4);
}

}  // namespace
}  // namespace octet::kernels
