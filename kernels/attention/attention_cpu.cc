// Cuts the step's attention into tiles and hands them to the threads, heaviest first. Where there
// are fewer tiles than would keep the threads busy, the splits of a context are handed out as well
// and merged in order by the caller: the same sums in the same order, so the same bits.
#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_tile.h"
#include "kernels/isa.h"

namespace octet::kernels {
namespace {

constexpr int64_t kPartsPerThread = 4;  // splits in flight when splits are handed out

// What one thread owns of the workspace, in floats.
struct ScratchPlan {
  int64_t padded_dim = 0;   // for any format
  int64_t int4_groups = 0;  // of a vector: room for any format
  int64_t q() const { return kTileVectors * padded_dim; }
  int64_t q_sum() const { return kTileVectors; }
  int64_t scores() const { return kTileVectors * kKvBlockTokens; }
  int64_t wide() const { return kKvBlockTokens * padded_dim; }
  int64_t scales() const { return 4 * kKvBlockTokens; }
  int64_t groups() const { return 2 * kKvBlockTokens * int4_groups; }
  // int8: codes of queries, the same for the tile unit, 3 numbers a vector, dots, weights, values.
  int64_t q_codes() const { return kTileVectors * padded_dim / 2; }
  int64_t vectors() const { return kTileVectors; }
  int64_t weights() const { return kWeightBytes / 4; }
  int64_t value_tiles() const { return kKvBlockTokens * padded_dim / 4; }
  int64_t states() const { return kTileVectors * (kStateHead + padded_dim); }
  int64_t floats() const {
    return q() + q_sum() + scores() + wide() + scales() + groups() + 2 * q_codes() + 3 * vectors() +
           scores() + weights() + value_tiles() + kPartsPerThread * states();
  }
};

ScratchPlan PlanScratch(int64_t head_dim) {
  return {AlignUp(head_dim, kInt8DimMultiple), (head_dim + kKvInt4Group - 1) / kKvInt4Group};
}

// All tiles of a step, counted without being stored.
class TilePlan {
 public:
  explicit TilePlan(const AttentionArgs& args)
      : args_(args), scratch_(PlanScratch(args.layout.head_dim)) {
    for (const AttentionSequence& sequence : args.sequences) {
      for (const HeadGroup& group : args.groups) count_ += TilesOf(sequence, group);
    }
  }

  int64_t count() const { return count_; }

  // Where a thread is in the walk over sequences and, inside, groups: tiles that it asks for in
  // turn are found from where the last one was.
  struct Place {
    int64_t first = 0;  // tile of (sequence, group)
    int64_t sequence = 0;
    int64_t group = 0;
  };

  // Tile `index` with the scratch of `thread`.
  AttentionTile Make(int64_t index, int thread, Place& place) const {
    OCTET_CHECK_LT(index, count_);
    const auto groups = static_cast<int64_t>(args_.groups.size());
    for (; index < place.first; place.first -= TilesAt(place)) {
      place.sequence -= place.group == 0;
      place.group = (place.group + groups - 1) % groups;
    }
    for (int64_t tiles = TilesAt(place); index >= place.first + tiles; tiles = TilesAt(place)) {
      place.first += tiles;
      place.group = (place.group + 1) % groups;
      place.sequence += place.group == 0;
    }
    return MakeOf(args_.sequences[place.sequence], args_.groups[place.group], index - place.first,
                  thread);
  }
  AttentionTile Make(int64_t index, int thread) const {
    Place place;
    return Make(index, thread, place);
  }

  float* Scratch(int thread) const {
    return reinterpret_cast<float*>(args_.workspace) + thread * scratch_.floats();
  }
  // Four parts a thread; the part after the last thread's holds merged states.
  float* States(int64_t part) const {
    const int64_t before = scratch_.floats() - kPartsPerThread * scratch_.states();
    return Scratch(static_cast<int>(part / kPartsPerThread)) + before +
           part % kPartsPerThread * scratch_.states();
  }

 private:
  static int64_t HeadsPerTile(const HeadGroup& group) {
    return std::min<int64_t>(group.head_count, kTileVectors);
  }
  static int64_t RowsPerTile(const HeadGroup& group) { return kTileVectors / HeadsPerTile(group); }
  static int64_t RowTiles(const AttentionSequence& sequence, const HeadGroup& group) {
    return (sequence.row_count + RowsPerTile(group) - 1) / RowsPerTile(group);
  }
  static int64_t TilesOf(const AttentionSequence& sequence, const HeadGroup& group) {
    const int64_t parts = (group.head_count + HeadsPerTile(group) - 1) / HeadsPerTile(group);
    return parts * RowTiles(sequence, group);
  }

  int64_t TilesAt(const Place& place) const {
    return TilesOf(args_.sequences[place.sequence], args_.groups[place.group]);
  }

  AttentionTile MakeOf(const AttentionSequence& sequence, const HeadGroup& group, int64_t index,
                       int thread) const {
    const int64_t row_tiles = RowTiles(sequence, group);
    const int64_t row = index % row_tiles * RowsPerTile(group);
    const int64_t head = index / row_tiles * HeadsPerTile(group);
    const KvLayout& layout = args_.layout;
    AttentionTile tile;
    tile.format = layout.format;
    tile.cache = args_.cache;
    tile.block_table = sequence.block_table;
    tile.block_bytes = layout.block_bytes();
    tile.head_bytes = layout.head_bytes();
    tile.k_data = layout.k_data(group.kv_head);
    tile.v_data = layout.v_data(group.kv_head);
    tile.k_scale = layout.k_scale(group.kv_head);
    tile.v_scale = layout.v_scale(group.kv_head);
    tile.head_dim = layout.head_dim;
    tile.padded_dim =
        layout.format == KvFormat::kInt8 ? scratch_.padded_dim : AlignUp(layout.head_dim, 16);
    tile.rows = std::min(RowsPerTile(group), sequence.row_count - row);
    tile.heads = std::min(HeadsPerTile(group), group.head_count - head);
    tile.first_position = sequence.first_position + row;
    tile.window = args_.window;
    tile.scale = args_.scale;
    const int64_t column = (group.head_begin + head) * layout.head_dim;
    tile.source = args_.q + (sequence.row_begin + row) * args_.q_stride + column;
    tile.source_stride = args_.q_stride;
    tile.out = args_.out + (sequence.row_begin + row) * args_.out_stride + column;
    tile.out_stride = args_.out_stride;
    PlaceScratch(thread, &tile);
    return tile;
  }

  void PlaceScratch(int thread, AttentionTile* tile) const {
    float* next = Scratch(thread);
    const auto take = [&](auto*& part, int64_t floats) {
      part = reinterpret_cast<std::remove_reference_t<decltype(part)>>(next);
      next += floats;
    };
    take(tile->q, scratch_.q());
    take(tile->q_sum, scratch_.q_sum());
    take(tile->scores, scratch_.scores());
    take(tile->wide, scratch_.wide());
    take(tile->scales, scratch_.scales());
    take(tile->groups, scratch_.groups());
    take(tile->q_codes, scratch_.q_codes());
    take(tile->q_tiles, scratch_.q_codes());
    take(tile->q_step, scratch_.vectors());
    take(tile->factors, scratch_.vectors());
    take(tile->weight_step, scratch_.vectors());
    take(tile->dots, scratch_.scores());
    take(tile->weights, scratch_.weights());
    take(tile->value_tiles, scratch_.value_tiles());
  }

  const AttentionArgs& args_;
  ScratchPlan scratch_;
  int64_t count_ = 0;
};

int64_t FirstSplit(const AttentionTile& tile) { return tile.oldest(0) / kKvSplitTokens; }
int64_t LastSplit(const AttentionTile& tile) {
  return tile.position(tile.vectors() - 1) / kKvSplitTokens;
}

int64_t SplitCount(const AttentionTile& tile) { return LastSplit(tile) + 1 - FirstSplit(tile); }

// The first that a tile reads of the cache.
const std::byte* FirstPart(const AttentionTile& tile, int64_t split) {
  return tile.head_part(std::max(tile.oldest(0), split * kKvSplitTokens) / kKvBlockTokens);
}

// `after` is what the thread reads next, or null.
void RunTile(const AttentionBody& body, const TilePlan& plan, const AttentionTile& tile,
             const std::byte* after, int thread) {
  float* merged = plan.States(thread * kPartsPerThread);
  float* part = plan.States(thread * kPartsPerThread + 1);
  body.prepare(tile);
  for (int64_t split = FirstSplit(tile); split <= LastSplit(tile); ++split) {
    const bool first = split == FirstSplit(tile);
    const std::byte* next = split < LastSplit(tile) ? FirstPart(tile, split + 1) : after;
    body.attend(tile, split, next, first ? merged : part);
    if (!first) body.merge(tile, part, merged);
  }
  body.write(tile, merged);
}

// A thread's tiles run while it lives.
class OnTileUnit {
 public:
  explicit OnTileUnit(const AttentionBody& body) : body_(body) {
    if (body.enter != nullptr) body.enter();
  }
  ~OnTileUnit() {
    if (body_.leave != nullptr) body_.leave();
  }
  OnTileUnit(const OnTileUnit&) = delete;
  OnTileUnit& operator=(const OnTileUnit&) = delete;

 private:
  const AttentionBody& body_;
};

// One split of one tile: the unit of work where tiles alone do not keep the threads busy.
struct Unit {
  int64_t tile = 0;
  int64_t split = 0;
  bool first = false;  // of its tile
  bool last = false;
};

Unit UnitAt(const TilePlan& plan, int64_t index) {
  for (int64_t i = 0; i < plan.count(); ++i) {
    const AttentionTile tile = plan.Make(i, 0);
    const int64_t splits = SplitCount(tile);
    if (index < splits) {
      return {i, FirstSplit(tile) + index, index == 0, index + 1 == splits};
    }
    index -= splits;
  }
  OCTET_CHECK(false);
  return {};
}

// Units are computed by all threads, a round at a time, and merged in order by the caller. A tile
// may span rounds; there is never more than one unfinished tile.
void RunUnits(const AttentionBody& body, const TilePlan& plan, int64_t unit_count,
              ThreadPool& pool) {
  const int64_t parts = pool.threads() * kPartsPerThread;
  float* merged = plan.States(parts);
  for (int64_t begin = 0; begin < unit_count; begin += parts) {
    const int64_t count = std::min(parts, unit_count - begin);
    std::atomic<int64_t> next{0};
    pool.OnEachThread([&](int thread) {
      const OnTileUnit configured(body);
      for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        const Unit unit = UnitAt(plan, begin + i);
        const AttentionTile tile = plan.Make(unit.tile, thread);
        body.prepare(tile);
        body.attend(tile, unit.split, nullptr, plan.States(i));
      }
    });
    for (int64_t i = 0; i < count; ++i) {
      const Unit unit = UnitAt(plan, begin + i);
      const AttentionTile tile = plan.Make(unit.tile, 0);
      if (unit.first) {
        std::copy_n(plan.States(i), tile.vectors() * tile.state_floats(), merged);
      } else {
        body.merge(tile, plan.States(i), merged);
      }
      if (unit.last) body.write(tile, merged);
    }
  }
}

// How many units to run, or 0 where whole tiles are enough: a tile then takes no more than half of
// a thread's share. Changes no bit.
int64_t UnitsWorthRunning(const TilePlan& plan, int threads) {
  constexpr int64_t kTilesMax = 64;  // units are found by walking the tiles
  if (threads == 1 || plan.count() > kTilesMax) return 0;
  int64_t units = 0;
  int64_t longest = 0;
  for (int64_t i = 0; i < plan.count(); ++i) {
    const int64_t splits = SplitCount(plan.Make(i, 0));
    units += splits;
    longest = std::max(longest, splits);
  }
  return longest > 1 && 2 * threads * longest > units ? units : 0;
}

}  // namespace

int64_t AttentionWorkspaceBytes(int64_t heads, int64_t head_dim, int threads) {
  if (heads == 0) return 0;
  const ScratchPlan plan = PlanScratch(head_dim);
  // One more thread's share, of which RunUnits uses the first states.
  return AlignUp((threads + 1) * plan.floats() * static_cast<int64_t>(sizeof(float)));
}

namespace cpu {

void Attention(const AttentionArgs& args, Stream& stream) {
  ThreadPool& pool = stream.pool();
  const AttentionBody& body = ActiveIsa() == Isa::kAmx
                                  ? kAmxAttention
                                  : OfActiveIsa(kPlainAttention, kAvx2Attention, kAvx512Attention);
  const TilePlan plan(args);
  if (const int64_t units = UnitsWorthRunning(plan, pool.threads()); units > 0) {
    RunUnits(body, plan, units, pool);
    return;
  }
  std::atomic<int64_t> next{0};
  pool.OnEachThread([&](int thread) {
    const OnTileUnit configured(body);
    // The next tile is taken before this one runs, so that its first block can be fetched.
    const auto take = [&] { return plan.count() - 1 - next.fetch_add(1); };
    int64_t index = take();
    if (index < 0) return;
    TilePlan::Place place;
    AttentionTile tile = plan.Make(index, thread, place);
    while (index >= 0) {
      index = take();
      const AttentionTile following = index < 0 ? AttentionTile{} : plan.Make(index, thread, place);
      const std::byte* after = index < 0 ? nullptr : FirstPart(following, FirstSplit(following));
      RunTile(body, plan, tile, after, thread);
      tile = following;
    }
  });
}

}  // namespace cpu
}  // namespace octet::kernels
