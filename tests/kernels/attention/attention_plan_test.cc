#include "kernels/attention/attention_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <tuple>
#include <vector>

namespace octet::kernels::test {
namespace {

std::vector<HeadGroup> Groups(int32_t kv_heads, int32_t heads) {
  std::vector<HeadGroup> groups;
  for (int32_t g = 0; g < kv_heads; ++g) groups.push_back({g, g * heads, heads});
  return groups;
}

// Of workers with narrow tiles. Costs are in blocks: rounds of four, 3 for a tile, 2 for a part of
// one.
struct Load {
  int64_t most = 0;  // blocks
  int64_t total = 0;
  int64_t most_cost = 0;
  int64_t total_cost = 0;
  int64_t cut_tiles = 0;
  int64_t wide_items = 0;
};

struct ItemLoad {
  int64_t blocks = 0;
  int64_t cost = 0;
};

ItemLoad LoadOf(const AttentionItem& item, int64_t window) {
  const int64_t end = item.first_position + item.rows;
  const int64_t oldest = window > 0 ? std::max<int64_t>(0, item.first_position + 1 - window) : 0;
  const int64_t first = std::max<int64_t>(oldest / 64, item.split_begin * 8);
  const int64_t last = std::min<int64_t>((end - 1) / 64, item.split_end * 8 - 1);
  EXPECT_LE(first, last);
  const int64_t groups = item.group_end - item.group_begin;
  const int64_t rounds = last / 4 - first / 4 + 1;
  return {(last - first + 1) * groups, (3 + 4 * rounds + (item.state >= 0 ? 2 : 0)) * groups};
}

// Builds a plan and checks that every split that a row of a head sees is walked exactly once, that
// states of cut tiles do not overlap and that their parts know of each other.
Load CheckPlan(const AttentionLimits& limits, int64_t window,
               const std::vector<AttentionSequence>& sequences) {
  const AttentionDevicePlan plan = SizeAttentionPlan(limits);
  std::vector<std::byte> bytes(static_cast<size_t>(plan.plan_bytes()));
  BuildAttentionPlan(limits, window, sequences, bytes.data());
  const auto* items = reinterpret_cast<const AttentionItem*>(bytes.data() + plan.item_list());
  std::map<std::tuple<int64_t, int64_t, int64_t>, int> walked;  // (row, head, split)
  std::map<int32_t, std::vector<const AttentionItem*>> parts;   // of each ticket
  Load load;
  std::vector<ItemLoad> of_worker(static_cast<size_t>(plan.workers));
  for (const bool narrow : {true, false}) {
    const auto* begin = reinterpret_cast<const int32_t*>(
        bytes.data() + (narrow ? plan.narrow_begin() : plan.wide_begin()));
    for (int64_t w = 0; w < plan.workers; ++w) {
      EXPECT_LE(begin[w], begin[w + 1]);
      for (int32_t i = begin[w]; i < begin[w + 1]; ++i) {
        const AttentionItem& item = items[i];
        EXPECT_EQ(item.rows * item.heads <= kAttentionNarrowVectors, narrow);
        EXPECT_LE(item.rows * item.heads, kAttentionTileVectors);
        load.wide_items += !narrow;
        if (narrow) {
          const ItemLoad of_item = LoadOf(item, window);
          of_worker[static_cast<size_t>(w)].blocks += of_item.blocks;
          of_worker[static_cast<size_t>(w)].cost += of_item.cost;
        }
        if (item.state >= 0) parts[item.ticket].push_back(&item);
        for (int32_t g = item.group_begin; g < item.group_end; ++g) {
          for (int32_t h = 0; h < item.heads; ++h) {
            for (int32_t r = 0; r < item.rows; ++r) {
              for (int32_t s = item.split_begin; s < item.split_end; ++s) {
                ++walked[{item.row + r, limits.groups[g].head_begin + item.head_first + h, s}];
              }
            }
          }
        }
      }
    }
  }
  std::vector<std::pair<int64_t, int64_t>> states;
  for (const auto& [ticket, of_tile] : parts) {
    EXPECT_LT(ticket, plan.tickets());
    EXPECT_GT(of_tile.size(), 1u);
    int32_t split = of_tile[0]->row_split_begin;
    for (const AttentionItem* item : of_tile) {
      EXPECT_EQ(item->parts, static_cast<int32_t>(of_tile.size()));
      EXPECT_EQ(item->state, of_tile[0]->state);
      EXPECT_EQ(item->group_end - item->group_begin, 1);
      EXPECT_EQ(item->split_begin, split);
      split = item->split_end;
    }
    EXPECT_EQ(split, of_tile[0]->row_split_end);
    const AttentionItem& any = *of_tile[0];
    states.push_back({any.state, any.state + int64_t{any.row_split_end - any.row_split_begin} *
                                                 any.rows * any.heads});
  }
  std::sort(states.begin(), states.end());
  for (size_t i = 0; i < states.size(); ++i) {
    EXPECT_LE(states[i].second, i + 1 < states.size() ? states[i + 1].first : plan.states);
  }
  int64_t wanted = 0;
  for (const AttentionSequence& sequence : sequences) {
    for (int64_t i = 0; i < sequence.row_count; ++i) {
      const int64_t p = sequence.first_position + i;
      const int64_t oldest = window > 0 ? std::max<int64_t>(0, p + 1 - window) : 0;
      for (const HeadGroup& group : limits.groups) {
        for (int32_t h = 0; h < group.head_count; ++h) {
          for (int64_t s = oldest / 512; s <= p / 512; ++s, ++wanted) {
            EXPECT_EQ((walked[{sequence.row_begin + i, group.head_begin + h, s}]), 1);
          }
        }
      }
    }
  }
  load.cut_tiles = static_cast<int64_t>(parts.size());
  for (const ItemLoad& of_one : of_worker) {
    load.total += of_one.blocks;
    load.most = std::max(load.most, of_one.blocks);
    load.total_cost += of_one.cost;
    load.most_cost = std::max(load.most_cost, of_one.cost);
  }
  return load;
}

std::vector<AttentionSequence> Decodes(const std::vector<int64_t>& lengths) {
  std::vector<AttentionSequence> sequences;
  for (const int64_t length : lengths) {
    const auto row = static_cast<int64_t>(sequences.size());
    sequences.push_back({row, 1, length - 1, nullptr, 100 * row});
  }
  return sequences;
}

TEST(AttentionPlanTest, WalksEverySplitOnce) {
  for (const int64_t workers : {1, 7, 264}) {
    for (const int64_t window : {0, 1, 700}) {
      for (const auto& groups :
           {Groups(2, 1), Groups(1, 7), Groups(2, 8), Groups(1, 16), Groups(1, 71)}) {
        const AttentionLimits limits{8, 600, 8192, workers, 64, groups};
        std::vector<AttentionSequence> sequences = Decodes({1, 64, 65, 5000, 513});
        sequences.push_back({5, 300, 0});
        sequences.push_back({305, 77, 4000});
        sequences.push_back({382, 0, 10});
        CheckPlan(limits, window, sequences);
      }
    }
  }
  CheckPlan({4, 4, 512, 3, 64, Groups(2, 2)}, 0, {});
}

// A rank may hold parts of groups.
TEST(AttentionPlanTest, TakesUnevenGroups) {
  const std::vector<HeadGroup> groups = {{0, 0, 1}, {1, 1, 9}, {2, 10, 9}, {3, 19, 2}};
  const AttentionLimits limits{4, 64, 4096, 11, 64, groups};
  CheckPlan(limits, 0, {{0, 1, 4000}, {1, 20, 900}, {21, 1, 3}});
}

Load LoadOfDecodes(const std::vector<int64_t>& lengths, int32_t kv_heads) {
  const auto groups = Groups(kv_heads, 1);
  return CheckPlan({256, 256, 32768, 264, 128, groups}, 0, Decodes(lengths));
}
// The longest share of a worker over the mean.
double Imbalance(const Load& load) {
  return static_cast<double>(load.most * 264) / static_cast<double>(load.total);
}
double CostImbalance(const Load& load) {
  return static_cast<double>(load.most_cost * 264) / static_cast<double>(load.total_cost);
}

TEST(AttentionPlanTest, BalancesEqualAndSkewedLengths) {
  EXPECT_LT(Imbalance(LoadOfDecodes(std::vector<int64_t>(16, 2048), 64)), 1.05);
  EXPECT_LT(Imbalance(LoadOfDecodes(std::vector<int64_t>(33, 8192), 8)), 1.05);
  std::vector<int64_t> skewed;  // 128 to 16384
  for (int64_t length = 128; length <= 16384; length *= 2) skewed.insert(skewed.end(), 4, length);
  EXPECT_LT(Imbalance(LoadOfDecodes(skewed, 8)), 1.05);
  // One long sequence among many short ones, 1.5 splits a worker: some get two, others beginnings
  // and ends of tiles.
  std::vector<int64_t> one(63, 128);
  one.push_back(16384);
  EXPECT_LT(CostImbalance(LoadOfDecodes(one, 8)), 1.2);
}

// Two splits of 128 tiles for each of 256 workers, of 264.
TEST(AttentionPlanTest, GivesNoWorkerASplitMoreThanItMust) {
  const Load load = LoadOfDecodes(std::vector<int64_t>(16, 2048), 8);
  EXPECT_EQ(load.most, 16);
  EXPECT_EQ(load.cut_tiles, 128);
}

TEST(AttentionPlanTest, CutsNothingThatFitsWhole) {
  EXPECT_EQ(LoadOfDecodes(std::vector<int64_t>(64, 2048), 8).cut_tiles, 0);
}

// Whatever the lengths are and however they are mixed, workers have as much to do, short tiles'
// beginnings and ends and rounds that are not full included.
TEST(AttentionPlanTest, BalancesMixedLengths) {
  std::mt19937 random(1);
  for (const int32_t kv_heads : {8, 64}) {
    for (const int count : {16, 32, 64}) {
      for (int mix = 0; mix < 4; ++mix) {
        std::vector<int64_t> lengths;
        for (int i = 0; i < count; ++i) {  // 128 to 16384
          lengths.push_back(128 << random() % 7);
          lengths.back() += static_cast<int64_t>(random()) % (lengths.back() + 1);
        }
        const Load load = LoadOfDecodes(lengths, kv_heads);
        // Splits of 8 blocks are not cut: where a worker gets few, one more is much.
        const double splits = static_cast<double>(load.total) / 264 / 8;
        EXPECT_LT(CostImbalance(load), splits > 8 ? 1.05 : 1 + 0.9 / splits)
            << kv_heads << " kv heads, " << count << " sequences, " << splits << " splits a worker";
      }
    }
  }
}

TEST(AttentionPlanTest, CutsOnlyWhatIsLong) {
  const auto groups = Groups(8, 8);
  const AttentionLimits limits{64, 64, 32768, 264, 128, groups};
  // Rows of one split are never cut: their results need no merge.
  EXPECT_EQ(CheckPlan(limits, 0, Decodes({512, 100, 1})).cut_tiles, 0);
  EXPECT_GT(CheckPlan(limits, 0, Decodes({32768})).cut_tiles, 0);
  // Decode rows of up to 8 heads a kv head need no wide tiles.
  EXPECT_EQ(CheckPlan(limits, 0, Decodes({512, 9000, 1})).wide_items, 0);
}

// Tiles of eight heads are dealt to one worker of each multiprocessor as long as there are so few.
TEST(AttentionPlanTest, FewWideGroupsHaveAMultiprocessorEach) {
  DeviceInfo info;
  info.sm_count = 132;
  info.shared_bytes_per_block = 227 << 10;
  const auto workers = [&](int32_t kv_heads, int32_t heads, int64_t rows) {
    const KvLayout layout = {KvFormat::kInt8, kv_heads, 128};
    return AttentionWorkers(layout, info, Groups(kv_heads, heads), rows);
  };
  EXPECT_EQ(workers(8, 8, 1), 132);
  EXPECT_EQ(workers(8, 8, 16), 132);
  EXPECT_EQ(workers(8, 8, 17), 264);
  EXPECT_EQ(workers(8, 4, 16), 264);
  EXPECT_EQ(workers(64, 1, 1), 264);
  EXPECT_EQ(workers(8, 16, 1), 264);
  // What is a counter for one plan may not be a state of another.
  const auto groups = Groups(8, 8);
  const AttentionLimits few{16, 16, 4096, 132, 128, groups, 264};
  const AttentionLimits many{64, 64, 4096, 264, 128, groups, 264};
  EXPECT_EQ(SizeAttentionPlan(few).state_list(), SizeAttentionPlan(many).state_list());
}

TEST(AttentionPlanTest, FitsItsLimitsAtTheirWorst) {
  for (const int32_t heads : {1, 8, 64, 65}) {
    const auto groups = Groups(2, heads);
    const AttentionLimits limits{40, 200, 131072, 264, 128, groups};
    const AttentionDevicePlan plan = SizeAttentionPlan(limits);
    EXPECT_LE(plan.states, kAttentionStatesMax);
    std::vector<AttentionSequence> sequences;
    for (int64_t s = 0; s < 40; ++s) sequences.push_back({5 * s, 5, 131072 - 5 - 512 * s});
    CheckPlan(limits, 4096, sequences);
  }
}

}  // namespace
}  // namespace octet::kernels::test
