// How a linear with int8 activations is dealt: sums wait where nobody overwrites them, and the
// workspace is enough for fewer rows too.
#include "kernels/linear/linear8_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels {
namespace {

LinearShape Shape(const SumTree& tree, int64_t outputs = 8192) {
  LinearShape shape = WholeShape(tree, WeightFormat::kInt4, outputs, 128);
  shape.layout = WeightLayout::kCuda8;
  return shape;
}

struct Leaves {
  int32_t begin = 0;
  int32_t end = 0;
};

// Runs the plan on leaves instead of sums; a sum must meet its left neighbour.
void ExpectNeighboursMeet(const Linear8Plan& plan) {
  const LeafParts& parts = plan.parts;
  int32_t sums = 0;
  for (int32_t part = 0; part < parts.parts; ++part) {
    std::array<Leaves, kSumInRegisters + 1> slots = {};
    for (int32_t leaf = parts.leaf_begin[part]; leaf < parts.leaf_begin[part + 1]; ++leaf) {
      Leaves sum = {leaf, leaf + 1};
      for (int32_t merge = 0; merge < parts.merges[leaf]; ++merge) {
        Leaves& waiting = slots[plan.pop_slot[plan.pop_first[leaf] + merge]];
        ASSERT_EQ(waiting.end, sum.begin);
        sum.begin = waiting.begin;
        waiting = {};
      }
      if (plan.left_sum[leaf] == kSumWaits) {
        const bool in_registers = plan.pairs && plan.push_slot[leaf] == kSumInRegisters;
        if (!in_registers) {
          ASSERT_LT(plan.push_slot[leaf], plan.waiting_max);
        }
        if (plan.pairs) {
          EXPECT_EQ(in_registers, (leaf - parts.leaf_begin[part]) % 2 == 0);
        }
        Leaves& slot = slots[plan.push_slot[leaf]];
        ASSERT_EQ(slot.end, 0) << "another sum waits there";
        slot = sum;
      } else {
        EXPECT_EQ(plan.left_sum[leaf], sums++);
      }
    }
    for (const Leaves& slot : slots) EXPECT_EQ(slot.end, 0) << "waits for ever";
  }
  EXPECT_EQ(sums, parts.rest.count);
}

TEST(Linear8Plan, NeighboursMeet) {
  const SumTree trees[] = {SumTree::OverInputs(29568), SumTree::OverInputs(1848),
                           SumTree::OverHeads(14, 2, 64), SumTree::OverHeads(40, 8, 128)};
  for (const SumTree& tree : trees) {
    for (int64_t begin = 0; begin < tree.leaf_count(); ++begin) {
      for (int64_t end = begin + 1; end <= tree.leaf_count(); end += 3) {
        const LinearShape shard = WithLeaves(Shape(tree), tree, {begin, end});
        for (const int64_t parts : {1, 2, 3, 5, 32}) {
          ExpectNeighboursMeet(Linear8Plan::Of(shard, 8, ActivationFormat::kInt8, false, parts));
          ExpectNeighboursMeet(Linear8Plan::Of(shard, 200, ActivationFormat::kInt8, true, parts));
        }
      }
    }
  }
}

// Eight of 15 sums wait in registers, and two slots in shared memory then hold six of the others.
TEST(Linear8Plan, ShortWaitsHaveTheFirstSlots) {
  const SumTree tree = SumTree::OverInputs(8192);
  ASSERT_EQ(tree.leaf_count(), 16);
  const Linear8Plan plan = Linear8Plan::Of(Shape(tree), 2048, ActivationFormat::kInt8, true);
  ASSERT_EQ(plan.parts.parts, 1);
  ASSERT_TRUE(plan.pairs);
  ASSERT_EQ(plan.waiting_max, 3);
  int counts[kSumInRegisters + 1] = {};
  for (int leaf = 0; leaf < 16; ++leaf) {
    if (plan.left_sum[leaf] == kSumWaits) ++counts[plan.push_slot[leaf]];
  }
  EXPECT_EQ(counts[kSumInRegisters], 8);
  EXPECT_EQ(counts[0], 4);
  EXPECT_EQ(counts[1], 2);
  EXPECT_EQ(counts[2], 1);
}

TEST(Linear8Plan, WorkspaceIsEnoughForFewerRows) {
  for (const int64_t outputs : {64, 1280, 8192}) {
    const LinearShape shape = Shape(SumTree::OverInputs(8192), outputs);
    for (const ActivationFormat format : {ActivationFormat::kInt8, ActivationFormat::kF32}) {
      int64_t most = 0;
      for (int64_t rows = 1; rows <= 1500; rows += rows < 140 ? 1 : 61) {
        for (const bool clusters : {false, true}) {
          most = std::max(most, Linear8Plan::Of(shape, rows, format, clusters).bytes);
        }
        EXPECT_GE(Linear8WorkspaceBytes(shape, rows, format), most) << rows;
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
