// Narrow tiles (decode): up to 8 vectors, four teams of warps take a block of the context each; a
// team of two warps has four vectors for each, where registers allow no more. A team streams the
// blocks that are its own, over all rows of its worker, through a ring of halves; the results of
// four blocks meet in shared memory and are merged in order by all threads.
//
// MHA of 128 in int8, one vector: about 590 warp instructions for a block of 16.5 KB, 1.2 lane
// instructions an element; second warps then only copy and merge.
#pragma once

#include "kernels/attention/attention_copy.cuh"

namespace octet::kernels {

// Waits for the team, and sees what it wrote.
template <class Shape>
OCTET_DEVICE_BODY void MeetTeam() {
  if constexpr (Shape::kTeamWarps == 1) {
    __syncwarp();
  } else {
    hw::bar_sync(1 + static_cast<int>(threadIdx.x) / Shape::kTeamThreads, Shape::kTeamThreads);
  }
}

// Walks the halves that one team of a worker needs, ahead of their use. Registers are short: what
// is needed once a half is read again from the item.
template <class Shape>
class HalfStream {
 public:
  OCTET_DEVICE_BODY HalfStream(const AttentionKernelArgs& args)
      : args_(args), item_(args.begin[blockIdx.x] - 1) {
    NextItem();
  }

  // Whether no kernel of this step writes the next half: all of its tokens are older than the
  // item's rows.
  OCTET_DEVICE_BODY bool NextIsOld() const {
    return item_ < item_end() && (block_ + 1) * kBlockTokens <= args_.items[item_].first_position;
  }

  // Starts the copy of the next half into `half`, or of none at the end; one commit either way.
  OCTET_DEVICE_BODY void Issue(unsigned char* half) {
    if (item_ < item_end()) {
      const int begin = block_ * kBlockTokens;
      CopyHalf<Shape, Shape::kTeamThreads>(half, args_.cache + block_id_ * args_.block_bytes,
                                           args_.groups[group_].kv_head, value_,
                                           seen_begin_ - begin, seen_end_ - begin,
                                           static_cast<int>(threadIdx.x) % Shape::kTeamThreads);
      Advance();
    }
    hw::cp_async_commit();
  }

 private:
  OCTET_DEVICE_BODY static int team() {
    return static_cast<int>(threadIdx.x) / Shape::kTeamThreads;
  }
  OCTET_DEVICE_BODY int item_end() const { return args_.begin[blockIdx.x + 1]; }
  OCTET_DEVICE_BODY ItemRange Range() const { return RangeOf(args_.items[item_], args_.window); }

  OCTET_DEVICE_BODY void Advance() {
    value_ = !value_;
    if (value_) return;
    block_ += kNarrowTeams;
    if (block_ <= last_) {
      block_id_ = args_.block_tables[args_.items[item_].table_offset + block_];
      return;
    }
    ++group_;
    if (group_ == args_.items[item_].group_end) {
      NextItem();
    } else {
      Rewind();
    }
  }
  // To the team's first block in the next item that has one.
  OCTET_DEVICE_BODY void NextItem() {
    while (++item_ < item_end()) {
      group_ = args_.items[item_].group_begin;
      const ItemRange range = Range();
      seen_begin_ = range.begin;
      seen_end_ = range.end;
      last_ = range.last;
      if (OwnBlock(range.first) <= last_) {
        Rewind();
        return;
      }
    }
  }
  // The team's first, of those from `first` on.
  OCTET_DEVICE_BODY static int OwnBlock(int first) {
    return first + (team() - first % kNarrowTeams + kNarrowTeams) % kNarrowTeams;
  }
  OCTET_DEVICE_BODY void Rewind() {
    block_ = OwnBlock(Range().first);
    block_id_ = args_.block_tables[args_.items[item_].table_offset + block_];
  }

  const AttentionKernelArgs& args_;
  int item_;
  int seen_begin_ = 0, seen_end_ = 0;  // tokens that the item's vectors see
  int last_ = 0;                       // block
  int group_ = 0;
  int block_ = 0;
  int32_t block_id_ = 0;
  bool value_ = false;
};

// The shared memory of narrow tiles.
template <class Shape>
struct NarrowShared {
  unsigned char* halves = nullptr;  // [teams, stages] of kHalfBytes
  float* tails = nullptr;           // [teams, 8 vectors, kPartialTail] of a block's results
  int32_t* slots = nullptr;         // [teams] the half that holds the values of a block's results
  float* rows = nullptr;            // [quads, kNarrowRowFloats, threads] states of the rows
  uint32_t* last = nullptr;
  int stages = 0;

  OCTET_DEVICE_BODY unsigned char* half(int team, int slot) const {
    return halves + (team * stages + slot) * Shape::kHalfBytes;
  }
  OCTET_DEVICE_BODY float* tail(int team, int vector) const {
    return tails + (team * kNarrowVectors + vector) * Shape::kPartialTail;
  }
};

// A warp of a team: the block in the team's ring at `slot` (keys) and the next (values), which the
// team's results replace.
template <class Shape, int kFragments>
class NarrowWarp {
 public:
  OCTET_DEVICE_BODY NarrowWarp(const AttentionKernelArgs& args, const AttentionItem& item,
                               const NarrowShared<Shape>& shared, HalfStream<Shape>& stream,
                               int& slot)
      : args_(args), item_(item), shared_(shared), stream_(stream), slot_(slot) {}

  OCTET_DEVICE_BODY void Prepare(const TileVectors& tile) {
    if (works()) PrepareQueries<Shape>(tile, first_vector(), lane(), queries_);
  }
  OCTET_DEVICE_BODY void Attend(int position) {
    float s[kFragments][kLaneTokens];
    unsigned char* keys = NextHalf();
    if (works()) Scores<Shape>(keys, queries_, lane(), s);
    MeetTeam<Shape>();
    stream_.Issue(keys);
    if (thread() == 0) shared_.slots[team()] = slot_;
    NextHalf();
    if (!works()) {
      MeetTeam<Shape>();
    } else if (IsMasked(position)) {
      Finish<true>(position, s);
    } else {
      Finish<false>(position, s);
    }
  }

  // When everyone has merged what Attend left.
  OCTET_DEVICE_BODY void Release() { stream_.Issue(values_half()); }

 private:
  OCTET_DEVICE_BODY static int team() {
    return static_cast<int>(threadIdx.x) / Shape::kTeamThreads;
  }
  OCTET_DEVICE_BODY static int thread() {
    return static_cast<int>(threadIdx.x) % Shape::kTeamThreads;
  }
  OCTET_DEVICE_BODY static int lane() { return thread() % 32; }
  OCTET_DEVICE_BODY static int first_vector() { return thread() / 32 * kFragmentVectors; }
  OCTET_DEVICE_BODY bool works() const {
    return Shape::kTeamWarps == 1 || first_vector() < item_.rows * item_.heads;
  }
  OCTET_DEVICE_BODY unsigned char* values_half() const {  // the one before the next
    return shared_.half(team(), (slot_ == 0 ? shared_.stages : slot_) - 1);
  }

  // Whether a vector of the tile does not see all of the block.
  OCTET_DEVICE_BODY bool IsMasked(int position) const {
    const int newest = item_.first_position + item_.rows - 1;
    return position + kBlockTokens - 1 > item_.first_position ||
           (args_.window > 0 && position + args_.window <= newest);
  }
  OCTET_DEVICE_BODY unsigned char* NextHalf() {
    WaitForHalf(shared_.stages - 1);
    MeetTeam<Shape>();
    const int slot = slot_;
    slot_ = slot + 1 == shared_.stages ? 0 : slot + 1;
    return shared_.half(team(), slot);
  }

  template <bool kMasked>
  OCTET_DEVICE_BODY void Finish(int position, float (&s)[kFragments][kLaneTokens]) {
    BlockSums<Shape, kFragments> sums;
    Weights<kMasked>(queries_, position, lane(), s, sums);
    float values[Shape::kTiles][kFragments][2];
    Weigh<kMasked>(
        values_half(), queries_, position, lane(), s, sums, [](int) {},
        [&](int tile, int n, int, float first, float second) {
          values[tile][n][0] = first;
          values[tile][n][1] = second;
        });
    MeetTeam<Shape>();
    Store(sums, values);
  }

  OCTET_DEVICE_BODY void Store(const BlockSums<Shape, kFragments>& sums,
                               const float (&values)[Shape::kTiles][kFragments][2]) {
    auto* floats = reinterpret_cast<float*>(values_half());
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
  HalfStream<Shape>& stream_;
  int& slot_;  // of the next half to use
  Queries<Shape, kFragments> queries_;
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

  // The results of blocks [first, last] of the four that begin at `block`.
  OCTET_DEVICE_BODY void AddBlocks(int block, int first, int last) {
#pragma unroll
    for (int k = 0; k < kQuads; ++k) {
      if (!holds(k)) continue;
      const int group = GroupOfQuad<Shape>(quad(k));
      for (int team = 0; team < kNarrowTeams; ++team) {
        if (block + team < first || block + team > last) continue;
        const float* tail = shared_.tail(team, vector(k));
        const auto* floats =
            reinterpret_cast<const float*>(shared_.half(team, shared_.slots[team])) +
            vector(k) * Shape::kPartialFloats + 4 * quad(k);
        split_[k].Add(tail[0], tail[1], tail[2 + group], tail[2 + Shape::kGroups + group],
                      *reinterpret_cast<const float4*>(floats));
      }
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

  OCTET_DEVICE_BODY static int index(int k) { return static_cast<int>(threadIdx.x) + k * kThreads; }
  OCTET_DEVICE_BODY static int vector(int k) { return index(k) / kVectorQuads; }
  OCTET_DEVICE_BODY static int quad(int k) { return index(k) % kVectorQuads; }
  OCTET_DEVICE_BODY bool holds(int k) const { return vector(k) < item_.rows * item_.heads; }

  // The state of the row, in a place of shared memory that no other thread touches: it is needed
  // once a split, and registers are short.
  OCTET_DEVICE_BODY float* RowPlace(int k) const {
    return shared_.rows + k * kNarrowRowFloats * kThreads + threadIdx.x;
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
  QuadState split_[kQuads];
};

// One tile over the blocks of an item, for one kv head.
template <class Shape, int kFragments>
OCTET_DEVICE_BODY void AttendNarrow(const AttentionKernelArgs& args, const AttentionItem& item,
                                    int group, const NarrowShared<Shape>& shared,
                                    HalfStream<Shape>& stream, int& slot) {
  const int team = static_cast<int>(threadIdx.x) / Shape::kTeamThreads;
  const auto range = [&] { return RangeOf(item, args.window); };  // again, for want of registers
  NarrowWarp<Shape, kFragments> worker(args, item, shared, stream, slot);
  worker.Prepare(VectorsOf(args, item, group, Shape::kDim));
  NarrowMerger<Shape> merger(args, item, shared);
  int block = range().first / kNarrowTeams * kNarrowTeams;
  for (bool more = block <= range().last; more; block += kNarrowTeams) {
    const int own = block + team;
    const bool attends = own >= range().first && own <= range().last;
    if (attends) worker.Attend(own * kBlockTokens);
#if OCTET_PLANTED_BUG != 1  // results are read before they are there
    __syncthreads();
#endif
    const ItemRange blocks = range();
    merger.AddBlocks(block, blocks.first, blocks.last);
    const int next = block + kNarrowTeams;
    more = next <= blocks.last;
    if (!more || next % kSplitBlocks == 0) merger.EndSplit(block / kSplitBlocks);
    __syncthreads();
    if (attends) worker.Release();
  }
  if (item.state < 0) {
    merger.WriteRows(group);
  } else {
    ArriveAndMerge<Shape>(args, item, shared.last);
  }
}

// All narrow items of a worker. Old blocks are asked for before the kernels ahead are done.
template <class Shape>
OCTET_DEVICE_BODY void AttendNarrowItems(const AttentionKernelArgs& args,
                                         const NarrowShared<Shape>& shared) {
  if (args.begin[blockIdx.x] == args.begin[blockIdx.x + 1]) {
    return hw::wait_for_past();  // what comes next relies on it
  }
  const int team = static_cast<int>(threadIdx.x) / Shape::kTeamThreads;
  HalfStream<Shape> stream(args);
  int issued = 0;
  for (; issued < shared.stages && stream.NextIsOld(); ++issued) {
    stream.Issue(shared.half(team, issued));
  }
  hw::wait_for_past();
  for (; issued < shared.stages; ++issued) stream.Issue(shared.half(team, issued));
  int slot = 0;
  for (const AttentionItem* item = args.items + args.begin[blockIdx.x];
       item < args.items + args.begin[blockIdx.x + 1]; ++item) {
    for (int group = item->group_begin; group < item->group_end; ++group) {
      if (Shape::kTeamWarps == 2 || item->rows * item->heads <= kFragmentVectors) {
        AttendNarrow<Shape, 1>(args, *item, group, shared, stream, slot);
      } else {
        AttendNarrow<Shape, 3 - Shape::kTeamWarps>(args, *item, group, shared, stream, slot);
      }
    }
  }
  hw::cp_async_wait<0>();
  __syncthreads();
}

}  // namespace octet::kernels
