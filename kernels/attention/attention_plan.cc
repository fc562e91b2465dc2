// Sizes of a plan, and its wide tiles: they are walked in order and dealt to the workers in order,
// each getting an equal share of the blocks to read; the border between two workers falls between
// rows, or between splits where a row would be too long for what is left. Narrow ones:
// attention_pack.cc.
#include "kernels/attention/attention_plan.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/attention/attention_runs.h"

namespace octet::kernels {

AttentionItem& ItemWriter::Add(const TileRun& run, int64_t group_begin, int64_t group_end) {
  OCTET_CHECK_LT(count_, plan_->items);
  AttentionItem& item = items_[count_++] = run.item;
  item.group_begin = static_cast<int32_t>(run.item.group_begin + group_begin);
  item.group_end = static_cast<int32_t>(run.item.group_begin + group_end);
  return item;
}

bool ItemWriter::HasRoomToCut(const TileRun& run) const {
  return states_ + run.splits() * run.item.rows * run.item.heads <= plan_->states;
}

void ItemWriter::BeginCut(const TileRun& run) {
  OCTET_CHECK(HasRoomToCut(run));
  cut_begin_ = count_;
  cut_parts_ = 0;
  cut_states_ = run.splits() * run.item.rows * run.item.heads;
}

void ItemWriter::AddPart(const TileRun& run, int64_t group, int64_t split_begin,
                         int64_t split_end) {
  AttentionItem& item = Add(run, group, group + 1);
  item.split_begin = static_cast<int32_t>(run.item.row_split_begin + split_begin);
  item.split_end = static_cast<int32_t>(run.item.row_split_begin + split_end);
  item.state = static_cast<int32_t>(states_);
  item.ticket = static_cast<int32_t>(tickets_);
  ++cut_parts_;
}

void ItemWriter::EndCut() {
  const bool whole = cut_parts_ == 1;  // one worker has taken all splits
  for (int64_t i = cut_begin_; i < count_; ++i) {
    if (items_[i].state != states_) continue;
    items_[i].parts = cut_parts_;
    if (whole) items_[i].state = -1;
  }
  if (whole) return;
  OCTET_CHECK_LT(tickets_, plan_->tickets());
  states_ += cut_states_;
  ++tickets_;
}

namespace {

// What a wide tile costs beside its blocks, in blocks: queries, the last merge, the output.
constexpr int64_t kTileCost = 1;
int64_t CostOf(const TileRun& run) { return run.blocks() + kTileCost; }

template <typename Visit>
void ForEachWideRun(const AttentionLimits& limits, int64_t window,
                    std::span<const AttentionSequence> sequences, const Visit& visit) {
  for (const AttentionSequence& sequence : sequences) {
    ForEachGroupRun(limits.groups, [&](int32_t begin, int32_t end, int32_t first, int32_t heads) {
      const int64_t tile_rows = RowsPerTile(heads);
      for (int64_t row = 0; row < sequence.row_count; row += tile_rows) {
        TileRun run = RunOf(sequence, window, row, std::min(tile_rows, sequence.row_count - row));
        run.item.group_begin = begin;
        run.item.group_end = end;
        run.item.head_first = first;
        run.item.heads = heads;
        if (!run.narrow()) visit(run);
      }
    });
  }
}

class WideDealer {
 public:
  // `begin` is [workers + 1]; a row may exceed its worker's share by `slack` blocks and stay whole.
  WideDealer(int32_t* begin, int64_t workers, int64_t total, ItemWriter& writer)
      : begin_(begin),
        workers_(workers),
        total_(total),
        slack_(std::max<int64_t>(kSplitBlocks / 2, total / workers / 8)),
        writer_(writer) {
    begin_[0] = writer.count();
  }

  void Deal(const TileRun& run) {
    for (int64_t group = 0; group < run.groups();) {
      const int64_t room = Room();
      const int64_t whole = last_worker()
                                ? run.groups() - group
                                : std::min((room + slack_) / CostOf(run), run.groups() - group);
      if (whole > 0) {
        writer_.Add(run, group, group + whole);
        dealt_ += whole * CostOf(run);
        group += whole;
      } else if (room <= slack_) {
        NextWorker();
      } else {
        if (!Cut(run, group)) {
          writer_.Add(run, group, group + 1);
          dealt_ += CostOf(run);
        }
        ++group;
      }
    }
  }

  void Close() {
    while (worker_ < workers_) NextWorker();
  }

 private:
  bool last_worker() const { return worker_ + 1 == workers_; }
  // Blocks until the worker has its share of all that is dealt up to it.
  int64_t Room() const { return total_ * (worker_ + 1) / workers_ - dealt_; }

  void NextWorker() { begin_[++worker_] = writer_.count(); }

  // Gives the splits of one row to this worker and those after it. False: the row must stay whole.
  bool Cut(const TileRun& run, int64_t group) {
    if (run.splits() == 1 || !writer_.HasRoomToCut(run)) return false;
    writer_.BeginCut(run);
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
      writer_.AddPart(run, group, split, end);
      dealt_ += run.BlocksOf(end) - done;
      split = end;
    }
    dealt_ += kTileCost;
    writer_.EndCut();
    return true;
  }

  int32_t* begin_;
  const int64_t workers_, total_, slack_;
  ItemWriter& writer_;
  int64_t dealt_ = 0, worker_ = 0;
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

int64_t AttentionWorkers(const KvLayout& layout, const DeviceInfo& info,
                         std::span<const HeadGroup> groups, int64_t rows) {
  const int64_t workers = AttentionWorkers(layout, info);
  const bool fills = std::all_of(groups.begin(), groups.end(), [](const HeadGroup& group) {
    return 2 * group.head_count > kAttentionNarrowVectors &&
           group.head_count <= kAttentionNarrowVectors;
  });
  const int64_t tiles = static_cast<int64_t>(groups.size()) * rows;
  return fills && tiles <= info.sm_count ? std::min<int64_t>(workers, info.sm_count) : workers;
}

AttentionDevicePlan SizeAttentionPlan(const AttentionLimits& limits) {
  AttentionDevicePlan plan;
  plan.workers = limits.workers;
  plan.workers_max = std::max(limits.workers, limits.workers_max);
  plan.groups = static_cast<int64_t>(limits.groups.size());
  plan.head_dim = limits.head_dim;
  int64_t heads = 0;
  ForEachGroupRun(limits.groups, [&](int32_t begin, int32_t end, int32_t, int32_t part) {
    plan.items += limits.slots + limits.step_rows / RowsPerTile(part);
    heads += static_cast<int64_t>(end - begin) * part;
  });
  // A border between workers ends an item and begins another, once more where it cuts a row.
  plan.items += 4 * limits.workers;
  plan.items += OrderItems(limits.slots);
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
  ItemWriter writer(plan, bytes);
  PackNarrowTiles(limits, window, sequences, plan, bytes, writer);
  int64_t total = 0;
  ForEachWideRun(limits, window, sequences,
                 [&](const TileRun& run) { total += run.groups() * CostOf(run); });
  WideDealer dealer(reinterpret_cast<int32_t*>(bytes + plan.wide_begin()), plan.workers, total,
                    writer);
  ForEachWideRun(limits, window, sequences, [&](const TileRun& run) { dealer.Deal(run); });
  dealer.Close();
}

}  // namespace octet::kernels
