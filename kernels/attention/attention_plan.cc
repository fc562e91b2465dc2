// Tiles are walked in order and dealt to the workers in order, each getting an equal share of the
// blocks to read; the border between two workers falls between rows, or between splits where a row
// would be too long for what is left.
#include "kernels/attention/attention_plan.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/attention/attention_shape.h"

namespace octet::kernels {
namespace {

// What a tile costs beside its blocks, in blocks: queries, the last merge, the output.
constexpr int64_t kTileCost = 1;

int64_t RowsPerTile(int64_t heads) { return std::max<int64_t>(1, kAttentionTileVectors / heads); }

// One tile for `group_end - group_begin` kv heads.
struct TileRun {
  AttentionItem item;
  int64_t first_block = 0;
  int64_t last_block = 0;

  bool narrow() const { return item.rows * item.heads <= kAttentionNarrowVectors; }
  int64_t cost() const { return last_block - first_block + 1 + kTileCost; }
  int64_t groups() const { return item.group_end - item.group_begin; }
  int64_t splits() const { return item.row_split_end - item.row_split_begin; }
  // Blocks of the first `splits` splits.
  int64_t BlocksOf(int64_t splits) const {
    const int64_t end = (item.row_split_begin + splits) * kSplitBlocks;
    return std::min(end, last_block + 1) - first_block;
  }
};

TileRun RunOf(const AttentionSequence& sequence, int64_t window, int64_t row, int64_t rows) {
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
  run.item.row_split_begin = static_cast<int32_t>(oldest / kKvSplitTokens);
  run.item.row_split_end = static_cast<int32_t>(last / kKvSplitTokens + 1);
  run.item.split_begin = run.item.row_split_begin;
  run.item.split_end = run.item.row_split_end;
  return run;
}

// Runs of groups with as many heads each, and the parts of their heads that fit a tile.
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

template <typename Visit>
void ForEachRun(const AttentionLimits& limits, int64_t window,
                std::span<const AttentionSequence> sequences, bool narrow, const Visit& visit) {
  for (const AttentionSequence& sequence : sequences) {
    ForEachGroupRun(limits.groups, [&](int32_t begin, int32_t end, int32_t first, int32_t heads) {
      const int64_t tile_rows = RowsPerTile(heads);
      for (int64_t row = 0; row < sequence.row_count; row += tile_rows) {
        TileRun run = RunOf(sequence, window, row, std::min(tile_rows, sequence.row_count - row));
        run.item.group_begin = begin;
        run.item.group_end = end;
        run.item.head_first = first;
        run.item.heads = heads;
        if (run.narrow() == narrow) visit(run);
      }
    });
  }
}

// Deals one list of tiles to the workers.
class Dealer {
 public:
  Dealer(const AttentionDevicePlan& plan, std::byte* bytes)
      : plan_(plan), items_(reinterpret_cast<AttentionItem*>(bytes + plan.item_list())) {}

  // `begin` is [workers + 1]; a row may exceed its worker's share by `slack` blocks and stay whole.
  void Open(int32_t* begin, int64_t total, int64_t slack) {
    begin_ = begin;
    total_ = total;
    slack_ = slack;
    dealt_ = 0;
    worker_ = 0;
    begin_[0] = static_cast<int32_t>(count_);
  }

  void Deal(const TileRun& run) {
    for (int64_t group = 0; group < run.groups();) {
      const int64_t room = Room();
      const int64_t whole = last_worker()
                                ? run.groups() - group
                                : std::min((room + slack_) / run.cost(), run.groups() - group);
      if (whole > 0) {
        Emit(run, group, group + whole);
        dealt_ += whole * run.cost();
        group += whole;
      } else if (room <= slack_) {
        NextWorker();
      } else {
        if (!Cut(run, group)) {
          Emit(run, group, group + 1);
          dealt_ += run.cost();
        }
        ++group;
      }
    }
  }

  void Close() {
    while (worker_ < plan_.workers) NextWorker();
  }

 private:
  bool last_worker() const { return worker_ + 1 == plan_.workers; }
  // Blocks until the worker has its share of all that is dealt up to it.
  int64_t Room() const { return total_ * (worker_ + 1) / plan_.workers - dealt_; }

  void NextWorker() { begin_[++worker_] = static_cast<int32_t>(count_); }

  AttentionItem& Emit(const TileRun& run, int64_t group_begin, int64_t group_end) {
    OCTET_CHECK_LT(count_, plan_.items);
    AttentionItem& item = items_[count_++] = run.item;
    item.group_begin = static_cast<int32_t>(run.item.group_begin + group_begin);
    item.group_end = static_cast<int32_t>(run.item.group_begin + group_end);
    return item;
  }

  // Gives the splits of one row to this worker and those after it. False: the row must stay whole.
  bool Cut(const TileRun& run, int64_t group) {
    const int64_t states = run.splits() * run.item.rows * run.item.heads;
    if (run.splits() == 1 || states_ + states > plan_.states) return false;
    const int64_t first_item = count_;
    for (int64_t split = 0; split < run.splits();) {
      const int64_t done = run.BlocksOf(split);
      int64_t end = split;
      while (end < run.splits() &&
             (last_worker() || run.BlocksOf(end + 1) - done <= Room() + kSplitBlocks / 2)) {
        ++end;
      }
      if (end == split) {
        NextWorker();
        continue;
      }
      AttentionItem& item = Emit(run, group, group + 1);
      item.split_begin = static_cast<int32_t>(run.item.row_split_begin + split);
      item.split_end = static_cast<int32_t>(run.item.row_split_begin + end);
      dealt_ += run.BlocksOf(end) - done;
      split = end;
    }
    dealt_ += kTileCost;
    if (count_ - first_item == 1) return true;
    OCTET_CHECK_LT(tickets_, plan_.tickets());
    for (int64_t i = first_item; i < count_; ++i) {
      items_[i].state = static_cast<int32_t>(states_);
      items_[i].ticket = static_cast<int32_t>(tickets_);
      items_[i].parts = static_cast<int32_t>(count_ - first_item);
    }
    states_ += states;
    ++tickets_;
    return true;
  }

  const AttentionDevicePlan& plan_;
  AttentionItem* items_;
  int32_t* begin_ = nullptr;
  int64_t total_ = 0, slack_ = 0, dealt_ = 0, worker_ = 0;  // of the list
  int64_t count_ = 0, states_ = 0, tickets_ = 0;            // of the plan
};

}  // namespace

int64_t AttentionWorkers(const KvLayout& layout, const DeviceInfo& info) {
  int64_t workers = 0;
  const bool has_kernel = WithShape(layout, [&](auto shape) {
    const AttentionLaunch launch = NarrowLaunch<decltype(shape)>(info.shared_bytes_per_block);
    workers = int64_t{launch.blocks_per_processor} * info.sm_count;
  });
  return has_kernel ? workers : 0;
}

AttentionDevicePlan SizeAttentionPlan(const AttentionLimits& limits) {
  AttentionDevicePlan plan;
  plan.workers = limits.workers;
  plan.groups = static_cast<int64_t>(limits.groups.size());
  plan.head_dim = limits.head_dim;
  int64_t heads = 0;
  ForEachGroupRun(limits.groups, [&](int32_t begin, int32_t end, int32_t, int32_t part) {
    plan.items += limits.slots + limits.step_rows / RowsPerTile(part);
    heads += static_cast<int64_t>(end - begin) * part;
  });
  // A border between workers ends an item and begins another, once more where it cuts a row.
  plan.items += 4 * limits.workers;
  const int64_t splits = (limits.context + kKvSplitTokens - 1) / kKvSplitTokens;
  plan.states = std::min(limits.step_rows * heads * splits, kAttentionStatesMax);
  return plan;
}

void BuildAttentionPlan(const AttentionLimits& limits, int64_t window,
                        std::span<const AttentionSequence> sequences, std::byte* bytes) {
  const AttentionDevicePlan plan = SizeAttentionPlan(limits);
  OCTET_CHECK_GT(plan.workers, 0);
  std::copy(limits.groups.begin(), limits.groups.end(),
            reinterpret_cast<HeadGroup*>(bytes + plan.group_list()));
  Dealer dealer(plan, bytes);
  for (const bool narrow : {true, false}) {
    int64_t total = 0;
    ForEachRun(limits, window, sequences, narrow,
               [&](const TileRun& run) { total += run.groups() * run.cost(); });
    // Cutting a narrow row costs little; the states of a wide tile are many.
    const int64_t slack =
        std::max<int64_t>(kSplitBlocks / 2, total / plan.workers / (narrow ? 32 : 8));
    const int64_t begin = narrow ? plan.narrow_begin() : plan.wide_begin();
    dealer.Open(reinterpret_cast<int32_t*>(bytes + begin), total, slack);
    ForEachRun(limits, window, sequences, narrow, [&](const TileRun& run) { dealer.Deal(run); });
    dealer.Close();
  }
}

}  // namespace octet::kernels
