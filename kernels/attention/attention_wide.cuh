// Wide tiles (prefill, chunks): up to 64 vectors, of which each warp holds its share in registers;
// all walk the same blocks, which the block's threads copy together. The state of a split stays in
// registers, that of the row in shared memory, each lane's for itself.
#pragma once

#include "kernels/attention/attention_copy.cuh"

namespace octet::kernels {

struct WideShared {
  unsigned char* halves = nullptr;  // [stages] of kHalfBytes
  float* lanes = nullptr;           // [fragments * kLaneVectorFloats, threads] row states
  uint2* queries = nullptr;         // [kSharedSteps, fragments, threads]
  uint32_t* last = nullptr;
  int stages = 0;
};

// The halves of an item's blocks, in order; all threads of the block call together.
template <class Shape>
class WideStream {
 public:
  OCTET_DEVICE_BODY WideStream(const AttentionKernelArgs& args, const AttentionItem& item,
                               int group, const ItemRange& range, const WideShared& shared)
      : args_(args),
        range_(range),
        shared_(shared),
        table_(args.block_tables + item.table_offset),
        head_(args.groups[group].kv_head),
        block_(range.first) {
    for (int i = 0; i + 1 < shared.stages; ++i) Issue();
  }

  // The next half. Everyone is done with the one before the last.
  OCTET_DEVICE_BODY const unsigned char* Next() {
#if OCTET_PLANTED_BUG == 4  // the half may still be on its way
    hw::cp_async_wait<3>();
#else
    WaitForHalf(shared_.stages - 2);
#endif
    __syncthreads();
    Issue();
    const int slot = used_;
    used_ = slot + 1 == shared_.stages ? 0 : slot + 1;
    return shared_.halves + slot * Shape::kHalfBytes;
  }

 private:
  OCTET_DEVICE_BODY void Issue() {
#if OCTET_PLANTED_BUG == 3  // a block too many: the table ends before it
    if (block_ <= range_.last + 1) {
#else
    if (block_ <= range_.last) {
#endif
      const int begin = block_ * kBlockTokens;
      unsigned char* half = shared_.halves + issued_ * Shape::kHalfBytes;
      CopyHalf<Shape, Shape::kWideThreads>(
          half, half + Shape::kDataBytes, args_.cache + table_[block_] * args_.block_bytes, head_,
          value_, range_.begin - begin, range_.end - begin, static_cast<int>(threadIdx.x));
      issued_ = issued_ + 1 == shared_.stages ? 0 : issued_ + 1;
      block_ += value_ ? 1 : 0;
      value_ = !value_;
    }
    hw::cp_async_commit();
  }

  const AttentionKernelArgs& args_;
  const ItemRange& range_;
  const WideShared& shared_;
  const int32_t* table_;
  int head_;
  int block_;
  bool value_ = false;
  int issued_ = 0;
  int used_ = 0;
};

// One warp's 4 kFragments vectors.
template <class Shape, int kFragments>
class WideWarp {
 public:
  OCTET_DEVICE_BODY WideWarp(const AttentionKernelArgs& args, const AttentionItem& item, int group,
                             const WideShared& shared)
      : args_(args),
        item_(item),
        group_(group),
        row_(shared.lanes + threadIdx.x),
        lane_(static_cast<int>(threadIdx.x) % 32),
        first_(static_cast<int>(threadIdx.x) / 32 * kFragments * kFragmentVectors) {
    const TileVectors tile = VectorsOf(args, item, group, Shape::kDim);
    count_ = tile.count;
    queries_.shared = shared.queries + threadIdx.x;
    PrepareQueries<Shape>(tile, first_, lane_, queries_);
    const int last = min(first_ + kFragments * kFragmentVectors, tile.count) - 1;
    newest_min_ = tile.newest(first_);
    newest_max_ = first_ < tile.count ? tile.newest(last) : -1;
    for (int i = 0; i < kFragments * Shape::kRowFloats; ++i) {
      Row(i / Shape::kRowFloats, i % Shape::kRowFloats) =
          i % Shape::kRowFloats == 0 ? -kInfinity : 0.0f;
    }
    Clear();
  }

  OCTET_DEVICE_BODY bool Sees(int position) const {
    return position <= newest_max_ && position + kBlockTokens - 1 + queries_.window > newest_min_;
  }

  OCTET_DEVICE_BODY void AttendKeys(const unsigned char* keys) {
    Scores<Shape>(keys, keys + Shape::kDataBytes, queries_, lane_, s_);
  }

  OCTET_DEVICE_BODY void AttendValues(const unsigned char* values, int position) {
    if (position + queries_.window <= newest_max_ || position + kBlockTokens - 1 > newest_min_) {
      Add<true>(values, position);
    } else {
      Add<false>(values, position);
    }
  }

  OCTET_DEVICE_BODY void EndSplit(int split) {
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      if (item_.state >= 0) {
        StoreState(n, split);
      } else {
        MergeIntoRow(n);
      }
    }
    Clear();
  }

  OCTET_DEVICE_BODY void WriteRows() {
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      if (vector(n) >= count_) continue;
      const float inverse = 1.0f / Row(n, 1);
      const int64_t at = OutputOf(args_, item_, group_, vector(n), Shape::kDim);
#pragma unroll
      for (int tile = 0; tile < Shape::kTiles; ++tile) {
        if (ValueIndex<Shape>(tile, 0, lane_ / 4) >= Shape::kDim) continue;
        const float zeros = Row(n, 2 + tile / Shape::kTilesPerGroup);
        const float first = Finished(Row(n, 2 + Shape::kGroups + 2 * tile), zeros, inverse);
        const float second = Finished(Row(n, 3 + Shape::kGroups + 2 * tile), zeros, inverse);
        WritePair(at + ValueIndex<Shape>(tile, 0, lane_ / 4),
                  at + ValueIndex<Shape>(tile, 1, lane_ / 4), first, second);
      }
    }
  }

 private:
  OCTET_DEVICE_BODY int vector(int n) const { return first_ + kFragmentVectors * n + lane_ % 4; }
  // Field 0: maximum, 1: sum, then zeros [groups], values [tiles, 2]. Registers are short: of the
  // split so far only the maximum and the values are in them.
  OCTET_DEVICE_BODY float& Row(int n, int field) {
    return row_[(n * Shape::kLaneVectorFloats + field) * Shape::kWideThreads];
  }

  OCTET_DEVICE_BODY float& SplitSum(int n) { return Row(n, Shape::kRowFloats); }
  OCTET_DEVICE_BODY float& SplitZeros(int n, int group) {
    return Row(n, Shape::kRowFloats + 1 + group);
  }

  OCTET_DEVICE_BODY void Clear() {
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      most_[n] = -kInfinity;
      SplitSum(n) = 0;
#pragma unroll
      for (int group = 0; group < Shape::kGroups; ++group) SplitZeros(n, group) = 0;
#pragma unroll
      for (int tile = 0; tile < Shape::kTiles; ++tile) {
        values_[n][tile][0] = 0;
        values_[n][tile][1] = 0;
      }
    }
  }

  template <bool kMasked>
  OCTET_DEVICE_BODY void Add(const unsigned char* half, int position) {
    BlockSums<Shape, kFragments> sums;
    Weights<kMasked>(queries_, position, lane_, s_, sums);
    MergeFactors factors[kFragments];
#pragma unroll
    for (int n = 0; n < kFragments; ++n) {
      factors[n] = MergeMost(most_[n], sums.most[n]);
      SplitSum(n) = fmaf(SplitSum(n), factors[n].keep, sums.sum[n] * factors[n].add);
    }
    float scale[kFragments];
    const auto ready = [&](int group) {
#pragma unroll
      for (int n = 0; n < kFragments; ++n) {
        SplitZeros(n, group) =
            fmaf(SplitZeros(n, group), factors[n].keep, sums.zeros[n][group] * factors[n].add);
        scale[n] = sums.step[n][group] * factors[n].add;
      }
    };
    const auto sink = [&](int tile, int n, int, float first, float second) {
      float(&value)[2] = values_[n][tile];
      value[0] = fmaf(value[0], factors[n].keep, first * scale[n]);
      value[1] = fmaf(value[1], factors[n].keep, second * scale[n]);
    };
    Weigh<kMasked>(half, half + Shape::kDataBytes, queries_, position, lane_, s_, sums, ready,
                   sink);
  }

  OCTET_DEVICE_BODY void MergeIntoRow(int n) {
    float most = Row(n, 0);
    const MergeFactors factors = MergeMost(most, most_[n]);
    Row(n, 0) = most;
    const auto merge = [&](int field, float part) {
      Row(n, field) = fmaf(Row(n, field), factors.keep, part * factors.add);
    };
    merge(1, SplitSum(n));
#pragma unroll
    for (int group = 0; group < Shape::kGroups; ++group) merge(2 + group, SplitZeros(n, group));
#pragma unroll
    for (int i = 0; i < 2 * Shape::kTiles; ++i) {
      merge(2 + Shape::kGroups + i, values_[n][i / 2][i % 2]);
    }
  }

  OCTET_DEVICE_BODY void StoreState(int n, int split) {
    if (vector(n) >= count_) return;
    float* state = StateOf<Shape>(args_, item_, split, vector(n));
    const int g = lane_ / 4;
#pragma unroll
    for (int i = 0; i < 2 * Shape::kTiles; ++i) {
      const int value = ValueIndex<Shape>(i / 2, i % 2, g);
      if (value < Shape::kDim) state[value] = values_[n][i / 2][i % 2];
    }
    if (g != 0) return;
    float* tail = state + Shape::kDim;
    tail[0] = most_[n];
    tail[1] = SplitSum(n);
#pragma unroll
    for (int group = 0; group < Shape::kGroups; ++group) tail[2 + group] = SplitZeros(n, group);
  }

  OCTET_DEVICE_BODY void WritePair(int64_t first_at, int64_t second_at, float first, float second) {
    if (args_.out_bf16 != nullptr) {
      if constexpr (Shape::kBF16) {
        args_.out_bf16[first_at] = hw::bf16(first);
        args_.out_bf16[second_at] = hw::bf16(second);
      } else {
        *reinterpret_cast<uint32_t*>(args_.out_bf16 + first_at) = hw::bf16x2(first, second);
      }
      return;
    }
    if constexpr (Shape::kBF16) {
      args_.out[first_at] = first;
      args_.out[second_at] = second;
    } else {
      *reinterpret_cast<float2*>(args_.out + first_at) = make_float2(first, second);
    }
  }

  const AttentionKernelArgs& args_;
  const AttentionItem& item_;
  int group_;
  float* row_;
  int lane_;
  int first_;
  int count_;
  int newest_min_, newest_max_;  // of the warp's vectors
  Queries<Shape, kFragments, Shape::kSharedSteps> queries_;
  float s_[kFragments][kLaneTokens];
  // The split so far.
  float most_[kFragments];
  float values_[kFragments][Shape::kTiles][2];
};

template <class Shape, int kFragments>
OCTET_DEVICE_BODY void AttendWide(const AttentionKernelArgs& args, const AttentionItem& item,
                                  int group, const WideShared& shared) {
  const ItemRange range = RangeOf(item, args.window);
  WideStream<Shape> stream(args, item, group, range, shared);
  WideWarp<Shape, kFragments> worker(args, item, group, shared);
  for (int block = range.first; block <= range.last; ++block) {
    const int position = block * kBlockTokens;
    const bool sees = worker.Sees(position);
    const unsigned char* keys = stream.Next();
    if (sees) worker.AttendKeys(keys);
    const unsigned char* values = stream.Next();
    if (sees) worker.AttendValues(values, position);
    if (block == range.last || (block + 1) % kSplitBlocks == 0) {
      worker.EndSplit(block / kSplitBlocks);
    }
  }
  hw::cp_async_wait<0>();
  if (item.state < 0) {
    worker.WriteRows();
    __syncthreads();
  } else {
    ArriveAndMerge<Shape, Shape::kWideThreads>(args, item, shared.last, [] { __syncthreads(); });
  }
}

// All wide items of a worker. The end of its list is read again each time: registers are short.
template <class Shape>
OCTET_DEVICE_BODY void AttendWideItems(const AttentionKernelArgs& args, const WideShared& shared) {
  for (int i = args.begin[blockIdx.x]; i < args.begin[blockIdx.x + 1]; ++i) {
    const AttentionItem& item = args.items[i];
    for (int group = item.group_begin; group < item.group_end; ++group) {
      if (item.rows * item.heads <= Shape::kWideWarps * kFragmentVectors) {
        AttendWide<Shape, 1>(args, item, group, shared);
      } else {
        AttendWide<Shape, Shape::kWideFragments>(args, item, group, shared);
      }
    }
  }
}

}  // namespace octet::kernels
