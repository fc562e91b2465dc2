// The tiles of a step's attention on a device, as attention_plan.cc and attention_pack.h deal them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/attention/attention_plan.h"
#include "kernels/attention/attention_shape.h"

namespace octet::kernels {

inline int64_t RowsPerTile(int64_t heads) {
  return std::max<int64_t>(1, kAttentionTileVectors / heads);
}

// One tile for `group_end - group_begin` kv heads.
struct TileRun {
  AttentionItem item;
  int64_t first_block = 0;
  int64_t last_block = 0;

  bool narrow() const { return item.rows * item.heads <= kAttentionNarrowVectors; }
  int64_t blocks() const { return last_block - first_block + 1; }
  int64_t groups() const { return item.group_end - item.group_begin; }
  int64_t splits() const { return item.row_split_end - item.row_split_begin; }
  // Blocks of the first `splits` splits.
  int64_t BlocksOf(int64_t splits) const {
    const int64_t end = (item.row_split_begin + splits) * kSplitBlocks;
    return std::min(end, last_block + 1) - first_block;
  }
};

// Rows [row, row + rows) of a sequence, for no heads yet.
inline TileRun RunOf(const AttentionSequence& sequence, int64_t window, int64_t row, int64_t rows) {
  TileRun run;
  const int64_t first = sequence.first_position + row;
  const int64_t last = first + rows - 1;
  const int64_t oldest = window > 0 ? std::max<int64_t>(0, first + 1 - window) : 0;
  run.first_block = oldest / kKvBlockTokens;
  run.last_block = last / kKvBlockTokens;
  run.item.row = static_cast<int32_t>(sequence.row_begin + row);
  run.item.rows = static_cast<int32_t>(rows);
  run.item.first_position = static_cast<int32_t>(first);
  run.item.table_offset = static_cast<int32_t>(sequence.table_offset);
  run.item.settled = static_cast<int32_t>(sequence.settled);
  run.item.row_split_begin = static_cast<int32_t>(oldest / kKvSplitTokens);
  run.item.row_split_end = static_cast<int32_t>(last / kKvSplitTokens + 1);
  run.item.split_begin = run.item.row_split_begin;
  run.item.split_end = run.item.row_split_end;
  return run;
}

// Runs of groups with as many heads each, and the parts of their heads that fit a tile:
// visit(group_begin, group_end, head_first, heads).
template <typename Visit>
void ForEachGroupRun(std::span<const HeadGroup> groups, const Visit& visit) {
  for (size_t begin = 0, end = 0; begin < groups.size(); begin = end) {
    const int32_t heads = groups[begin].head_count;
    while (end < groups.size() && groups[end].head_count == heads) ++end;
    for (int32_t first = 0; first < heads; first += kAttentionTileVectors) {
      const auto part = std::min<int32_t>(heads - first, kAttentionTileVectors);
      visit(static_cast<int32_t>(begin), static_cast<int32_t>(end), first, part);
    }
  }
}

// Room for as many indices of sequences, at the end of the items.
inline int64_t OrderItems(int64_t slots) {
  constexpr int64_t kOfItem = sizeof(AttentionItem) / sizeof(int32_t);
  return (slots + kOfItem - 1) / kOfItem;
}

// Items of a plan as they are dealt, and the states and tickets of cut tiles.
class ItemWriter {
 public:
  ItemWriter(const AttentionDevicePlan& plan, std::byte* bytes)
      : plan_(&plan), items_(reinterpret_cast<AttentionItem*>(bytes + plan.item_list())) {}

  int32_t count() const { return static_cast<int32_t>(count_); }

  // Groups [begin, end) of the run's, over the whole context.
  AttentionItem& Add(const TileRun& run, int64_t group_begin, int64_t group_end);
  // Splits [begin, end) of the row's, for one group of a tile that is cut.
  void AddPart(const TileRun& run, int64_t group, int64_t split_begin, int64_t split_end);

  bool HasRoomToCut(const TileRun& run) const;
  // Between them all parts of one tile are added; other items may be too.
  void BeginCut(const TileRun& run);
  void EndCut();

 private:
  const AttentionDevicePlan* plan_;
  AttentionItem* items_;
  int64_t count_ = 0, states_ = 0, tickets_ = 0;
  int64_t cut_begin_ = 0;  // the first item that may belong to the tile that is being cut
  int64_t cut_states_ = 0;
  int32_t cut_parts_ = 0;
};

// Deals narrow tiles: `bytes` is the plan, whose list of them is written.
void PackNarrowTiles(const AttentionLimits& limits, int64_t window,
                     std::span<const AttentionSequence> sequences, const AttentionDevicePlan& plan,
                     std::byte* bytes, ItemWriter& writer);

}  // namespace octet::kernels
