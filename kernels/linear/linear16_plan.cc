#include "kernels/linear/linear16_plan.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/check.h"

namespace octet::kernels {
namespace {

using Name = Linear16TileName;

// A tile of more outputs reads its tokens less often; one of fewer gives more blocks. What a tile
// is good for is left to Cost(). All mma tiles fit in 99 KiB, what an sm_89 has. Few: each is a
// kernel to build, twice.
constexpr Linear16Tile kMmaInt4[] = {
    {Name::k64x8, 64, 8, 6, 6},
    {Name::k128x16, 128, 16, 4, 3},
    {Name::k128x32, 128, 32, 4, 3},
    {Name::k128x64, 128, 64, 3, 2},
};
constexpr Linear16Tile kMmaInt8[] = {
    {Name::k64x8, 64, 8, 6, 4},
    {Name::k128x32, 128, 32, 4, 2},
};
constexpr Linear16Tile kMmaFloat[] = {
    {Name::k64x8, 64, 8, 4, 4},
    {Name::k64x32, 64, 32, 4, 2},
};
constexpr Linear16Tile kWgmmaInt4[] = {
    {Name::k64x8, 64, 8, 8, 4, 1},     {Name::k128x8, 128, 8, 6, 3, 2},
    {Name::k128x16, 128, 16, 6, 2, 2}, {Name::k256x32, 256, 32, 6, 1, 2},
    {Name::k256x64, 256, 64, 5, 1, 2},
};
constexpr Linear16Tile kWgmmaInt8[] = {
    {Name::k64x8, 64, 8, 8, 4, 1},
    {Name::k128x16, 128, 16, 6, 2, 2},
    {Name::k256x64, 256, 64, 5, 1, 2},
};
constexpr Linear16Tile kWgmmaBf16[] = {
    {Name::k64x8, 64, 8, 5, 3},
    {Name::k64x32, 64, 32, 5, 2},
    {Name::k256x128, 256, 128, 4, 1, 2},
};
constexpr Linear16Tile kWgmmaFloat[] = {
    {Name::k64x8, 64, 8, 5, 2},
    {Name::k64x32, 64, 32, 5, 2},
};

// The nominal device of a family, per multiprocessor and clock: an A100 and an H200. Orders of
// magnitude from data sheets and the design pages, to be replaced by measurements.
struct Machine {
  double multiprocessors;
  double memory_bytes;
  double memory_latency;  // under load
  double l2_bytes;
  double products;
  double lanes;          // instructions of one lane
  double least_tokens;   // a matrix instruction takes no less time for fewer
  double panel_clocks;   // from one stage to the next, of a panel by itself
  double token_clocks;   // the same, more for each token
  double reduce_clocks;  // a second launch and its latency
  int64_t block_shared_bytes;
  int64_t shared_bytes;
};
constexpr Machine kMachines[] = {
    {108, 11.8, 1100, 28, 1024, 128, 8, 300, 6, 2500, 99 << 10, 164 << 10},
    {132, 18.6, 1500, 30, 2048, 128, 16, 250, 2, 2500, 227 << 10, 228 << 10},
};

// Clocks that one candidate takes: a rough roofline, enough to compare.
double Cost(const LinearShape& shape, const Linear16Plan& plan, int64_t rows,
            const Machine& machine, double weight_bytes) {
  const Linear16Tile& tile = plan.tile;
  const auto sms = static_cast<int64_t>(machine.multiprocessors);
  const int64_t turns = (plan.items + sms - 1) / sms;  // of the busiest multiprocessor
  const int64_t at_once = std::min<int64_t>(turns, tile.resident);
  const double inputs = static_cast<double>(shape.inputs) / plan.parts.parts;
  const double weights = static_cast<double>(tile.outputs) * inputs;
  // What a multiprocessor can ask for before the first of it comes.
  const double under_way = static_cast<double>(at_once) * (tile.stages - 1) * tile.outputs *
                           kCuda16StageInputs * weight_bytes;
  const double memory = weights * weight_bytes / static_cast<double>(plan.row_tiles) /
                        std::min(machine.memory_bytes, under_way / machine.memory_latency);
  const double l2 = (weights * weight_bytes + tile.tokens * inputs * 2) / machine.l2_bytes;
  const double products =
      weights * std::max<double>(tile.tokens, machine.least_tokens) / machine.products;
  const double lanes = weights * (2.6 + tile.tokens * 0.02) / machine.lanes;
  const double latency = inputs / kCuda16StageInputs * tile.in_turn *
                         (machine.panel_clocks + machine.token_clocks * tile.tokens);
  // What is not the bottleneck still gets in its way now and then.
  const double together = memory + l2 + products + lanes;
  const double item = std::max({memory, l2, products, lanes}) + together * 0.1;
  double clocks = std::max(item * static_cast<double>(turns),
                           latency * static_cast<double>((turns + at_once - 1) / at_once)) +
                  machine.memory_latency;
  if (plan.parts.parts > 1) {
    const double moved = 8.0 * plan.parts.rest.count * static_cast<double>(rows * shape.outputs);
    clocks += machine.reduce_clocks + moved / (machine.memory_bytes * machine.multiprocessors);
  }
  return clocks;
}

void PlanWorkspace(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                   ActivationFormat rows_format, Linear16Plan* plan) {
  constexpr int64_t kTokensMax = 128;
  if (!layout.in_place || rows_format != ActivationFormat::kBF16) {
    plan->x_bytes = AlignUp(rows * layout.blocks() * kCuda16BlockInputs * 2);
  }
  if (shape.asymmetric) {
    plan->x_sums_stride = AlignUp(rows, kTokensMax);
    plan->x_sums_bytes = layout.inputs.leaf_segment[layout.inputs.leaves] * plan->x_sums_stride * 4;
  }
  if (plan->parts.parts > 1) {
    plan->partial_bytes = AlignUp(plan->parts.rest.count * rows * shape.outputs * 4);
  }
  plan->spill_bytes =
      plan->grid_max * plan->spill_levels * plan->tile.outputs * plan->tile.tokens * 4;
}

Linear16Plan Consider(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                      const Linear16Tile& tile, int64_t parts, const Machine& machine) {
  Linear16Plan plan;
  plan.tile = tile;
  plan.parts = DealLeaves(shape.merges, parts);
  plan.output_tiles = (shape.outputs + tile.outputs - 1) / tile.outputs;
  plan.row_tiles = (rows + tile.tokens - 1) / tile.tokens;
  plan.items = plan.output_tiles * plan.row_tiles * plan.parts.parts;
  plan.stage_bytes = Linear16StageBytes(layout.stage_bytes, layout.inputs.slots, shape.asymmetric,
                                        tile.outputs / kCuda16PanelOutputs, tile.tokens);
  const int64_t level_bytes = int64_t{tile.outputs} * tile.tokens * 4;
  // The topmost sum is in registers.
  const int32_t levels = std::max(plan.parts.depth, plan.parts.rest.depth) - 1;
  constexpr int64_t kBarrierBytes = 1024;  // of the ring, and what the driver keeps
  const int64_t left = std::min(machine.block_shared_bytes, machine.shared_bytes / tile.resident) -
                       kBarrierBytes - tile.stages * plan.stage_bytes;
  plan.shared_levels = static_cast<int32_t>(std::clamp<int64_t>(left / level_bytes, 0, levels));
  plan.spill_levels = levels - plan.shared_levels;
  plan.grid_max = plan.spill_levels > 0 ? kLinear16SpillGrid : kLinear16GridMax;
  return plan;
}

}  // namespace

std::span<const Linear16Tile> Linear16Tiles(WeightFormat format, MatrixFamily family) {
  const bool wgmma = family == MatrixFamily::kWgmma;
  switch (format) {
    case WeightFormat::kInt4:
      return wgmma ? std::span<const Linear16Tile>(kWgmmaInt4) : kMmaInt4;
    case WeightFormat::kInt8:
      return wgmma ? std::span<const Linear16Tile>(kWgmmaInt8) : kMmaInt8;
    case WeightFormat::kBF16:
      return wgmma ? std::span<const Linear16Tile>(kWgmmaBf16) : kMmaFloat;
    default:  // f16 is rare, f32 is for tests: the first tile
      return std::span<const Linear16Tile>(wgmma ? kWgmmaFloat : kMmaFloat)
          .first(format == WeightFormat::kF16 ? 2 : 1);
  }
}

Linear16Plan PlanLinear16With(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                              ActivationFormat rows_format, MatrixFamily family,
                              const Linear16Tile& tile, int64_t parts) {
  Linear16Plan plan =
      Consider(shape, layout, rows, tile, parts, kMachines[static_cast<int>(family)]);
  PlanWorkspace(shape, layout, rows, rows_format, &plan);
  return plan;
}

Linear16Plan PlanLinear16(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                          ActivationFormat rows_format, MatrixFamily family) {
  const Machine& machine = kMachines[static_cast<int>(family)];
  const double weight_bytes =
      static_cast<double>(layout.block_bytes()) / (kCuda16PanelOutputs * kCuda16BlockInputs);
  Linear16Plan best;
  double least = 0;
  for (const Linear16Tile& tile : Linear16Tiles(shape.format, family)) {
    for (int64_t parts = 1; parts <= layout.inputs.leaves; parts *= 2) {
      const Linear16Plan plan = Consider(shape, layout, rows, tile, parts, machine);
      const int64_t partial_bytes = plan.parts.rest.count * rows * shape.outputs * 4;
      if (parts > 1 && partial_bytes > kLinear16PartialBytesMax) break;
      const double cost = Cost(shape, plan, rows, machine, weight_bytes);
      if (best.items != 0 && cost >= least) continue;
      best = plan;
      least = cost;
    }
  }
  PlanWorkspace(shape, layout, rows, rows_format, &best);
  return best;
}

int64_t Linear16WorkspaceBytes(const LinearShape& shape, int64_t rows,
                               ActivationFormat rows_format) {
  if (rows == 0 || shape.outputs == 0 || shape.inputs == 0) return 0;
  const Cuda16Layout layout = Cuda16Layout::Of(shape);
  int64_t most = 0;
  for (const MatrixFamily family : {MatrixFamily::kMma, MatrixFamily::kWgmma}) {
    // A choice may change with every tile of rows, and takes the most at the tile's last row.
    for (int64_t some = 8;; some += 8) {
      const int64_t now = std::min(some, rows);
      // Beyond this many rows what is left of the choice grows with the rows.
      if (now < rows && now > 1024) continue;
      most =
          std::max(most, PlanLinear16(shape, layout, now, rows_format, family).workspace_bytes());
      if (now == rows) break;
    }
  }
  return most;
}

}  // namespace octet::kernels
