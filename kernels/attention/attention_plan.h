// Who computes what of a step's attention on a device: lists of work items for a fixed number of
// workers (thread blocks that stay resident), built on the host from the step's sequences and
// uploaded with the step's other inputs. Sizes follow from limits alone, so the place of a plan in
// an image is fixed and a recorded launch replays with any plan.
//
// A tile is up to 64 vectors: rows of one sequence times query heads of one kv head. An item is a
// tile's work over whole rows of the context for a run of kv heads, or over some splits of it for
// one kv head: then each split leaves a state in the workspace and the last worker to arrive merges
// them in order. How the work is cut changes no bit of a result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/device/device_info.h"
#include "kernels/formats/kv_layout.h"

namespace octet::kernels {

// Consecutive rows of one sequence.
struct AttentionSequence {
  int64_t row_begin = 0;
  int64_t row_count = 0;
  int64_t first_position = 0;            // absolute position of row_begin
  const int32_t* block_table = nullptr;  // [ceil((first_position + row_count) / 64)] block ids
  int64_t table_offset = 0;  // on a device: where the table begins in AttentionArgs::block_tables
  // Positions below this were written by earlier steps: a device may read them while this step
  // still appends. Not so, say, of a prompt's beginning that another sequence of the step computes.
  int64_t settled = 0;
};

// Query heads [head_begin, head_begin + head_count) of this rank read kv head `kv_head` of this
// rank.
struct HeadGroup {
  int32_t kv_head = 0;
  int32_t head_begin = 0;
  int32_t head_count = 0;
};

inline constexpr int64_t kAttentionTileVectors = 64;
// Tiles of at most this many vectors: the warps of a worker share the blocks of the context. Wider
// ones: they share the vectors.
inline constexpr int64_t kAttentionNarrowVectors = 8;
// Most states that the workspace holds. A row that finds no room there is not cut.
inline constexpr int64_t kAttentionStatesMax = 32768;
inline constexpr int64_t kAttentionStateTail = 8;  // floats after the values: maximum, sums

struct AttentionLimits {
  int64_t slots = 0;      // sequences of a step
  int64_t step_rows = 0;  // rows of a step
  int64_t context = 0;    // tokens of a sequence
  int64_t workers = 0;    // AttentionWorkers
  int64_t head_dim = 0;
  std::span<const HeadGroup> groups;  // cover all heads of this rank
  // Of any plan that works in the same workspace; 0: it is this one's alone.
  int64_t workers_max = 0;
};

// How many workers suit a device: as many blocks as its multiprocessors hold.
int64_t AttentionWorkers(const KvLayout& layout, const DeviceInfo& info);
// And for steps of up to `rows` rows of one token each: one of each multiprocessor, where every
// tile of more than four vectors can have one to itself.
int64_t AttentionWorkers(const KvLayout& layout, const DeviceInfo& info,
                         std::span<const HeadGroup> groups, int64_t rows);

struct AttentionItem {
  int32_t row = 0;  // of the step
  int32_t rows = 0;
  int32_t first_position = 0;
  int32_t table_offset = 0;
  int32_t group_begin = 0;  // groups [begin, end), of as many heads each
  int32_t group_end = 0;
  int32_t head_first = 0;  // of the heads of each group
  int32_t heads = 0;
  int32_t split_begin = 0;  // splits of the context that this item walks
  int32_t split_end = 0;
  int32_t row_split_begin = 0;  // splits that the tile sees
  int32_t row_split_end = 0;
  int32_t state = -1;  // the first of the cut tile's [splits, vectors] states; -1: it is whole
  int32_t ticket = 0;  // the counter by which the parts of a cut tile know the last of them
  int32_t parts = 1;
  int32_t settled = 0;  // AttentionSequence::settled
};

// Where things are in a plan and in the workspace; made of limits, the same on host and device.
struct AttentionDevicePlan {
  const std::byte* bytes = nullptr;  // device: plan_bytes()
  int64_t workers = 0;
  int64_t workers_max = 0;  // of the plans that share the workspace
  int64_t groups = 0;
  int64_t items = 0;   // room for
  int64_t states = 0;  // room for
  int64_t head_dim = 0;
  // Which lists a launch looks at. A step of decode rows alone has no wide tile where no kv head
  // has more than kAttentionNarrowVectors query heads.
  bool narrow_tiles = true;
  bool wide_tiles = true;

  explicit operator bool() const { return workers > 0; }
  // Two lists, narrow tiles and wide ones: items [begin[w], begin[w + 1]) are of worker w.
  int64_t narrow_begin() const { return 0; }  // [workers + 1] int32
  int64_t wide_begin() const { return AlignUp((workers + 1) * 4); }
  int64_t group_list() const { return 2 * wide_begin(); }  // [groups] HeadGroup
  int64_t item_list() const {                              // [items] AttentionItem
    return group_list() + AlignUp(groups * static_cast<int64_t>(sizeof(HeadGroup)));
  }
  int64_t plan_bytes() const {
    return item_list() + items * static_cast<int64_t>(sizeof(AttentionItem));
  }

  int64_t tickets() const { return 2 * workers_max; }  // [tickets] uint32, zero between launches
  int64_t state_list() const { return AlignUp(tickets() * 4); }
  int64_t state_floats() const { return head_dim + kAttentionStateTail; }
  int64_t workspace_bytes() const { return state_list() + states * state_floats() * 4; }
};

// The plan of these limits, its bytes still null.
AttentionDevicePlan SizeAttentionPlan(const AttentionLimits& limits);

// Writes the plan of a step into `bytes` (host, plan_bytes(), 64-byte aligned). Padded rows belong
// to no sequence and get no work. Takes no memory. REQUIRES: the sequences obey the limits.
void BuildAttentionPlan(const AttentionLimits& limits, int64_t window,
                        std::span<const AttentionSequence> sequences, std::byte* bytes);

}  // namespace octet::kernels
