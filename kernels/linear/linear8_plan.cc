#include "kernels/linear/linear8_plan.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/check.h"
#include "kernels/linear/cuda8_layout.h"

namespace octet::kernels {
namespace {

// A tile of 64 rows or more fills a multiprocessor, of smaller ones there is room for two or more.
constexpr int64_t kLargeTile = 64;
constexpr int64_t kItemsWanted = 264;
constexpr int64_t kLargeItemsWanted = 132;
constexpr int64_t kPartAlignment = 256;

// What becomes of the sum that each leaf of a part ends in: it waits for its right neighbour, or it
// is left.
void PlanSums(Linear8Plan& plan) {
  const LeafParts& parts = plan.parts;
  for (int32_t part = 0; part < parts.parts; ++part) {
    uint8_t waiting[kPartLeavesMax];
    int32_t held = 0;
    for (int32_t leaf = parts.leaf_begin[part]; leaf < parts.leaf_begin[part + 1]; ++leaf) {
      plan.left_sum[leaf] = kSumWaits;
      held -= parts.merges[leaf];
      waiting[held++] = static_cast<uint8_t>(leaf);
    }
    OCTET_CHECK_EQ(held, parts.sum_begin[part + 1] - parts.sum_begin[part]);
    for (int32_t i = 0; i < held; ++i) {
      plan.left_sum[waiting[i]] = static_cast<uint8_t>(parts.sum_begin[part] + i);
    }
    held = 0;
    for (int32_t leaf = parts.leaf_begin[part]; leaf < parts.leaf_begin[part + 1]; ++leaf) {
      held -= parts.merges[leaf];
      if (plan.left_sum[leaf] == kSumWaits) plan.waiting_max = std::max(plan.waiting_max, ++held);
    }
  }
}

}  // namespace

Linear8Plan Linear8Plan::Of(const LinearShape& shape, int64_t rows, ActivationFormat rows_format,
                            int64_t parts) {
  Linear8Plan plan;
  const int64_t tile = std::min<int64_t>(PaddedActivationRows(rows), 128);
  const int64_t panels = (shape.outputs + kCuda8PanelOutputs - 1) / kCuda8PanelOutputs;
  plan.tile_tokens = static_cast<int32_t>(tile);
  plan.tile_panels = tile <= 16 ? 1 : tile == 64 ? 4 : 2;
  plan.token_tiles = static_cast<int32_t>((rows + tile - 1) / tile);
  plan.panel_tiles = static_cast<int32_t>((panels + plan.tile_panels - 1) / plan.tile_panels);
  const int64_t items = int64_t{plan.token_tiles} * plan.panel_tiles;
  const int64_t wanted = tile >= kLargeTile ? kLargeItemsWanted : kItemsWanted;
  plan.parts = DealLeaves(shape.merges, parts > 0 ? parts : (wanted + items - 1) / items);
  PlanSums(plan);
  plan.waiting_bytes = tile * plan.tile_panels * kCuda8PanelOutputs * 4;
  plan.waiting_blocks = static_cast<int32_t>(std::min<int64_t>(
      plan.items(), tile >= kLargeTile ? kWaitingBlocksMax / 2 : kWaitingBlocksMax));

  const auto take = [&](int64_t& at, int64_t bytes) {
    at = plan.bytes;
    plan.bytes += AlignUp(bytes, kPartAlignment);
  };
  const int64_t int8_bytes = ActivationRowsBytes(
      ActivationFormat::kInt8, ActivationPositions(shape), ActivationSegmentCount(shape), rows);
  take(plan.activations_at, rows_format == ActivationFormat::kInt8 ? 0 : int8_bytes);
  const int64_t sums = plan.parts.parts > 1 ? plan.parts.rest.count : 0;
  take(plan.sums_at, sums * rows * shape.outputs * 4);
  take(plan.waiting_at, plan.waiting_max * plan.waiting_bytes * plan.waiting_blocks);
  return plan;
}

int64_t Linear8WorkspaceBytes(const LinearShape& shape, int64_t rows,
                              ActivationFormat rows_format) {
  if (rows == 0 || shape.outputs == 0 || shape.inputs == 0) return 0;
  // Fewer rows may be dealt to more parts. From one number of tiles to the next nothing shrinks.
  int64_t bytes = Linear8Plan::Of(shape, rows, rows_format).bytes;
  for (int64_t less = 8; less < std::min<int64_t>(rows, 128); less *= 2) {
    bytes = std::max(bytes, Linear8Plan::Of(shape, less, rows_format).bytes);
  }
  for (int64_t less = 128; less < rows; less += 128) {
    const Linear8Plan plan = Linear8Plan::Of(shape, less, rows_format);
    bytes = std::max(bytes, plan.bytes);
    if (plan.parts.parts == 1) break;
  }
  return bytes;
}

}  // namespace octet::kernels
