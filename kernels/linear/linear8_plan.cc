#include "kernels/linear/linear8_plan.h"

#include <algorithm>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/linear/cuda8_layout.h"

namespace octet::kernels {
namespace {

// A tile of 64 rows or more fills a multiprocessor, of smaller ones there is room for two or more.
constexpr int64_t kLargeTile = 64;
constexpr int64_t kItemsWanted = 264;
constexpr int64_t kLargeItemsWanted = 132;
constexpr int64_t kMultiprocessors = 132;
constexpr int64_t kPartAlignment = 256;

// A sum that waits from the end of one leaf to that of another.
struct Wait {
  int32_t from;
  int32_t to;
  uint8_t slot = 0;
};

// Gives each the lowest slot that no shorter one has at the same time. Waits are nested or apart.
// pairs: those that wait for the next leaf need none.
void AssignSlots(std::vector<Wait>& waits, bool pairs) {
  std::stable_sort(waits.begin(), waits.end(),
                   [](const Wait& a, const Wait& b) { return a.to - a.from < b.to - b.from; });
  for (size_t i = 0; i < waits.size(); ++i) {
    if (pairs && waits[i].to == waits[i].from + 1) {
      waits[i].slot = kSumInRegisters;
      continue;
    }
    for (size_t j = 0; j < i; ++j) {
      if (waits[j].slot == kSumInRegisters) continue;
      const bool together = waits[j].from < waits[i].to && waits[i].from < waits[j].to;
      if (together) waits[i].slot = std::max<uint8_t>(waits[i].slot, waits[j].slot + 1);
    }
  }
}

// Whether every second leaf of each part is added to the one before, which waits for nothing else.
bool LeavesArePaired(const LeafParts& parts) {
  for (int32_t part = 0; part < parts.parts; ++part) {
    const int32_t begin = parts.leaf_begin[part];
    const int32_t end = parts.leaf_begin[part + 1];
    for (int32_t leaf = begin; leaf < end; leaf += 2) {
      if (leaf + 1 == end || parts.merges[leaf] > 0 || parts.merges[leaf + 1] == 0) return false;
    }
  }
  return true;
}

// What becomes of the sum that each leaf of a part ends in: it waits for its right neighbour, or it
// is left.
void PlanSums(Linear8Plan& plan) {
  const LeafParts& parts = plan.parts;
  std::vector<Wait> waits;
  for (int32_t part = 0; part < parts.parts; ++part) {
    std::vector<int32_t> held;  // leaves that ended in a sum which is there
    for (int32_t leaf = parts.leaf_begin[part]; leaf < parts.leaf_begin[part + 1]; ++leaf) {
      plan.left_sum[leaf] = kSumWaits;
      for (int32_t merge = 0; merge < parts.merges[leaf]; ++merge) {
        waits.push_back({held.back(), leaf});
        held.pop_back();
      }
      held.push_back(leaf);
    }
    const auto left = static_cast<int32_t>(held.size());
    OCTET_CHECK_EQ(left, parts.sum_begin[part + 1] - parts.sum_begin[part]);
    for (int32_t i = 0; i < left; ++i) {
      plan.left_sum[held[i]] = static_cast<uint8_t>(parts.sum_begin[part] + i);
    }
  }
  AssignSlots(waits, plan.pairs);
  // Those that end with the same leaf are added from the last on.
  std::sort(waits.begin(), waits.end(), [](const Wait& a, const Wait& b) {
    return a.to != b.to ? a.to < b.to : a.from > b.from;
  });
  for (size_t i = 0; i < waits.size(); ++i) {
    const Wait& wait = waits[i];
    plan.push_slot[wait.from] = wait.slot;
    plan.pop_slot[i] = wait.slot;
    if (i == 0 || waits[i - 1].to != wait.to) plan.pop_first[wait.to] = static_cast<uint8_t>(i);
    if (wait.slot != kSumInRegisters) plan.waiting_max = std::max(plan.waiting_max, wait.slot + 1);
  }
}

// Of linear8_few.cuh.
constexpr FewClocks kFewClocks = {700, 30, 60, 14.5};
// What all blocks together ask for in L2 before they begin, so that it is there when they do.
constexpr int64_t kFewAheadBytes = int64_t{24} << 20;
constexpr int64_t kFewRowsMax = 16;

// With parts of which `split` go to a block; false if it does not fit.
bool FitFew(const LinearShape& shape, const KWalk& walk, int32_t split, Linear8Plan* plan) {
  const LeafParts& parts = plan->parts;
  const int64_t rows = plan->tile_tokens;
  Linear8Few& few = plan->few;
  few = {};
  if (parts.parts % split != 0) return false;
  for (int32_t part = 0; part < parts.parts; part += split) {
    const int32_t begin = parts.leaf_begin[part];
    const int32_t end = parts.leaf_begin[part + split];
    few.blocks_max = std::max(few.blocks_max, walk.leaf[end].block - walk.leaf[begin].block);
    few.leaves_max = std::max(few.leaves_max, end - begin);
  }
  few.levels = FewLevels(parts, FewTopInRegisters(rows));
  const int64_t block_bytes = kBlockPositions + (shape.asymmetric ? 4 : 0);  // codes and their sum
  few.needs.shared_bytes = rows * (few.blocks_max * block_bytes + few.leaves_max * 4);
  few.needs.warp_bytes = few.levels * kCuda8PanelOutputs * rows * 4;
  const auto stage_bytes = AlignUp(int64_t{kBlockSteps} * walk.step_bytes + walk.scale_bytes, 128);
  few.needs.stage_bytes = stage_bytes + 8;
  few.needs.warps_max = rows == 8 ? 16 : 12;  // as registers allow
  few.needs.split = split;
  const auto deal = DealFew(few.needs, plan->panel_tiles, parts.parts / split, kMultiprocessors);
  if (!deal.has_value()) return false;
  few.stage_bytes = static_cast<int32_t>(stage_bytes);
  few.ahead = static_cast<int32_t>(kFewAheadBytes / (kMultiprocessors * deal->warps));
  return true;
}

// Deals the leaves for linear8_few.cuh, or leaves the plan without it. clusters of `cluster`
// blocks, or what looks best.
void PlanFew(const LinearShape& shape, const KWalk& walk, int64_t rows, int64_t cluster,
             Linear8Plan* plan) {
  if (plan->tile_tokens > kFewRowsMax || !walk.whole || walk.segments != walk.blocks) return;
  double least = 0;
  Linear8Plan best = *plan;
  const int64_t most = cluster > 0 ? cluster : kFewClusterMax;
  for (int64_t blocks = cluster > 0 ? cluster : 1; blocks <= most; blocks *= 2) {
    for (const int32_t split : {1, 2, 4, 8}) {
      plan->parts = DealLeaves(shape.merges, blocks * split);
      if (!FitFew(shape, walk, split, plan)) continue;
      const int64_t dealt = plan->parts.parts / split;
      const auto deal = DealFew(plan->few.needs, plan->panel_tiles, dealt, kMultiprocessors);
      const double cost = CostOfFew(*deal, kFewClocks, dealt, walk.blocks,
                                    static_cast<double>(plan->few.stage_bytes), rows);
      if (best.is_few() && cost >= least) continue;
      least = cost;
      best = *plan;
    }
  }
  *plan = best;
}

// Into how many parts the leaves are dealt where a tile fills a multiprocessor and all of them run
// at once, in as many rounds as it takes: for the busiest, in blocks of inputs, which take about a
// microsecond each on an H200 (2026-11-27). sum_bytes: of one part.
int64_t PartsOfRounds(int64_t tiles, int64_t blocks, int64_t leaves, int64_t sum_bytes) {
  constexpr double kItem = 2;    // of each, to begin and end
  constexpr double kReduce = 3;  // of a second launch, where there are parts
  constexpr double kPart = 0.5;  // of each, in it
  constexpr int64_t kPartsMax = 16;
  constexpr int64_t kPartBytesMax = int64_t{32} << 20;  // else there is one part
  int64_t best = 1;
  double least = 0;
  for (int64_t parts = 1; parts <= std::min(leaves, kPartsMax); ++parts) {
    if (parts > 1 && parts * sum_bytes > kPartBytesMax) break;
    const int64_t rounds = (tiles * parts + kMultiprocessors - 1) / kMultiprocessors;
    const int64_t most = (leaves + parts - 1) / parts;  // leaves of one part
    const double cost =
        static_cast<double>(rounds) *
            (static_cast<double>(most * blocks) / static_cast<double>(leaves) + kItem) +
        (parts > 1 ? kReduce + kPart * static_cast<double>(parts) : 0);
    if (parts > 1 && cost >= least) continue;
    best = parts;
    least = cost;
  }
  return best;
}

}  // namespace

Linear8Plan Linear8Plan::Of(const LinearShape& shape, int64_t rows, ActivationFormat rows_format,
                            bool clusters, int64_t parts) {
  Linear8Plan plan;
  const int64_t tile = std::min<int64_t>(PaddedActivationRows(rows), 128);
  const int64_t panels = (shape.outputs + kCuda8PanelOutputs - 1) / kCuda8PanelOutputs;
  plan.tile_tokens = static_cast<int32_t>(tile);
  const KWalk walk = KWalk::Of(shape);
  const bool on_wgmma = clusters && tile > kFewRowsMax && walk.whole;
  plan.tile_panels = tile <= 16   ? 1
                     : tile == 32 ? (on_wgmma ? 4 : 2)
                     : tile == 64 ? (on_wgmma ? 3 : 4)
                                  : 2;
  plan.token_tiles = static_cast<int32_t>((rows + tile - 1) / tile);
  plan.panel_tiles = static_cast<int32_t>((panels + plan.tile_panels - 1) / plan.tile_panels);
  const int64_t tiles = int64_t{plan.token_tiles} * plan.panel_tiles;
  const int64_t wanted = tile >= kLargeTile ? kLargeItemsWanted : kItemsWanted;
  if (clusters) PlanFew(shape, walk, rows, parts, &plan);
  if (!plan.is_few()) {
    if (parts == 0) {
      parts = on_wgmma ? PartsOfRounds(tiles, walk.blocks, walk.leaves,
                                       plan.token_tiles * tile * shape.outputs * 4)
                       : (wanted + tiles - 1) / tiles;
    }
    plan.parts = DealLeaves(shape.merges, parts);
    plan.pairs = on_wgmma && walk.segments == walk.blocks && LeavesArePaired(plan.parts);
    PlanSums(plan);
  }
  plan.waiting_bytes = tile * plan.tile_panels * kCuda8PanelOutputs * 4;
  plan.waiting_blocks = static_cast<int32_t>(std::min<int64_t>(
      plan.items(), tile >= kLargeTile ? kWaitingBlocksMax / 2 : kWaitingBlocksMax));

  const auto take = [&](int64_t& at, int64_t bytes) {
    at = plan.bytes;
    plan.bytes += AlignUp(bytes, kPartAlignment);
  };
  const int64_t int8_bytes =
      ActivationRowsBytes(ActivationExtentOf(shape, ActivationFormat::kInt8), rows);
  take(plan.activations_at, rows_format == ActivationFormat::kInt8 ? 0 : int8_bytes);
  const int64_t sums = plan.parts.parts > 1 ? plan.parts.rest.count : 0;
  take(plan.sums_at, sums * rows * shape.outputs * 4);
  take(plan.waiting_at, plan.waiting_max * plan.waiting_bytes * plan.waiting_blocks);
  return plan;
}

int64_t Linear8WorkspaceBytes(const LinearShape& shape, int64_t rows,
                              ActivationFormat rows_format) {
  if (rows == 0 || shape.outputs == 0 || shape.inputs == 0) return 0;
  // Fewer rows may be dealt to more parts. Parts are the same for all rows of one number of tiles,
  // of which the last take most.
  int64_t bytes = 0;
  for (const bool clusters : {false, true}) {
    bytes = std::max(bytes, Linear8Plan::Of(shape, rows, rows_format, clusters).bytes);
    for (int64_t less = 8; less < std::min<int64_t>(rows, 128); less *= 2) {
      bytes = std::max(bytes, Linear8Plan::Of(shape, less, rows_format, clusters).bytes);
    }
  }
  for (int64_t less = 128; less < rows; less += 128) {
    for (const bool clusters : {false, true}) {
      bytes = std::max(bytes, Linear8Plan::Of(shape, less, rows_format, clusters).bytes);
    }
  }
  return bytes;
}

}  // namespace octet::kernels
