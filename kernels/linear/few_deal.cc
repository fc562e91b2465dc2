#include "kernels/linear/few_deal.h"

#include <algorithm>
#include <cmath>

namespace octet::kernels {
namespace {

constexpr int64_t kSharedBytes = 227 << 10;  // of a block
constexpr int64_t kStagesMin = 2;
constexpr int64_t kStagesMax = 8;
constexpr double kMemoryBytes = 17.0;  // a clock and multiprocessor, H200

// Clusters do not reach from one GPC to the next. Of an H200's 132 multiprocessors clusters of 4
// and of 8 blocks reach 120 (cudaOccupancyMaxActiveClusters, 2026-11-26).
int64_t ClustersAtOnce(int64_t cluster, int64_t multiprocessors) {
  return cluster <= 2 ? multiprocessors / cluster : multiprocessors * 10 / 11 / cluster;
}

}  // namespace

std::optional<FewDeal> DealFew(const FewNeeds& needs, int64_t panels, int64_t cluster,
                               int64_t multiprocessors) {
  if (cluster > kFewClusterMax) return std::nullopt;
  const int64_t columns = std::clamp<int64_t>(ClustersAtOnce(cluster, multiprocessors), 1, panels);
  const int64_t most = (panels + columns - 1) / columns;
  constexpr int64_t kRest = 1024;  // alignment of the parts of shared memory
  const int64_t left = kSharedBytes - kRest - needs.shared_bytes;
  const auto stages = [&](int64_t groups) {
    const int64_t of_warp = left / (groups * needs.split) - needs.warp_bytes;
    if (needs.stage_bytes == 0) return of_warp < 0 ? 0 : kStagesMin;
    return of_warp / needs.stage_bytes;
  };
  int64_t groups = std::min<int64_t>(most, needs.warps_max / needs.split);
  while (groups > 1 && stages(groups) < kStagesMin) --groups;
  if (groups < 1 || stages(groups) < kStagesMin) return std::nullopt;
  const int64_t turns = (most + groups - 1) / groups;
  groups = (most + turns - 1) / turns;
  FewDeal deal;
  deal.columns = static_cast<int32_t>(columns);
  deal.column_panels = static_cast<int32_t>(panels / columns);
  deal.longer_columns = static_cast<int32_t>(panels % columns);
  deal.warps = static_cast<int32_t>(groups * needs.split);
  deal.split = needs.split;
  deal.stages = static_cast<int32_t>(std::min(stages(groups), kStagesMax));
  return deal;
}

int32_t FewLevels(const LeafParts& parts, bool top_in_registers) {
  const int32_t in_registers = top_in_registers ? 1 : 0;
  int32_t levels = 0;
  for (int32_t part = 0; part < parts.parts; ++part) {
    // A sum after each leaf, less those that it is added to.
    int32_t held = 0;
    for (int leaf = parts.leaf_begin[part]; leaf < parts.leaf_begin[part + 1]; ++leaf) {
      held += 1 - parts.merges[leaf];
      levels = std::max(levels, held - in_registers);
    }
  }
  return levels;
}

double CostOfFew(const FewDeal& deal, const FewClocks& clocks, int64_t cluster, double blocks,
                 double block_bytes, int64_t rows) {
  constexpr double kSum = 0.5;  // of a panel, part and row
  const auto parts = static_cast<double>(cluster * deal.split);
  const double panels = deal.panels_max();
  const double turns = std::ceil(panels * deal.split / deal.warps);
  const double own_blocks = blocks / static_cast<double>(cluster);
  const auto tokens = static_cast<double>(rows);
  const double memory = panels * own_blocks * block_bytes / kMemoryBytes;
  const double in_turn =
      turns * own_blocks / deal.split * (clocks.turn + tokens * clocks.turn_token);
  const double busy = panels * own_blocks * (clocks.busy + tokens * clocks.busy_token);
  const double meet =
      parts > 1 ? clocks.meet + panels * deal.split * tokens * kFewPanelOutputs * kSum / deal.warps
                : 0;
  return clocks.begin + std::max({memory, in_turn, busy}) + meet;
}

}  // namespace octet::kernels
