// Narrow tiles (decode): up to 8 vectors, the four warps take a block of the context each. A warp
// streams the blocks that are its own, over all rows of its worker, through a ring of halves; the
// results of four blocks meet in shared memory and are merged in order by all threads.
//
// MHA of 128 in int8, one vector: about 590 warp instructions for a block of 16.5 KB, 1.2 lane
// instructions an element.
#pragma once

#include "kernels/attention/attention_copy.cuh"

namespace octet::kernels {

// Walks the halves that one warp of a worker needs, ahead of their use.
template <class Shape>
class HalfStream {
 public:
  OCTET_DEVICE_BODY HalfStream(const AttentionKernelArgs& args, int item_begin, int item_end,
                               int warp)
      : args_(args), item_(item_begin - 1), item_end_(item_end), warp_(warp) {
    NextItem();
  }

  // Whether no kernel of this step writes the next half: all of its tokens are older than the
  // item's rows.
  OCTET_DEVICE_BODY bool NextIsOld() const {
    return item_ < item_end_ && (block_ + 1) * kBlockTokens <= args_.items[item_].first_position;
  }

  // Starts the copy of the next half into `half`, or of none at the end; one commit either way.
  OCTET_DEVICE_BODY void Issue(unsigned char* half, int lane) {
    if (item_ < item_end_) {
      const int begin = block_ * kBlockTokens;
      CopyHalf<Shape, 32>(half, args_.cache + block_id_ * args_.block_bytes, head_, value_,
                          range_.begin - begin, range_.end - begin, lane);
      Advance();
    }
    hw::cp_async_commit();
  }

 private:
  OCTET_DEVICE_BODY void Advance() {
    value_ = !value_;
    if (value_) return;
    block_ += kAttentionWarps;
    if (block_ <= range_.last) {
      block_id_ = args_.block_tables[table_ + block_];
      return;
    }
    ++group_;
    if (group_ == group_end_) {
      NextItem();
    } else {
      Rewind();
    }
  }
  // To the warp's first block in the next item that has one.
  OCTET_DEVICE_BODY void NextItem() {
    while (++item_ < item_end_) {
      const AttentionItem& item = args_.items[item_];
      range_ = RangeOf(item, args_.window);
      group_ = item.group_begin;
      group_end_ = item.group_end;
      table_ = item.table_offset;
      if (OwnBlock() <= range_.last) {
        Rewind();
        return;
      }
    }
  }
  OCTET_DEVICE_BODY int OwnBlock() const {
    const int from = warp_ - range_.first % kAttentionWarps;
    return range_.first + (from + kAttentionWarps) % kAttentionWarps;
  }
  OCTET_DEVICE_BODY void Rewind() {
    block_ = OwnBlock();
    block_id_ = args_.block_tables[table_ + block_];
    head_ = args_.groups[group_].kv_head;
  }

  const AttentionKernelArgs& args_;
  ItemRange range_;
  int item_;
  int item_end_;
  int warp_;
  int group_ = 0, group_end_ = 0;
  int table_ = 0;
  int block_ = 0;
  int64_t block_id_ = 0;
  int head_ = 0;
  bool value_ = false;
};

// The shared memory of narrow tiles.
template <class Shape>
struct NarrowShared {
  unsigned char* halves = nullptr;  // [warps, stages] of kHalfBytes
  float* tails = nullptr;           // [warps, 8 vectors, kPartialTail] of a block's results
  int32_t* slots = nullptr;         // [warps] the half that holds the values of a block's results
  uint32_t* last = nullptr;
  int stages = 0;

  OCTET_DEVICE_BODY unsigned char* half(int warp, int slot) const {
    return halves + (warp * stages + slot) * Shape::kHalfBytes;
  }
  OCTET_DEVICE_BODY float* tail(int warp, int vector) const {
    return tails + (warp * kNarrowVectors + vector) * Shape::kPartialTail;
  }
};

// One warp: the block in its ring at `slot` (keys) and the next (values), which its results
// replace.
template <class Shape, int kFragments>
class NarrowWarp {
 public:
  OCTET_DEVICE_BODY NarrowWarp(const NarrowShared<Shape>& shared, HalfStream<Shape>& stream,
                               int warp, int lane, int& slot)
      : shared_(shared), stream_(stream), warp_(warp), lane_(lane), slot_(slot) {}

  OCTET_DEVICE_BODY void Prepare(const TileVectors& tile) {
    PrepareQueries<Shape>(tile, 0, lane_, queries_);
    newest_min_ = tile.newest(0);
    newest_max_ = tile.newest(tile.count - 1);
  }

  OCTET_DEVICE_BODY void Attend(int position) {
    float s[kFragments][kLaneTokens];
    unsigned char* keys = NextHalf();
    Scores<Shape>(keys, queries_, lane_, s);
    __syncwarp();
    stream_.Issue(keys, lane_);
    if (position + queries_.window <= newest_max_ || position + kBlockTokens - 1 > newest_min_) {
      Finish<true>(position, s);
    } else {
      Finish<false>(position, s);
    }
  }

  // When everyone has merged what Attend left.
  OCTET_DEVICE_BODY void Release() { stream_.Issue(values_half_, lane_); }

 private:
  OCTET_DEVICE_BODY unsigned char* NextHalf() {
    WaitForHalf(shared_.stages - 1);
    __syncwarp();
    const int slot = slot_;
    slot_ = slot + 1 == shared_.stages ? 0 : slot + 1;
    return shared_.half(warp_, slot);
  }

  template <bool kMasked>
  OCTET_DEVICE_BODY void Finish(int position, float (&s)[kFragments][kLaneTokens]) {
    BlockSums<Shape, kFragments> sums;
    Weights<kMasked>(queries_, position, lane_, s, sums);
    if (lane_ == 0) shared_.slots[warp_] = slot_;
    values_half_ = NextHalf();
    float values[Shape::kTiles][kFragments][2];
    Weigh<kMasked>(
        values_half_, queries_, position, lane_, s, sums, [](int) {},
        [&](int tile, int n, int, float first, float second) {
          values[tile][n][0] = first;
          values[tile][n][1] = second;
        });
    __syncwarp();
    Store(sums, values);
  }

  OCTET_DEVICE_BODY void Store(const BlockSums<Shape, kFragments>& sums,
                               const float (&values)[Shape::kTiles][kFragments][2]) {
    auto* floats = reinterpret_cast<float*>(values_half_);
    const int g = lane_ / 4;
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      const int vector = kFragmentVectors * n + lane_ % 4;
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
      float* tail = shared_.tail(warp_, vector);
      tail[0] = sums.most[n];
      tail[1] = sums.sum[n];
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group) {
        tail[2 + group] = sums.zeros[n][group];
        tail[2 + Shape::kGroups + group] = sums.step[n][group];
      }
    }
  }

  const NarrowShared<Shape>& shared_;
  HalfStream<Shape>& stream_;
  int warp_;
  int lane_;
  int& slot_;  // of the next half to use
  Queries<Shape, kFragments> queries_;
  int newest_min_ = 0, newest_max_ = 0;  // of the tile's vectors
  unsigned char* values_half_ = nullptr;
};

// What a thread merges: quads of the values of up to 4 kFragments vectors.
template <class Shape, int kFragments>
class NarrowMerger {
 public:
  OCTET_DEVICE_BODY NarrowMerger(const AttentionKernelArgs& args, const AttentionItem& item,
                                 int group)
      : args_(args), item_(item), group_(group) {}

  // The results of blocks [first, last] of the four that begin at `block`.
  OCTET_DEVICE_BODY void AddBlocks(const NarrowShared<Shape>& shared, int block, int first,
                                   int last) {
#pragma unroll
    for (int k = 0; k < kQuads; ++k) {
      if (!holds(k)) continue;
      const int group = GroupOfQuad<Shape>(quad(k));
      for (int warp = 0; warp < kAttentionWarps; ++warp) {
        if (block + warp < first || block + warp > last) continue;
        const float* tail = shared.tail(warp, vector(k));
        const auto* floats = reinterpret_cast<const float*>(shared.half(warp, shared.slots[warp])) +
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
        row_[k].Add(split_[k]);
      } else {
        StoreQuad<Shape>(StateOf<Shape>(args_, item_, split, vector(k)), quad(k), split_[k]);
      }
      split_[k] = QuadState();
    }
  }

  OCTET_DEVICE_BODY void WriteRows() {
#pragma unroll
    for (int k = 0; k < kQuads; ++k) {
      if (!holds(k)) continue;
      WriteQuad<Shape>(args_, OutputOf(args_, item_, group_, vector(k), Shape::kDim), quad(k),
                       row_[k]);
    }
  }

 private:
  static constexpr int kVectorQuads = Shape::kDim / 4;
  static constexpr int kQuads =
      (kFragments * kFragmentVectors * kVectorQuads + kAttentionThreads - 1) / kAttentionThreads;

  OCTET_DEVICE_BODY int index(int k) const {
    return static_cast<int>(threadIdx.x) + k * kAttentionThreads;
  }
  OCTET_DEVICE_BODY int vector(int k) const { return index(k) / kVectorQuads; }
  OCTET_DEVICE_BODY int quad(int k) const { return index(k) % kVectorQuads; }
  OCTET_DEVICE_BODY bool holds(int k) const { return vector(k) < item_.rows * item_.heads; }

  const AttentionKernelArgs& args_;
  const AttentionItem& item_;
  int group_;
  QuadState split_[kQuads];
  QuadState row_[kQuads];
};

// One tile over the blocks of an item, for one kv head.
template <class Shape, int kFragments>
OCTET_DEVICE_BODY void AttendNarrow(const AttentionKernelArgs& args, const AttentionItem& item,
                                    int group, const NarrowShared<Shape>& shared,
                                    HalfStream<Shape>& stream, int& slot) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const ItemRange range = RangeOf(item, args.window);
  NarrowWarp<Shape, kFragments> worker(shared, stream, warp, static_cast<int>(threadIdx.x) % 32,
                                       slot);
  worker.Prepare(VectorsOf(args, item, group, Shape::kDim));
  NarrowMerger<Shape, kFragments> merger(args, item, group);
  const int begin = range.first / kAttentionWarps * kAttentionWarps;
  for (int block = begin; block <= range.last; block += kAttentionWarps) {
    const int own = block + warp;
    const bool attends = own >= range.first && own <= range.last;
    if (attends) worker.Attend(own * kBlockTokens);
#if OCTET_PLANTED_BUG != 1  // results are read before they are there
    __syncthreads();
#endif
    merger.AddBlocks(shared, block, range.first, range.last);
    const int next = block + kAttentionWarps;
    if (next > range.last || next % kSplitBlocks == 0) merger.EndSplit(block / kSplitBlocks);
    __syncthreads();
    if (attends) worker.Release();
  }
  if (item.state < 0) {
    merger.WriteRows();
  } else {
    ArriveAndMerge<Shape>(args, item, shared.last);
  }
}

// All narrow items of a worker. Old blocks are asked for before the kernels ahead are done.
template <class Shape>
OCTET_DEVICE_BODY void AttendNarrowItems(const AttentionKernelArgs& args,
                                         const NarrowShared<Shape>& shared, int item_begin,
                                         int item_end) {
  if (item_begin == item_end) {
    hw::wait_for_past();  // what comes next relies on it
    return;
  }
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  HalfStream<Shape> stream(args, item_begin, item_end, warp);
  int issued = 0;
  for (; issued < shared.stages && stream.NextIsOld(); ++issued) {
    stream.Issue(shared.half(warp, issued), lane);
  }
  hw::wait_for_past();
  for (; issued < shared.stages; ++issued) stream.Issue(shared.half(warp, issued), lane);
  int slot = 0;
  for (int i = item_begin; i < item_end; ++i) {
    const AttentionItem& item = args.items[i];
    for (int group = item.group_begin; group < item.group_end; ++group) {
      if (item.rows * item.heads <= kFragmentVectors) {
        AttendNarrow<Shape, 1>(args, item, group, shared, stream, slot);
      } else {
        AttendNarrow<Shape, 2>(args, item, group, shared, stream, slot);
      }
    }
  }
  hw::cp_async_wait<0>();
  __syncthreads();
}

}  // namespace octet::kernels
