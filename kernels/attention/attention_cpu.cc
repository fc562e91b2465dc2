// Hands the step's bundles to the threads, heaviest first. Where there are fewer than would keep
// the threads busy, the splits of a context are handed out as well and merged in order by the
// caller: the same sums in the same order, so the same bits.
#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_bundles.h"
#include "kernels/isa.h"

namespace octet::kernels {
namespace {

int64_t FirstSplit(const AttentionTile& tile) { return tile.oldest(0) / kKvSplitTokens; }
int64_t LastSplit(const AttentionTile& tile) {
  return tile.position(tile.vectors() - 1) / kKvSplitTokens;
}

int64_t SplitCount(const AttentionTile& tile) { return LastSplit(tile) + 1 - FirstSplit(tile); }

// The first that a tile reads of the cache.
const std::byte* FirstPart(const AttentionTile& tile, int64_t split) {
  return tile.head_part(std::max(tile.oldest(0), split * kKvSplitTokens) / kKvBlockTokens);
}

const std::byte* FirstPart(const TileBundle& bundle) {
  return FirstPart(bundle.tiles[0], FirstSplit(bundle.tiles[0]));
}

void Prepare(const AttentionBody& body, const TileBundle& bundle) {
  for (int64_t i = 0; i < bundle.count; ++i) body.prepare(bundle.tiles[i]);
}

float* StatesOf(const AttentionTile& tile, float* states) {
  return states + tile.first_vector * tile.state_floats();
}

void Merge(const AttentionBody& body, const TileBundle& bundle, float* part, float* merged) {
  for (int64_t i = 0; i < bundle.count; ++i) {
    const AttentionTile& tile = bundle.tiles[i];
    body.merge(tile, StatesOf(tile, part), StatesOf(tile, merged));
  }
}

void Write(const AttentionBody& body, const TileBundle& bundle, float* states) {
  for (int64_t i = 0; i < bundle.count; ++i) {
    body.write(bundle.tiles[i], StatesOf(bundle.tiles[i], states));
  }
}

// `after` is what the thread reads next, or null.
void RunBundle(const AttentionBody& body, const BundlePlan& plan, const TileBundle& bundle,
               const std::byte* after, int thread) {
  float* merged = plan.States(thread * kPartsPerThread);
  float* part = plan.States(thread * kPartsPerThread + 1);
  const AttentionTile& tile = bundle.tiles[0];  // all see the same positions
  Prepare(body, bundle);
  for (int64_t split = FirstSplit(tile); split <= LastSplit(tile); ++split) {
    const bool first = split == FirstSplit(tile);
    const std::byte* next = split < LastSplit(tile) ? FirstPart(tile, split + 1) : after;
    body.attend(bundle, split, next, first ? merged : part);
    if (!first) Merge(body, bundle, part, merged);
  }
  Write(body, bundle, merged);
}

// A thread's bundles run while it lives.
class OnTileUnit {
 public:
  explicit OnTileUnit(const AttentionBody& body) : body_(body) {}
  ~OnTileUnit() {
    if (body_.leave != nullptr) body_.leave();
  }
  OnTileUnit(const OnTileUnit&) = delete;
  OnTileUnit& operator=(const OnTileUnit&) = delete;

 private:
  const AttentionBody& body_;
};

// One split of one bundle: the unit of work where bundles alone do not keep the threads busy.
struct Unit {
  int64_t bundle = 0;
  int64_t split = 0;
  bool first = false;  // of its bundle
  bool last = false;
};

Unit UnitAt(const BundlePlan& plan, int64_t index) {
  BundlePlan::Place place;
  for (int64_t i = 0; i < plan.count(); ++i) {
    const AttentionTile tile = plan.First(i, place);
    const int64_t splits = SplitCount(tile);
    if (index < splits) {
      return {i, FirstSplit(tile) + index, index == 0, index + 1 == splits};
    }
    index -= splits;
  }
  OCTET_CHECK(false);
  return {};
}

// The bundle that a thread works on, made and prepared anew only where it is another.
class CurrentBundle {
 public:
  CurrentBundle(const AttentionBody& body, const BundlePlan& plan, int thread)
      : body_(body), plan_(plan), thread_(thread) {}

  const TileBundle& Use(int64_t index) {
    if (index != index_) {
      plan_.Make(index, thread_, place_, &bundle_);
      Prepare(body_, bundle_);
      index_ = index;
    }
    return bundle_;
  }

 private:
  const AttentionBody& body_;
  const BundlePlan& plan_;
  const int thread_;
  BundlePlan::Place place_;
  TileBundle bundle_;
  int64_t index_ = -1;
};

// A thread's share of units [begin, begin + count), whose states are parts 0..count.
void RunRound(const AttentionBody& body, const BundlePlan& plan, int64_t begin, int64_t count,
              int thread, std::atomic<int64_t>& next) {
  const OnTileUnit released(body);
  CurrentBundle current(body, plan, thread);
  int64_t i = next.fetch_add(1);
  Unit unit = i < count ? UnitAt(plan, begin + i) : Unit{};
  while (i < count) {
    // The next is taken before this one runs, so that its first block can be fetched.
    const int64_t next_i = next.fetch_add(1);
    const Unit following = next_i < count ? UnitAt(plan, begin + next_i) : Unit{};
    BundlePlan::Place place;
    const std::byte* after =
        next_i < count ? FirstPart(plan.First(following.bundle, place), following.split) : nullptr;
    body.attend(current.Use(unit.bundle), unit.split, after, plan.States(i));
    i = next_i;
    unit = following;
  }
}

// Units are computed by all threads, a round at a time, and merged in order by the caller. A bundle
// may span rounds; there is never more than one unfinished bundle.
void RunUnits(const AttentionBody& body, const BundlePlan& plan, int64_t unit_count,
              ThreadPool& pool) {
  const int64_t parts = pool.threads() * kPartsPerThread;
  float* merged = plan.States(parts);
  BundlePlan::Place place;
  TileBundle bundle;
  for (int64_t begin = 0; begin < unit_count; begin += parts) {
    const int64_t count = std::min(parts, unit_count - begin);
    std::atomic<int64_t> next{0};
    pool.OnEachThread([&](int thread) { RunRound(body, plan, begin, count, thread, next); });
    for (int64_t i = 0; i < count; ++i) {
      const Unit unit = UnitAt(plan, begin + i);
      if (i == 0 || unit.first) plan.Make(unit.bundle, 0, place, &bundle);
      if (unit.first) {
        std::copy_n(plan.States(i), bundle.vectors() * bundle.tiles[0].state_floats(), merged);
      } else {
        Merge(body, bundle, plan.States(i), merged);
      }
      if (unit.last) Write(body, bundle, merged);
    }
  }
}

struct UnitCount {
  int64_t units = 0;
  int64_t longest = 0;  // most units of a bundle
};

UnitCount CountUnits(const BundlePlan& plan) {
  UnitCount count;
  BundlePlan::Place place;
  for (int64_t i = 0; i < plan.count(); ++i) {
    const int64_t splits = SplitCount(plan.First(i, place));
    count.units += splits;
    count.longest = std::max(count.longest, splits);
  }
  return count;
}

// Cuts the heads of few short sequences among the threads, so that each may have two units. How
// many units to run, or 0 where whole bundles are enough: one then takes no more than half of a
// thread's share. Changes no bit.
int64_t ShareOut(int threads, BundlePlan* plan) {
  constexpr int64_t kBundlesMax = 64;  // units are found by walking the bundles
  if (threads == 1 || plan->count() > kBundlesMax) return 0;
  UnitCount count = CountUnits(*plan);
  if (count.units == 0) return 0;
  if (count.units < 2 * threads) {
    plan->Divide((2 * threads + count.units - 1) / count.units);
    count = CountUnits(*plan);
  }
  return count.longest > 1 && 2 * threads * count.longest > count.units ? count.units : 0;
}

// Whole bundles, the last first.
void RunBundles(const AttentionBody& body, const BundlePlan& plan, int thread,
                std::atomic<int64_t>& next) {
  const OnTileUnit released(body);
  // The next is taken before this one runs, so that its first block can be fetched.
  const auto take = [&] { return plan.count() - 1 - next.fetch_add(1); };
  int64_t index = take();
  if (index < 0) return;
  BundlePlan::Place place;
  TileBundle bundles[2];
  int now = 0;
  plan.Make(index, thread, place, &bundles[now]);
  while (index >= 0) {
    index = take();
    TileBundle& following = bundles[1 - now];
    if (index >= 0) plan.Make(index, thread, place, &following);
    RunBundle(body, plan, bundles[now], index < 0 ? nullptr : FirstPart(following), thread);
    now = 1 - now;
  }
}

}  // namespace

int64_t AttentionWorkspaceBytes(int64_t heads, int64_t head_dim, int threads) {
  if (heads == 0) return 0;
  const ScratchPlan plan = ScratchPlan::Of(heads, head_dim);
  // One more thread's share, of which RunUnits uses the first states.
  return AlignUp((threads + 1) * plan.floats() * static_cast<int64_t>(sizeof(float)));
}

namespace cpu {

void Attention(const AttentionArgs& args, Stream& stream) {
  ThreadPool& pool = stream.pool();
  const AttentionBody& body = ActiveIsa() == Isa::kAmx
                                  ? kAmxAttention
                                  : OfActiveIsa(kPlainAttention, kAvx2Attention, kAvx512Attention);
  BundlePlan plan(args);
  if (const int64_t units = ShareOut(pool.threads(), &plan); units > 0) {
    RunUnits(body, plan, units, pool);
    return;
  }
  std::atomic<int64_t> next{0};
  pool.OnEachThread([&](int thread) { RunBundles(body, plan, thread, next); });
}

}  // namespace cpu
}  // namespace octet::kernels
