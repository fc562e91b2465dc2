// What a thread of the wide linear (linear16_wide.cuh) has of a tile's sums: the leaves of a pair,
// the sums that wait, those of the tile's other parts, and where an item's go in the end.
#pragma once

#include "kernels/linear/linear16_launch.h"
#include "kernels/linear/linear16_wide_ring.cuh"

namespace octet::kernels::cuda {

template <typename Tile>
struct WideSums {
  static constexpr int kValues = Tile::kValues;
  static constexpr int kVectors = Tile::kVectors;
  static constexpr int kThreads = Tile::kComputing;

  const Linear16Kernel& k;
  const WideShared<Tile>& shared;
  int group;
  float leaf[kValues] = {};   // the left leaf of a pair, then what is summed so far
  float right[kValues] = {};  // the right leaf of a pair

  OCTET_DEVICE WideSums(const Linear16Kernel& kernel, const WideShared<Tile>& taken)
      : k(kernel), shared(taken), group(__shfl_sync(hw::kAllLanes, thread() / 128, 0)) {}

  // Asked for again where it is needed: registers are short.
  OCTET_DEVICE static int thread() { return static_cast<int>(threadIdx.x); }

  // Waiting sums, level by level: the topmost of the stack has the lowest level.
  OCTET_DEVICE float4* SharedLevel(int level) const {
    return shared.levels + (level - 1) * (kVectors * kThreads) + thread();
  }
  OCTET_DEVICE float4* SpilledLevel(int level) const {
    return reinterpret_cast<float4*>(k.spill) +
           (static_cast<int64_t>(blockIdx.x) * k.spill_levels + level - 1 - Tile::kSharedLevels) *
               (kVectors * kThreads) +
           thread();
  }
  OCTET_DEVICE void AddFrom(const float4* from) {
    float4 v[kVectors];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) v[i] = from[i * kThreads];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      leaf[4 * i] = v[i].x + leaf[4 * i];
      leaf[4 * i + 1] = v[i].y + leaf[4 * i + 1];
      leaf[4 * i + 2] = v[i].z + leaf[4 * i + 2];
      leaf[4 * i + 3] = v[i].w + leaf[4 * i + 3];
    }
  }
  OCTET_DEVICE void StoreTo(float4* to) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      to[i * kThreads] =
          make_float4(leaf[4 * i], leaf[4 * i + 1], leaf[4 * i + 2], leaf[4 * i + 3]);
    }
  }
  // After leaf `odd` of a part, which is in `right`, its sibling in `leaf`: the tree is a whole
  // binary one (linear16_plan.cc), so that the additions due are the ones at its low end.
  OCTET_DEVICE void EndPair(int odd, bool last) {
#pragma unroll
    for (int v = 0; v < kValues; ++v) leaf[v] = leaf[v] + right[v];
    const int merges = __ffs(~odd) - 1;
    if (merges > 1) AddFrom(SharedLevel(1));
    if (merges > 2) AddFrom(SharedLevel(2));
#pragma unroll 1
    for (int level = 3; level < merges; ++level) AddFrom(SpilledLevel(level));
    if (last) return;
    if (merges <= Tile::kSharedLevels) {
      StoreTo(SharedLevel(merges));
    } else {
      StoreTo(SpilledLevel(merges));
    }
  }

  // Writes what this part has to where the others of its tile find it, each value of a lane in a
  // place of its own; true for the last warp of a tile's parts to come, which then has their sum.
  OCTET_DEVICE bool AddParts(const Linear16Item& item, int self) {
    const int lane = self % 32;
    const int32_t parts = k.parts.parts;
    const int32_t tile = item.row_tile * k.output_tiles + item.output_tile;
    float4* at = reinterpret_cast<float4*>(k.partials) +
                 static_cast<int64_t>(tile) * parts * (kVectors * kThreads) + self;
    StoreTo(at + item.part * (kVectors * kThreads));
    __threadfence();
    __syncwarp();
    uint32_t before = 0;
    uint32_t* arrived = &k.arrivals[tile * (kThreads / 32) + self / 32];
    if (lane == 0) before = hw::atom_add_acq_rel(arrived, 1);
    before = __shfl_sync(hw::kAllLanes, before, 0);
    if (before + 1 != static_cast<uint32_t>(parts)) return false;
    __threadfence();
    if (lane == 0) *arrived = 0;  // for the next call
      // The tree over the parts is a whole binary one. Additions commute, so each level of it adds
      // the subtree beside this part's: parts first .. first + width.
#pragma unroll 1
    for (int32_t width = 1; width < parts; width *= 2) {
      const int32_t first = item.part / width * width ^ width;
      AddSubtree(at + first * (kVectors * kThreads), width);
    }
    return true;
  }
  OCTET_DEVICE void AddSubtree(const float4* at, int32_t width) {
    constexpr int kNext = kVectors * kThreads;
    constexpr int kAtOnce = kVectors < 4 ? kVectors : 4;
#pragma unroll
    for (int first = 0; first < kVectors; first += kAtOnce) {
      float4 sums[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const float4* from = at + (first + i) * kThreads;
        sums[i] = from[0];
        if (width >= 2) sums[i] = Plus(sums[i], from[kNext]);
        if (width == 4) sums[i] = Plus(sums[i], Plus(from[2 * kNext], from[3 * kNext]));
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        float* to = leaf + 4 * (first + i);
        to[0] += sums[i].x;
        to[1] += sums[i].y;
        to[2] += sums[i].z;
        to[3] += sums[i].w;
      }
    }
  }
  // The end of an item, whose last pair is in the registers.
  OCTET_DEVICE void EndItem(int32_t i) {
    // The thread, by way of its neighbour: of a number that comes from there the compiler can not
    // work out addresses before the loop over items, and keep them in registers all along.
    const int self = __shfl_xor_sync(hw::kAllLanes, thread() ^ 1, 1);
    const Linear16Item item = ItemOf(k, i);
    EndPair(k.parts.leaf_begin[item.part + 1] - k.parts.leaf_begin[item.part] - 1, true);
    if (k.parts.parts > 1 && k.arrivals != nullptr && !AddParts(item, self)) return;
    Store(item, self);
  }
  OCTET_DEVICE void Store(const Linear16Item& item, int self) {
    const bool is_part = k.parts.parts > 1 && k.arrivals == nullptr;
    const int lane = self % 32;
    const int32_t slab = (item.output_tile * Tile::kPanels + group) * kCuda16PanelOutputs +
                         self / 32 % 4 * kCuda16SlabOutputs;
    const auto outputs = static_cast<int32_t>(k.outputs);
    if (k.bias != nullptr && !is_part) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int32_t own = slab + lane / 4 * 2 + h;
        const float bias = own < outputs ? k.bias[own] : 0.0f;
#pragma unroll
        for (int v = 2 * h; v < kValues; v += 4) {
          leaf[v] += bias;
          leaf[v + 1] += bias;
        }
      }
    }
    // Neighbours in outputs exchange values: a lane then has four outputs of every other token.
    const bool odd = lane / 4 % 2 != 0;
    const int32_t own = slab + lane / 8 * 4;
    const int32_t row = item.row_tile * Tile::kTokens + lane % 4 * 2 + lane / 4 % 2;
    const int32_t rows = own < outputs ? static_cast<int32_t>(k.rows) - row : 0;
    float* to = is_part ? k.partials + item.part * k.rows * k.outputs : k.out;
    float* at = to + static_cast<int64_t>(row) * k.outputs + own;
    const bool by_four = outputs % 4 == 0 && reinterpret_cast<uintptr_t>(to) % 16 == 0;
#pragma unroll
    for (int v = 0; v < kValues; v += 4) {
      const float a = __shfl_xor_sync(hw::kAllLanes, odd ? leaf[v] : leaf[v + 1], 4);
      const float b = __shfl_xor_sync(hw::kAllLanes, odd ? leaf[v + 2] : leaf[v + 3], 4);
      const float4 sum = odd ? make_float4(a, b, leaf[v + 1], leaf[v + 3])
                             : make_float4(leaf[v], leaf[v + 2], a, b);
      if (v * 2 < rows) StoreFour(at, sum, by_four, outputs - own);
      at += 8 * k.outputs;
    }
  }
  // The first `count` of them.
  OCTET_DEVICE static void StoreFour(float* to, const float4& sum, bool by_four, int32_t count) {
    if (by_four) {
      hw::store16(to, make_uint4(__float_as_uint(sum.x), __float_as_uint(sum.y),
                                 __float_as_uint(sum.z), __float_as_uint(sum.w)));
      return;
    }
    to[0] = sum.x;
    if (count > 1) to[1] = sum.y;
    if (count > 2) to[2] = sum.z;
    if (count > 3) to[3] = sum.w;
  }
};

}  // namespace octet::kernels::cuda
