#include "kernels/linear/linear16_plan.h"

#include <algorithm>
#include <bit>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/linear/linear16_cost.h"

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
    {Name::kFew8, 64, 8, 0, 1, 1, 16, 1},
    {Name::kFew8, 64, 8, 0, 1, 1, 16, 2},
    {Name::kFew8, 64, 8, 0, 1, 1, 16, 4},
    {Name::kFew8, 64, 8, 0, 1, 1, 16, 8},
    {Name::kFew16, 64, 16, 0, 1, 1, 12, 1},
    {Name::kFew16, 64, 16, 0, 1, 1, 12, 2},
    {Name::kFew16, 64, 16, 0, 1, 1, 12, 4},
    {Name::kStream8, 64, 8, 0, 1, 1, 16, 1},
    {Name::kStream8, 64, 8, 0, 1, 1, 16, 2},
    {Name::kStream8, 64, 8, 0, 1, 1, 16, 4},
    {Name::kStream8, 64, 8, 0, 1, 1, 16, 8},
    {Name::kStream16, 64, 16, 0, 1, 1, 12, 1},
    {Name::kStream16, 64, 16, 0, 1, 1, 12, 2},
    {Name::kStream16, 64, 16, 0, 1, 1, 12, 4},
    {Name::kStream8Sides, 64, 8, 0, 1, 1, 10, 1},
    {Name::kStream8Sides, 64, 8, 0, 1, 1, 10, 2},
    {Name::kStream8Sides, 64, 8, 0, 1, 1, 10, 4},
    {Name::kStream8Sides, 64, 8, 0, 1, 1, 10, 8},
    {Name::kStream16Sides, 64, 16, 0, 1, 1, 8, 1},
    {Name::kStream16Sides, 64, 16, 0, 1, 1, 8, 2},
    {Name::kStream16Sides, 64, 16, 0, 1, 1, 8, 4},
    {Name::kStream16Sides, 64, 16, 0, 1, 1, 8, 8},
    {Name::k256x32, 256, 32, 6, 1, 2},
    {Name::k256x64, 256, 64, 5, 1, 2},
    {Name::kWide16, 256, 16, 0, 1},
    {Name::kWide32, 192, 32, 0, 1},
    {Name::kWide32, 256, 32, 0, 1},
    {Name::kWide64, 128, 64, 0, 1},
    {Name::kWide64, 192, 64, 0, 1},
    {Name::kWide128, 128, 128, 0, 1},
};
constexpr Linear16Tile kWgmmaInt8[] = {
    {Name::kFew8, 64, 8, 0, 1, 1, 12},
    {Name::kFew16, 64, 16, 0, 1, 1, 8},
    {Name::k256x64, 256, 64, 5, 1, 2},
    {Name::kWide64, 128, 64, 0, 1},
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

// What all blocks together ask for in L2 before they begin, so that it is there when they do.
constexpr int64_t kFewAheadBytes = int64_t{24} << 20;

// How many sums of each output the thread blocks leave.
int64_t SumsOf(const Linear16Plan& plan) {
  // There is one for each block of a cluster.
  return IsStream(plan.tile.name) ? plan.parts.parts / plan.tile.split : plan.parts.rest.count;
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
    plan->partial_bytes = AlignUp(SumsOf(*plan) * rows * shape.outputs * 4);
    if (IsWide(plan->tile.name)) {
      plan->partial_bytes = plan->items * plan->tile.outputs * plan->tile.tokens * 4;
    }
  }
  plan->spill_bytes =
      plan->grid_max * plan->spill_levels * plan->tile.outputs * plan->tile.tokens * 4;
}

// Every block of inputs is one segment, with f16 scales.
bool IsWhole(const LinearShape& shape, const Cuda16Layout& layout) {
  const uint8_t* ends = layout.inputs.segment_ends;
  return shape.scale_format == ScaleFormat::kF16 && layout.inputs.slots[0] == 0 &&
         std::all_of(ends, ends + layout.blocks(), [](uint8_t end) { return end == 0x80; });
}

// A program over `count` sums is that of a whole binary tree: after sum i as many additions as i
// ends in ones.
bool IsWholeTree(const uint8_t* merges, int64_t count) {
  if (!std::has_single_bit(static_cast<uint64_t>(count))) return false;
  for (int64_t i = 0; i < count; ++i) {
    if (merges[i] != std::countr_one(static_cast<uint64_t>(i))) return false;
  }
  return true;
}

// Whether linear16_wide.cuh can do it: whole blocks, of which x has the inputs one after the other
// (where it is laid out by steps, too: those are its rows then), and whole trees over the leaves of
// each part, two at least, and over at most 8 parts.
bool FitsWide(const LinearShape& shape, const Cuda16Layout& layout, const LeafParts& parts) {
  constexpr int32_t kPartsMax = 8;
  const Cuda16Inputs& inputs = layout.inputs;
  if (!layout.in_place || !IsWhole(shape, layout)) return false;
  for (int32_t leaf = 0; leaf < inputs.leaves; ++leaf) {
    if (inputs.leaf_input[leaf] != inputs.leaf_block[leaf] * kCuda16BlockInputs) return false;
    if (inputs.leaf_block[leaf] == inputs.leaf_block[leaf + 1]) return false;
  }
  if (parts.parts > kPartsMax || parts.rest.count != parts.parts ||
      !IsWholeTree(parts.rest.merges, parts.parts)) {
    return false;
  }
  for (int32_t part = 0; part < parts.parts; ++part) {
    const int32_t begin = parts.leaf_begin[part];
    const int32_t leaves = parts.leaf_begin[part + 1] - begin;
    if (leaves < 2 || !IsWholeTree(parts.merges + begin, leaves)) return false;
  }
  return true;
}

// Whether linear16_stream.cuh can do it: whole blocks, and one sum of each part, which are a whole
// tree.
bool FitsStream(const LinearShape& shape, const Cuda16Layout& layout, const LeafParts& parts) {
  return IsWhole(shape, layout) && !shape.asymmetric && parts.rest.count == parts.parts &&
         IsWholeTree(parts.rest.merges, parts.parts);
}

// Fills plan->few but for the deal; false if a part takes more shared memory than there is.
bool FitFew(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
            const Linear16Machine& machine, Linear16Plan* plan) {
  const Cuda16Inputs& inputs = layout.inputs;
  const LeafParts& parts = plan->parts;
  int64_t blocks = 0;
  int64_t segments = 0;
  const int32_t split = plan->tile.split;
  if (parts.parts % split != 0) return false;
  const bool stream = IsStream(plan->tile.name);
  if (stream && !FitsStream(shape, layout, parts)) return false;
  for (int32_t part = 0; part < parts.parts; part += split) {
    const int begin = parts.leaf_begin[part];
    const int end = parts.leaf_begin[part + split];
    blocks = std::max<int64_t>(blocks, inputs.leaf_block[end] - inputs.leaf_block[begin]);
    segments = std::max<int64_t>(segments, inputs.leaf_segment[end] - inputs.leaf_segment[begin]);
  }
  Linear16Few& few = plan->few;
  // Rows 16 bytes beyond a multiple of 128 apart: ldmatrix meets no bank twice.
  few.x_stride = static_cast<int32_t>(blocks * kCuda16BlockInputs * 2 + 16);
  few.tokens = static_cast<int32_t>(std::min<int64_t>(rows, plan->tile.tokens));
  few.segments = shape.asymmetric ? static_cast<int32_t>(segments) : 0;
  few.stage_bytes = static_cast<int32_t>(AlignUp(layout.block_bytes(), 128));
  few.levels = FewLevels(parts, stream ? StreamTopInRegisters(plan->tile.tokens)
                                       : FewTopInRegisters(plan->tile.tokens));
  // Those that share a panel put their last sums there.
  if (stream && split > 1) few.levels = std::max(few.levels, 1);
  few.whole = IsWhole(shape, layout);
  FewNeeds& needs = few.needs;
  needs.shared_bytes = few.tokens * few.x_stride + few.segments * plan->tile.tokens * 4;
  needs.warp_bytes = int64_t{few.levels} * kCuda16PanelOutputs * plan->tile.tokens * 4;
  needs.stage_bytes = stream ? 0 : few.stage_bytes + 8;
  needs.warps_max = FewWarpsMax(plan->tile.warps, few.whole);
  needs.split = split;
  const auto multiprocessors = static_cast<int64_t>(machine.multiprocessors);
  const auto deal = DealFew(needs, plan->output_tiles, parts.parts / split, multiprocessors);
  if (!deal.has_value()) return false;
  few.ahead = static_cast<int32_t>(kFewAheadBytes / (multiprocessors * deal->warps));
  return true;
}

Linear16Plan Consider(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                      const Linear16Tile& tile, int64_t parts, const Linear16Machine& machine) {
  Linear16Plan plan;
  plan.tile = tile;
  plan.parts = DealLeaves(shape.merges, parts * tile.split);
  plan.output_tiles = (shape.outputs + tile.outputs - 1) / tile.outputs;
  plan.row_tiles = (rows + tile.tokens - 1) / tile.tokens;
  plan.items = plan.output_tiles * plan.row_tiles * plan.parts.parts;
  plan.stage_bytes = Linear16StageBytes(layout.stage_bytes, layout.inputs.slots, shape.asymmetric,
                                        tile.outputs / kCuda16PanelOutputs, tile.tokens);
  plan.grid_max = kLinear16GridMax;
  if (tile.warps > 0) {
    if (!FitFew(shape, layout, rows, machine, &plan)) plan.items = 0;
    return plan;
  }
  if (IsWide(tile.name)) {
    if (!FitsWide(shape, layout, plan.parts)) plan.items = 0;
    // Level 1 is that of a pair of leaves; the topmost sum is in registers.
    plan.shared_levels = 2;
    plan.spill_levels = std::max(plan.parts.depth - 2 - plan.shared_levels, 0);
    if (plan.spill_levels > 0) plan.grid_max = kLinear16SpillGrid;
    return plan;
  }
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
  const Linear16Machine& machine = Linear16MachineOf(family);
  Linear16Plan plan = Consider(shape, layout, rows, tile, parts, machine);
  while (plan.items == 0 && parts < layout.inputs.leaves) {
    plan = Consider(shape, layout, rows, tile, parts *= 2, machine);
  }
  if (plan.items == 0) return plan;
  PlanWorkspace(shape, layout, rows, rows_format, &plan);
  return plan;
}

Linear16Plan PlanLinear16(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                          ActivationFormat rows_format, MatrixFamily family) {
  const Linear16Machine& machine = Linear16MachineOf(family);
  Linear16Plan best;
  double least = 0;
  for (const Linear16Tile& tile : Linear16Tiles(shape.format, family)) {
    for (int64_t parts = 1; parts <= layout.inputs.leaves; parts *= 2) {
      const Linear16Plan plan = Consider(shape, layout, rows, tile, parts, machine);
      if (plan.items == 0) continue;
      if (IsStream(tile.name) && plan.row_tiles > 1) continue;  // weights would come twice
      const int64_t partial_bytes = SumsOf(plan) * rows * shape.outputs * 4;
      if (parts > 1 && partial_bytes > kLinear16PartialBytesMax) break;
      const double cost = Linear16Clocks(shape, layout, rows, plan, machine);
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
      // Beyond this many rows it changes with tiles of 64 and 128.
      if (now < rows && now > 1024 && now % 64 != 0) continue;
      most =
          std::max(most, PlanLinear16(shape, layout, now, rows_format, family).workspace_bytes());
      if (now == rows) break;
    }
  }
  return most;
}

}  // namespace octet::kernels
