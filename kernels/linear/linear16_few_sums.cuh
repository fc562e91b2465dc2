// How linear16_few.cuh adds: the leaves of a panel among its warps, and the parts of a column's
// panels among its blocks, each in the tree's order.
#pragma once

#include "kernels/linear/linear16_few_warp.cuh"

namespace octet::kernels::cuda {

// A thread's own sums of a few outputs and tokens: places of shared memory that no other thread
// touches while it adds, used as the stack of a postorder program.
struct FewStack {
  float4* places;
  int apart;
  int32_t held = 0;

  OCTET_DEVICE void Push(float4 value, int merges) {
#pragma unroll 1
    for (int i = 0; i < merges; ++i) value = Plus(places[--held * apart], value);
    places[held++ * apart] = value;
  }
  OCTET_DEVICE void Store(const Linear16Kernel& k, const ValuePlace& place, float* to,
                          const float* bias) const {
#pragma unroll 1
    for (int32_t i = 0; i < held; ++i) {
      const float4 sum = places[i * apart];
      const float values[1][4] = {{sum.x, sum.y, sum.z, sum.w}};
      StoreSum(k, place, to + int64_t{i} * k.rows * k.outputs, bias, values);
    }
  }
};

// Where four values belong: place i of the 128 of a panel, n-th eight tokens.
template <typename Tile>
OCTET_DEVICE ValuePlace FewPlace(const FewBlock& block, int32_t panel, int n, int i) {
  return {static_cast<int64_t>(panel) * kCuda16PanelOutputs + i / 32 * kCuda16SlabOutputs, 0,
          static_cast<int64_t>(block.row_tile) * Tile::kTokens + n * 8, i % 32};
}

// The warps that take the leaves of one panel. They wait for each other only, so that other panels'
// warps go on meanwhile.
template <typename Tile>
struct FewGroup {
  const Linear16Kernel& k;
  const FewBlock& block;
  float4* slots;  // [leaves][slab][lane] of four values
  int number;     // of the block's groups
  int thread;     // of the group
  int threads;    // of it

  OCTET_DEVICE void Sync() const {
    if (threads == 32) {
      __syncwarp();
    } else {
      hw::bar_sync(1 + number, threads);
    }
  }
  // Adds the leaves of the part, and stores what its tree leaves.
  OCTET_DEVICE void AddLeaves(int32_t panel, int n) const {
    const bool whole = k.parts.parts == 1;
    float* to =
        whole ? k.out : k.partials + int64_t{k.parts.sum_begin[block.part]} * k.rows * k.outputs;
#pragma unroll 1
    for (int i = thread; i < 128; i += threads) {
      FewStack own = {slots + i, 128};
#pragma unroll 1
      for (int32_t l = 0; l < block.leaves; ++l) {
        own.Push(own.places[l * 128], k.parts.merges[block.leaf_begin + l]);
      }
      own.Store(k, FewPlace<Tile>(block, panel, n, i), to, whole ? k.bias : nullptr);
    }
  }
};

// What is left when all blocks of a column have stored what their part leaves: each of them adds
// its share of the column's panels, in the tree's order. Blocks of a column follow each other in
// the grid and fit the device together (linear16.cu), and blocks begin in the grid's order: none
// waits for one that cannot begin.
template <typename Tile>
OCTET_DEVICE void FewAddParts(const Linear16Kernel& k, const FewBlock& block, int thread,
                              float4* places) {
  uint32_t* arrived = k.arrivals + 2 * (blockIdx.z * gridDim.y + blockIdx.y);
  const auto parts = static_cast<uint32_t>(k.parts.parts);
  __syncthreads();
  if (thread == 0) {
    hw::red_release_add(arrived, 1);
    while (hw::ld_acquire(arrived) < parts) {
    }
    if (hw::atom_add_acq_rel(arrived + 1, 1) + 1 == parts) arrived[0] = arrived[1] = 0;
  }
  __syncthreads();
  const int32_t all = (block.panel_end - block.panel_begin) * Tile::kTiles * 128;
  const int32_t share = (all + k.parts.parts - 1) / k.parts.parts;
  const int32_t end = min(all, (block.part + 1) * share);
#pragma unroll 1
  for (int32_t i = block.part * share + thread; i < end; i += Tile::kThreads) {
    const ValuePlace place = FewPlace<Tile>(block, block.panel_begin + i / (128 * Tile::kTiles),
                                            i / 128 % Tile::kTiles, i % 128);
    FewStack own = {places + thread, Tile::kThreads};
    constexpr int kAtOnce = 4;  // loads under way
    const int32_t count = k.parts.rest.count;
#pragma unroll 1
    for (int32_t sum = 0; sum < count; sum += kAtOnce) {
      float values[kAtOnce][1][4];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        const int32_t from = min(sum + j, count - 1);
        LoadSum(k, place, k.partials + int64_t{from} * k.rows * k.outputs, values[j]);
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        if (sum + j >= count) break;
        const float(&v)[4] = values[j][0];
        own.Push(make_float4(v[0], v[1], v[2], v[3]), k.parts.rest.merges[sum + j]);
      }
    }
    own.Store(k, place, k.out, k.bias);
  }
}

}  // namespace octet::kernels::cuda
