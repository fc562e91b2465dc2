// Narrow tiles (decode): up to 8 vectors, four teams of warps take a block of the context each; a
// team of two warps has four vectors for each, where registers allow no more. A team streams the
// blocks that are its own, over all rows of its worker, through a ring of halves; the results of
// four blocks meet in shared memory and are merged in order by all threads.
//
// A round of four blocks of int8 of 128 takes about 830 instructions of a warp that has vectors,
// those of copies apart, 1.7 lane instructions an element; second warps of one vector a tile only
// merge.
#pragma once

#include "kernels/attention/attention_narrow_ring.cuh"

namespace octet::kernels {

// Waits for all threads that compute.
template <class Shape>
OCTET_DEVICE_BODY void MeetTeams() {
  hw::bar_sync(1 + kNarrowTeams, Shape::kNarrowThreads);
}

// A warp of a team: the next half of the team's ring (keys) and the one after it (values), which
// the team's results replace.
template <class Shape, int kFragments, class Ring>
class NarrowWarp {
 public:
  OCTET_DEVICE_BODY NarrowWarp(const AttentionKernelArgs& args, const AttentionItem& item,
                               const NarrowShared<Shape>& shared, Ring& ring)
      : args_(args), item_(item), shared_(shared), ring_(ring) {}

  OCTET_DEVICE_BODY void Prepare(int group) {
    if (Shape::kSharesQueries || !works()) return;
    PrepareQueries<Shape>(VectorsOf(args_, item_, group, Shape::kDim), first_vector(), lane(),
                          queries_);
  }
  OCTET_DEVICE_BODY void Attend(int position) {
    float s[kFragments][kLaneTokens];
    thread_ = ThreadOfTeam<Shape>();
    const int keys = ring_.Next();
    if (works()) {
      if constexpr (Shape::kSharesQueries) shared_.queries->Give(first_vector(), lane(), queries_);
      Scores<Shape>(shared_.half(team(), keys), shared_.pairs(team(), keys), queries_, lane(), s);
    }
    ring_.Release(keys);
    thread_ = ThreadOfTeam<Shape>();
    const int values = ring_.Next();
    if (thread_ == 0) shared_.slots[team()] = values;
    if (!works()) {
      MeetTeam<Shape>();
    } else if (IsMasked(position)) {
      if constexpr (Shape::kSharesQueries) {  // needed here alone, and registers are short
        queries_.window = WindowOf(args_);
        shared_.queries->GiveNewest(first_vector(), lane(), queries_);
      }
      Finish<true>(position, values, s);
    } else {
      Finish<false>(position, values, s);
    }
  }

  // When everyone has merged what Attend left.
  OCTET_DEVICE_BODY void Release() { ring_.ReleaseWritten(ring_.Newest()); }

 private:
  OCTET_DEVICE_BODY static int team() { return TeamOfThread<Shape>(); }
  OCTET_DEVICE_BODY int lane() const { return thread_ % 32; }
  OCTET_DEVICE_BODY int first_vector() const { return thread_ / 32 * kFragmentVectors; }
  OCTET_DEVICE_BODY bool works() const {
    return Shape::kTeamWarps == 1 || first_vector() < item_.rows * item_.heads;
  }
  // Whether a vector of the tile does not see all of the block.
  OCTET_DEVICE_BODY bool IsMasked(int position) const {
    const int newest = item_.first_position + item_.rows - 1;
    return position + kBlockTokens - 1 > item_.first_position ||
           (args_.window > 0 && position + args_.window <= newest);
  }
  template <bool kMasked>
  OCTET_DEVICE_BODY void Finish(int position, int half, float (&s)[kFragments][kLaneTokens]) {
    BlockSums<Shape, kFragments> sums;
    Weights<kMasked>(queries_, position, lane(), s, sums);
    float values[Shape::kTiles][kFragments][2];
    Weigh<kMasked>(
        shared_.half(team(), half), shared_.pairs(team(), half), queries_, position, lane(), s,
        sums, [](int) {},
        [&](int tile, int n, int, float first, float second) {
          values[tile][n][0] = first;
          values[tile][n][1] = second;
        });
    MeetTeam<Shape>();
    Store(sums, values, reinterpret_cast<float*>(shared_.half(team(), half)));
  }

  OCTET_DEVICE_BODY void Store(const BlockSums<Shape, kFragments>& sums,
                               const float (&values)[Shape::kTiles][kFragments][2], float* floats) {
    const int g = lane() / 4;
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      const int vector = first_vector() + kFragmentVectors * n + lane() % 4;
      float* of_vector = floats + vector * Shape::kPartialFloats;
#pragma unroll
      for (int tile = 0; tile < Shape::kTiles; ++tile) {
        const int first = ValueIndex<Shape>(tile, 0, g);
        if (first >= Shape::kDim) continue;
        if constexpr (Shape::kBF16) {
          of_vector[first] = values[tile][n][0];
          of_vector[ValueIndex<Shape>(tile, 1, g)] = values[tile][n][1];
        } else {
          *reinterpret_cast<float2*>(of_vector + first) =
              make_float2(values[tile][n][0], values[tile][n][1]);
        }
      }
      if (g != 0) continue;
      float* tail = shared_.tail(team(), vector);
      tail[0] = sums.most[n];
      tail[1] = sums.sum[n];
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group) {
        tail[2 + group] = sums.zeros[n][group];
        tail[2 + Shape::kGroups + group] = sums.step[n][group];
      }
    }
  }

  const AttentionKernelArgs& args_;
  const AttentionItem& item_;
  const NarrowShared<Shape>& shared_;
  Ring& ring_;
  int thread_ = ThreadOfTeam<Shape>();
  Queries<Shape, kFragments, Shape::kSharesQueries ? Shape::kQuerySteps : 0> queries_;
};

// What a thread merges: quads of the values of the tile's vectors.
template <class Shape>
class NarrowMerger {
 public:
  OCTET_DEVICE_BODY NarrowMerger(const AttentionKernelArgs& args, const AttentionItem& item,
                                 const NarrowShared<Shape>& shared)
      : args_(args), item_(item), shared_(shared) {
#pragma unroll
    for (int k = 0; k < kQuads; ++k) PutRow(k, QuadState());
  }

  // The results of blocks [first, last] of the four that begin at `block`, in order. All four are
  // read before the first is added: each addition waits for the one before.
  OCTET_DEVICE_BODY void AddBlocks(int block, int first, int last) {
    thread_ = hw::computed_here(static_cast<int>(threadIdx.x));
#pragma unroll
    for (int k = 0; k < kQuads; ++k) {
      if (!holds(k)) continue;
      if (block < first || block + kNarrowTeams - 1 > last) {
#pragma unroll 1
        for (int team = 0; team < kNarrowTeams; ++team) {
          if (block + team >= first && block + team <= last) AddPart(k, PartOf(team, k));
        }
        continue;
      }
      const Part parts[kNarrowTeams] = {PartOf(0, k), PartOf(1, k), PartOf(2, k), PartOf(3, k)};
#pragma unroll
      for (int team = 0; team < kNarrowTeams; ++team) AddPart(k, parts[team]);
    }
  }

  OCTET_DEVICE_BODY void EndSplit(int split) {
#pragma unroll
    for (int k = 0; k < kQuads; ++k) {
      if (!holds(k)) continue;
      if (item_.state < 0) {
        QuadState row = Row(k);
        row.Add(split_[k]);
        PutRow(k, row);
      } else {
        StoreQuad<Shape>(StateOf<Shape>(args_, item_, split, vector(k)), quad(k), split_[k]);
      }
      split_[k] = QuadState();
    }
  }

  OCTET_DEVICE_BODY void WriteRows(int group_of_heads) {
#pragma unroll
    for (int k = 0; k < kQuads; ++k) {
      if (!holds(k)) continue;
      WriteQuad<Shape>(args_, OutputOf(args_, item_, group_of_heads, vector(k), Shape::kDim),
                       quad(k), Row(k));
    }
  }

 private:
  static constexpr int kVectorQuads = Shape::kDim / 4;
  static constexpr int kQuads = Shape::kNarrowQuads;
  static constexpr int kThreads = Shape::kNarrowThreads;

  // What a block leaves of quad k.
  struct Part {
    float most, sum, zeros, step;
    float4 values;
  };
  OCTET_DEVICE_BODY Part PartOf(int team, int k) const {
    const int group = GroupOfQuad<Shape>(quad(k));
    const float* tail = shared_.tail(team, vector(k));
    const auto* floats = reinterpret_cast<const float*>(shared_.half(team, shared_.slots[team])) +
                         vector(k) * Shape::kPartialFloats + 4 * quad(k);
    return {tail[0], tail[1], tail[2 + group], tail[2 + Shape::kGroups + group],
            *reinterpret_cast<const float4*>(floats)};
  }

  OCTET_DEVICE_BODY void AddPart(int k, const Part& part) {
    split_[k].Add(part.most, part.sum, part.zeros, part.step, part.values);
  }

  OCTET_DEVICE_BODY int index(int k) const { return thread_ + k * kThreads; }
  OCTET_DEVICE_BODY int vector(int k) const { return index(k) / kVectorQuads; }
  OCTET_DEVICE_BODY int quad(int k) const { return index(k) % kVectorQuads; }
  OCTET_DEVICE_BODY bool holds(int k) const { return vector(k) < item_.rows * item_.heads; }

  // The state of the row, in a place of shared memory that no other thread touches: it is needed
  // once a split, and registers are short.
  OCTET_DEVICE_BODY float* RowPlace(int k) const {
    return shared_.rows + k * kNarrowRowFloats * kThreads + thread_;
  }
  OCTET_DEVICE_BODY void PutRow(int k, const QuadState& row) {
    float* own = RowPlace(k);
    own[0] = row.most;
    own[kThreads] = row.sum;
    own[2 * kThreads] = row.zeros;
#pragma unroll
    for (int i = 0; i < 4; ++i) own[(3 + i) * kThreads] = row.values[i];
  }
  OCTET_DEVICE_BODY QuadState Row(int k) const {
    const float* own = RowPlace(k);
    QuadState row;
    row.most = own[0];
    row.sum = own[kThreads];
    row.zeros = own[2 * kThreads];
#pragma unroll
    for (int i = 0; i < 4; ++i) row.values[i] = own[(3 + i) * kThreads];
    return row;
  }

  const AttentionKernelArgs& args_;
  const AttentionItem& item_;
  const NarrowShared<Shape>& shared_;
  int thread_ = static_cast<int>(threadIdx.x);
  QuadState split_[kQuads];
};

// One tile over the blocks of an item, for one kv head.
template <class Shape, int kFragments, class Ring>
OCTET_DEVICE_BODY void AttendNarrow(const AttentionKernelArgs& args, const AttentionItem& item,
                                    int group, const NarrowShared<Shape>& shared, Ring& ring) {
  const auto range = [&] { return RangeOf(item, args.window); };  // again, for want of registers
  NarrowWarp<Shape, kFragments, Ring> worker(args, item, shared, ring);
  worker.Prepare(group);
  NarrowMerger<Shape> merger(args, item, shared);
  int block = range().first / kNarrowTeams * kNarrowTeams;
  for (bool more = block <= range().last; more; block += kNarrowTeams) {
    const int own = block + TeamOfThread<Shape>();
    const bool attends = own >= range().first && own <= range().last;
    if (attends) worker.Attend(own * kBlockTokens);
#if OCTET_PLANTED_BUG != 1  // results are read before they are there
    MeetTeams<Shape>();
#endif
    const ItemRange blocks = range();
    merger.AddBlocks(block, blocks.first, blocks.last);
    const int next = block + kNarrowTeams;
    more = next <= blocks.last;
    if (!more || next % kSplitBlocks == 0) merger.EndSplit(block / kSplitBlocks);
    MeetTeams<Shape>();
    if (attends) worker.Release();
  }
  if (item.state < 0) {
    merger.WriteRows(group);
  } else {
    ArriveAndMerge<Shape, Shape::kNarrowThreads>(args, item, shared.last, MeetTeams<Shape>);
  }
}

// Rounds the queries of a tile, and copies its item to `copy`, in shared memory: registers are too
// short to keep where it lies. Of a worker's first tile, all but the queries is read before the
// kernels ahead are done.
template <class Shape, class Ring>
OCTET_DEVICE_BODY void ShareTile(const AttentionKernelArgs& args, const AttentionItem& item,
                                 int group, bool is_first, const NarrowShared<Shape>& shared,
                                 Ring& ring, AttentionItem& copy) {
  constexpr int kWords = sizeof(AttentionItem) / sizeof(int32_t);
  const auto thread = static_cast<int>(threadIdx.x);
  if (thread < kWords) {
    reinterpret_cast<int32_t*>(&copy)[thread] = reinterpret_cast<const int32_t*>(&item)[thread];
  }
  const TileVectors tile = VectorsOf(args, item, group, Shape::kDim);
  if (is_first) hw::wait_for_past();
  RoundQueries<Shape>(tile, *shared.queries, [&] {
    if (is_first) ring.Fill();
  });
#if OCTET_PLANTED_BUG != 5  // operands are read before all warps have left theirs
  MeetTeams<Shape>();
#endif
}

// All narrow items of a worker, behind the kernels ahead.
template <class Shape, class Ring>
OCTET_DEVICE_BODY void AttendNarrowItems(const AttentionKernelArgs& args,
                                         const NarrowShared<Shape>& shared, Ring& ring) {
  if constexpr (!Shape::kSharesQueries) {
    hw::wait_for_past();
    ring.Fill();
  }
  int tiles = 0;
  for (int i = args.begin[blockIdx.x]; i < args.begin[blockIdx.x + 1]; ++i) {
    const int group_end = args.items[i].group_end;
    for (int group = args.items[i].group_begin; group < group_end; ++group) {
      const AttentionItem* item = args.items + i;
      if constexpr (Shape::kSharesQueries) {
        // In turns: slow threads may not be done with the tile before.
        AttentionItem* copy = shared.items + tiles % 2;
        ShareTile<Shape>(args, *item, group, tiles == 0, shared, ring, *copy);
        ++tiles;
        item = copy;
      }
      if (Shape::kTeamWarps == 2 || item->rows * item->heads <= kFragmentVectors) {
        AttendNarrow<Shape, 1>(args, *item, group, shared, ring);
      } else {
        AttendNarrow<Shape, 3 - Shape::kTeamWarps>(args, *item, group, shared, ring);
      }
    }
  }
}

}  // namespace octet::kernels
