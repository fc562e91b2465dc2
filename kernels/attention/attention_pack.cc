// Narrow tiles are packed: no worker gets more than a cap, the smallest for which all fit. A worker
// takes what is longest and left, whole tiles or splits of one, then the shortest tiles into what
// room that leaves. So lengths may differ as they like, and short tiles are spread.
#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "kernels/attention/attention_runs.h"

namespace octet::kernels {
namespace {

// What a worker's tile costs, in blocks at the pace of a worker that waits for no one: four teams
// take a round of four blocks, whole or not; a tile has a beginning and an end; a part of a cut
// tile leaves states and a ticket, too, and the last merges. Where all wait for memory, workers
// that are ahead of this leave more of it to the others.
constexpr int64_t kTileCost = 3;
constexpr int64_t kPartCost = kTileCost + 2;

int64_t CostOfBlocks(int64_t first, int64_t last) {
  return (last / kNarrowTeams - first / kNarrowTeams + 1) * kNarrowTeams;
}
int64_t CostOf(const TileRun& run) {
  return kTileCost + CostOfBlocks(run.first_block, run.last_block);
}
// Of splits [begin, end) of a row.
int64_t CostOfPart(const TileRun& run, int64_t begin, int64_t end) {
  const int64_t first = run.first_block + run.BlocksOf(begin) * (begin > 0 ? 1 : 0);
  return kPartCost + CostOfBlocks(first, run.first_block + run.BlocksOf(end) - 1);
}

// The narrow tiles of a step by their length, longest first: each sequence has at most one for each
// part of the heads, of its last rows.
class SortedRuns {
 public:
  // `order` has room for as many numbers as there are sequences.
  SortedRuns(const AttentionLimits& limits, int64_t window,
             std::span<const AttentionSequence> sequences, int32_t* order)
      : limits_(limits), window_(window), sequences_(sequences), order_(order) {
    ForEachGroupRun(limits.groups, [&](int32_t, int32_t, int32_t, int32_t) { ++parts_; });
    const auto end = [&](int32_t i) {
      return sequences[i].row_count == 0 ? 0 : sequences[i].first_position + sequences[i].row_count;
    };
    std::iota(order, order + sequences.size(), 0);
    std::sort(order, order + sequences.size(),
              [&](int32_t a, int32_t b) { return end(a) != end(b) ? end(a) > end(b) : a < b; });
  }

  int64_t count() const { return static_cast<int64_t>(sequences_.size()) * parts_; }

  // The run at `index`, of no groups where that one has no narrow tile.
  TileRun At(int64_t index) {
    FindPart(index % parts_);
    const AttentionSequence& sequence = sequences_[order_[index / parts_]];
    const int64_t tile_rows = RowsPerTile(part_.heads);
    const int64_t row = std::max<int64_t>(0, sequence.row_count - 1) / tile_rows * tile_rows;
    const int64_t rows = sequence.row_count - row;
    if (rows == 0 || rows * part_.heads > kAttentionNarrowVectors) return TileRun();
    TileRun run = RunOf(sequence, window_, row, rows);
    run.item.group_begin = part_.group_begin;
    run.item.group_end = part_.group_end;
    run.item.head_first = part_.head_first;
    run.item.heads = part_.heads;
    return run;
  }

 private:
  void FindPart(int64_t wanted) {
    if (wanted == found_) return;
    int64_t part = 0;
    ForEachGroupRun(limits_.groups, [&](int32_t begin, int32_t end, int32_t first, int32_t heads) {
      if (part++ != wanted) return;
      part_.group_begin = begin;
      part_.group_end = end;
      part_.head_first = first;
      part_.heads = heads;
    });
    found_ = wanted;
  }

  const AttentionLimits& limits_;
  const int64_t window_;
  const std::span<const AttentionSequence> sequences_;
  int32_t* order_;
  int64_t parts_ = 0;
  int64_t found_ = -1;
  AttentionItem part_;
};

// One attempt to deal all runs with a cap.
class Packer {
 public:
  Packer(SortedRuns& runs, const ItemWriter& writer)
      : runs_(runs), writer_(writer), back_(runs.count()) {
    NextFront();
    NextBack();
  }

  bool done() const { return FrontGroups() == 0; }
  const ItemWriter& writer() const { return writer_; }

  // Gives a worker what `room` holds; at least something, as long as there is anything.
  void Fill(int64_t room) {
    bool empty = true;
    while (FrontGroups() > 0) {
      const int64_t taken = cutting_ ? TakeSplits(room, empty) : TakeLongest(room, empty);
      if (taken == 0) break;
      room -= taken;
      empty = false;
    }
    while (BackGroups() > 0) {
      const int64_t cost = CostOf(last_);
      const int64_t groups = std::min(BackGroups(), room / cost);
      if (groups <= 0) break;
      writer_.Add(last_, back_groups_ - groups, back_groups_);
      room -= groups * cost;
      back_groups_ -= groups;
      if (BackGroups() == 0) NextBack();
    }
  }

 private:
  bool OneRun() const { return front_ == back_; }
  // Groups that nobody has taken yet, of the longest run and of the shortest. A group that is being
  // cut counts: it fits nowhere whole.
  int64_t FrontGroups() const {
    if (front_ > back_) return 0;
    return (OneRun() ? back_groups_ : first_.groups()) - group_;
  }
  int64_t BackGroups() const {
    if (front_ > back_) return 0;
    return back_groups_ - (OneRun() ? group_ : 0);
  }

  void NextFront() {
    group_ = 0;
    while (++front_ < runs_.count() && front_ <= back_) {
      first_ = runs_.At(front_);
      if (first_.groups() > 0) return;
    }
    front_ = back_ + 1;
  }
  void NextBack() {
    while (--back_ >= front_) {
      last_ = runs_.At(back_);
      back_groups_ = last_.groups();
      if (back_groups_ > 0) return;
    }
  }
  void FrontGroupDone(int64_t groups) {
    group_ += groups;
    if (FrontGroups() == 0) NextFront();
  }

  // What was taken costs; 0: nothing fits.
  int64_t TakeLongest(int64_t room, bool empty) {
    const int64_t cost = CostOf(first_);
    int64_t groups = std::min(FrontGroups(), room / cost);
    if (groups <= 0) {
      if (first_.splits() > 1 && writer_.HasRoomToCut(first_)) {
        if (!empty && CostOfPart(first_, 0, 1) > room) return 0;
        writer_.BeginCut(first_);
        cutting_ = true;
        split_ = 0;
        return TakeSplits(room, empty);
      }
      if (!empty) return 0;
      groups = 1;
    }
    writer_.Add(first_, group_, group_ + groups);
    FrontGroupDone(groups);
    return groups * cost;
  }

  int64_t TakeSplits(int64_t room, bool empty) {
    int64_t end = split_ + (empty ? 1 : 0);
    while (end < first_.splits() && CostOfPart(first_, split_, end + 1) <= room) ++end;
    if (end == split_) return 0;
    writer_.AddPart(first_, group_, split_, end);
    const int64_t cost = CostOfPart(first_, split_, end);
    split_ = end;
    if (end == first_.splits()) {
      writer_.EndCut();
      cutting_ = false;
      FrontGroupDone(1);
    }
    return cost;
  }

  SortedRuns& runs_;
  ItemWriter writer_;
  int64_t front_ = -1, back_;  // runs [front, back] are left
  TileRun first_, last_;
  int64_t group_ = 0;        // of the first run, up to which all are taken
  int64_t back_groups_ = 0;  // of the last run, which are left
  bool cutting_ = false;     // group_ of the first run, of whose splits
  int64_t split_ = 0;        // so many are taken
};

}  // namespace

void PackNarrowTiles(const AttentionLimits& limits, int64_t window,
                     std::span<const AttentionSequence> sequences, const AttentionDevicePlan& plan,
                     std::byte* bytes, ItemWriter& writer) {
  auto* begin = reinterpret_cast<int32_t*>(bytes + plan.narrow_begin());
  auto* items = reinterpret_cast<AttentionItem*>(bytes + plan.item_list());
  auto* order = reinterpret_cast<int32_t*>(items + plan.items - OrderItems(limits.slots));
  SortedRuns runs(limits, window, sequences, order);
  int64_t total = 0;
  int64_t largest = 0;  // that no cut makes smaller
  for (int64_t i = 0; i < runs.count(); ++i) {
    const TileRun run = runs.At(i);
    if (run.groups() == 0) continue;
    total += run.groups() * CostOf(run);
    largest = std::max(largest, run.splits() == 1 ? CostOf(run) : CostOfPart(run, 0, 1));
  }
  constexpr int kAttempts = 12;
  int64_t cap = std::max((total + plan.workers - 1) / plan.workers, largest);
  const int64_t step = std::max<int64_t>(1, cap / 32);
  for (int attempt = 1;; ++attempt, cap += step) {
    Packer packer(runs, writer);
    for (int64_t w = 0; w < plan.workers; ++w) {
      begin[w] = packer.writer().count();
      const bool all = attempt == kAttempts && w + 1 == plan.workers;
      packer.Fill(all ? total + plan.workers : cap);
    }
    begin[plan.workers] = packer.writer().count();
    if (!packer.done()) {
      OCTET_CHECK_LT(attempt, kAttempts);
      continue;
    }
    writer = packer.writer();
    return;
  }
}

}  // namespace octet::kernels
