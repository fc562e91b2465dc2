// The linear of linear16_few.cuh for symmetric weights where every block of inputs is a segment and
// the leaves of all parts are a whole binary tree (linear16_plan.cc: FitsStream): the same deal and
// the same bits, but weights go from memory straight to registers.
//
//   - A warp multiplies half a block of inputs of a panel while the next half (2 KiB) is under way,
//     and nothing is waited for but the registers themselves. What rings took of shared
//     memory is left for more warps, which is what hides the latency of the products.
//   - The warps that share a panel put their sums of it into shared memory, meet, and add them:
//     one sum of a panel and block goes to memory.
//
// Moves: the weights once; the part's tokens once a block.
#pragma once

#include "kernels/linear/linear16_few.cuh"

namespace octet::kernels::cuda {

// kSides warps share a panel: each takes some of its slabs.
template <WeightFormat kFormat_, int kTiles_, int kWarps_, int kFar_, int kSides_>
struct StreamTile {
  static constexpr int kFar = kFar_;  // blocks ahead that are asked for in L2
  static constexpr bool kWhole = true;
  static constexpr WeightFormat kFormat = kFormat_;
  static constexpr int kTiles = kTiles_;  // of 8 tokens
  static constexpr int kTokens = 8 * kTiles_;
  static constexpr int kWarps = kWarps_;  // that a block is dealt to, at most
  static constexpr int kSides = kSides_;
  static constexpr int kSlabs = kCuda16PanelOutputs / kCuda16SlabOutputs / kSides_;
  static constexpr int kAtOnce = kSlabs;       // that are multiplied side by side
  static constexpr int kValues = 4 * kTiles_;  // of one slab in one lane
  using Sums = FewSums<kSlabs, kValues, StreamTopInRegisters(kTokens)>;
};

// A warp's way through its panels.
template <typename Tile>
struct StreamWarp : FewLane<Tile> {
  using Values = typename Tile::Sums::Values;
  using Packed = typename FewLane<Tile>::Packed;
  static constexpr int kHalf = Cuda16CodeBytes(Tile::kFormat);
  static constexpr int kSideBytes = kHalf / Tile::kSides;

  const Linear16Kernel& k;
  FewWalk walk;                    // of the block that is asked for, from the lane's own bytes on
  int64_t scales_at;               // from there to the lane's scales
  FewWalk far;                     // of what is asked for in L2
  Packed packed[2][Tile::kSlabs];  // of the halves of a block
  uint32_t scales[Tile::kSlabs];

  OCTET_DEVICE StreamWarp(const Linear16Kernel& kernel, const FewBlock& block,
                          const FewLane<Tile>& tokens, int side, int lane)
      : FewLane<Tile>(tokens),
        k(kernel),
        walk(block, kernel.weights + side * kSideBytes + lane * 16, kernel.panel_bytes,
             kernel.stage_bytes[0] + kernel.stage_bytes[1],
             kernel.inputs.leaf_block[block.own_leaf_begin],
             kernel.inputs.leaf_block[block.own_leaf_end] -
                 kernel.inputs.leaf_block[block.own_leaf_begin]),
        scales_at(2 * kHalf + side * (Tile::kSlabs * kCuda16SlabOutputs * 2 - kSideBytes) +
                  lane / 4 * 4 - lane * 16),
        far(walk) {}

  // Asks for the first half of a block, and for what follows in the panel to be in L2.
  OCTET_DEVICE void Begin(int32_t ahead) {
    AskFor(0);
    if constexpr (Tile::kFar == 0) {
      if (threadIdx.x % (32 * Tile::kSides) == 0) walk.AskAhead(ahead);
    } else {
#pragma unroll 1
      for (int i = 0; i < Tile::kFar; ++i) AskFar();
    }
  }

  // A leaf of the panel, of a part that begins with leaf `part_begin`.
  OCTET_DEVICE void Leaf(int32_t part_begin, int32_t leaf, Values& sums) {
#pragma unroll
    for (int i = 0; i < Tile::kSlabs; ++i) {
#pragma unroll
      for (int v = 0; v < Tile::kValues; ++v) sums[i][v] = 0;
    }
    const int32_t begin = k.inputs.leaf_block[part_begin];
    const int32_t end = k.inputs.leaf_block[leaf + 1] - begin;
#pragma unroll 1
    for (int32_t block = k.inputs.leaf_block[leaf] - begin; block < end; ++block) {
      Block(block * kCuda16BlockInputs * 2, sums);
    }
  }

 private:
  // Half of the walk's block, and the block's scales with the second. A warp waits for all of its
  // loads at once, so they are asked for when the ones before have come.
  OCTET_DEVICE void AskFor(int half) {
    constexpr int kSlabBytes = kSideBytes / Tile::kSlabs;
    const bool wanted = !walk.ended();
#pragma unroll
    for (int i = 0; i < Tile::kSlabs; ++i) {
#pragma unroll
      for (int j = 0; j < Packed::kLoads; ++j) {
        hw::load16_ahead(packed[half][i].load[j],
                         walk.from + half * kHalf + i * kSlabBytes + j * 512, hw::evict_first(),
                         wanted);
      }
    }
    if (half == 0) return;
    const std::byte* from = walk.from + scales_at;
#pragma unroll
    for (int i = 0; i < Tile::kSlabs; ++i) {
      hw::load4_ahead(scales[i], from + i * kCuda16SlabOutputs * 2, hw::evict_first(), wanted);
    }
  }
  OCTET_DEVICE void AskFar() {
    if (threadIdx.x % (32 * Tile::kSides) == 0 && !far.ended()) {
      hw::bulk_prefetch(far.from, static_cast<uint32_t>(far.bytes));
    }
    far.Advance();
  }
  OCTET_DEVICE void Multiply(int half, int32_t input, Values& part) {
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      uint32_t tokens[Tile::kTiles][4];
      this->LoadTokens(input + half * kCuda16StageInputs * 2 + pair * 64, tokens);
      this->Step(packed[half], 0, 2 * pair, tokens, part);
      this->Step(packed[half], 0, 2 * pair + 1, tokens, part);
    }
  }
  OCTET_DEVICE void Block(int32_t input, Values& sums) {
    Values part = {};
    AskFor(1);
    Multiply(0, input, part);
    // Never so, which the compiler does not know: it would mix the halves, and what is not there
    // yet would be waited for.
    if (k.few.tokens == 0) return;
    walk.Advance();
    AskFor(0);
    if constexpr (Tile::kFar > 0) AskFar();
    Multiply(1, input, part);
#pragma unroll
    for (int i = 0; i < Tile::kSlabs; ++i) {
      const auto own =
          LaneScales::Of<Tile::kFormat>(hw::floats_of_f16x2(scales[i]), make_float2(0, 0));
      Fold(own, nullptr, false, 0, part[i], sums[i]);
    }
  }
};

// The sum of 1, 2, 4 or 8 values, in the order of a whole tree.
template <typename At>
OCTET_DEVICE float4 TreeSum(int count, const At& at) {
  float4 sum = at(0);
  if (count > 1) sum = Plus(sum, at(1));
  if (count > 2) sum = Plus(sum, Plus(at(2), at(3)));
  if (count > 4) sum = Plus(sum, Plus(Plus(at(4), at(5)), Plus(at(6), at(7))));
  return sum;
}

// Stores what the warps of a panel have put into `places` [split][stride]: each its share.
template <typename Tile>
OCTET_DEVICE void StoreJoined(const Linear16Kernel& k, const FewBlock& block, int64_t output,
                              const float4* places, int32_t stride, int own, const float* bias,
                              float* to) {
  constexpr int kOfSlab = Tile::kValues / 4;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t split = k.few.deal.split;
#pragma unroll 1
  for (int32_t i = own; i < Tile::kSlabs * kOfSlab; i += split) {
    const float4* from = places + i * 32 + lane;
    const float4 sum = TreeSum(split, [&](int s) { return from[s * stride]; });
    const float values[1][4] = {{sum.x, sum.y, sum.z, sum.w}};
    const ValuePlace place = {output + i / kOfSlab * kCuda16SlabOutputs, 0,
                              block.row + i % kOfSlab * 8, lane};
    StoreSum(k, place, to, bias, values);
  }
}

// As AddFewParts, of one sum of each block of the cluster.
OCTET_DEVICE void AddStreamParts(const FewBlock& block, const FewParts& of) {
#if OCTET_PLANTED_BUG == 18
  __syncthreads();
#else
  hw::cluster_sync();
#endif
  const FewShare share(block, of);
#pragma unroll 1
  for (int32_t i = share.begin; i < share.end; i += share.step) {
    const FewQuad quad = share.Quad(i);
    float4 value = TreeSum(static_cast<int>(gridDim.x), [&](int sum) {
      return LoadFour(of.sums + sum * share.of_sum + quad.at, of.outputs, quad.left);
    });
    if (of.bias != nullptr) {
      value = Plus(value, LoadFour(of.bias + quad.output, of.outputs, quad.left));
    }
    StoreFour(of.out + quad.at, of.outputs, quad.left, value);
  }
}

template <typename Tile>
__global__ void __launch_bounds__(32 * Tile::kWarps * Tile::kSides, 1)
    Linear16StreamKernel(const OCTET_GRID_CONSTANT Linear16Kernel k) {
  using Sums = typename Tile::Sums;
  const int side = static_cast<int>(threadIdx.x) / 32 % Tile::kSides;
  const int warp = static_cast<int>(threadIdx.x) / 32 / Tile::kSides;  // of those dealt to
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const FewDeal& deal = k.few.deal;
  hw::Smem shared;
  auto* x = shared.take<std::byte>(k.few.tokens * k.few.x_stride, 128);
  auto* waiting =
      k.few.levels > 0
          ? shared.take<float4>(deal.warps * Tile::kSides * k.few.levels * Sums::kPlaces)
          : nullptr;

  const FewBlock block = FewBlock::Of(deal, k.parts, k.rows, Tile::kTokens, warp);
  StreamWarp<Tile> own(k, block, {x, k.few.x_stride, block.rows, lane}, side, lane);
  own.Begin(k.few.ahead);
  hw::let_next_begin();
  hw::wait_for_past();
  FewTokens(k, block, x);
  __syncthreads();

  const bool is_whole = gridDim.x == 1;
  const float* bias = is_whole ? k.bias : nullptr;
  float* to = is_whole ? k.out : k.partials + blockIdx.x * k.rows * k.outputs;
  const int32_t stride = k.few.levels * Sums::kPlaces;
  Sums sums(waiting + (warp * Tile::kSides + side) * stride);
  const int group = warp / deal.split;
#pragma unroll 1
  for (int32_t panel = block.panel; panel < block.panel_end; panel += block.panel_step) {
    const int64_t output =
        int64_t{panel} * kCuda16PanelOutputs + side * (Tile::kSlabs * kCuda16SlabOutputs);
#pragma unroll 1
    for (int32_t leaf = block.own_leaf_begin; leaf < block.own_leaf_end; ++leaf) {
      typename Sums::Values values;
      own.Leaf(block.leaf_begin, leaf, values);
      sums.Push(values, k.parts.merges[leaf]);
    }
    if (deal.split == 1) {
      sums.TakeEach([&](int, const typename Sums::Values& values) {
        StoreFew<Tile>(k, block, output, bias, values, to);
      });
      continue;
    }
    sums.PutLast();
#if OCTET_PLANTED_BUG != 19
    hw::bar_sync(1 + group, 32 * deal.split * Tile::kSides);
#endif
    StoreJoined<Tile>(k, block, output,
                      waiting + (group * deal.split * Tile::kSides + side) * stride,
                      Tile::kSides * stride, warp - group * deal.split, bias, to);
    hw::bar_sync(1 + group, 32 * deal.split * Tile::kSides);
  }
  if (!is_whole) AddStreamParts(block, {k.partials, k.bias, k.out, k.rows, k.outputs});
}

template <typename Tile>
void LaunchLinear16Stream(const Linear16Plan& plan, Linear16Kernel k, Stream& stream) {
  OCTET_CHECK_EQ(plan.tile.tokens, Tile::kTokens);
  OCTET_CHECK_LE(plan.few.needs.warps_max, Tile::kWarps);
  const int32_t cluster = k.parts.parts / plan.tile.split;
  const auto deal = DealFew(plan.few.needs, k.panels, cluster, stream.info().sm_count);
  OCTET_CHECK(deal.has_value());
  k.few.deal = *deal;
  hw::SmemPlan shared;
  shared.add<std::byte>(k.few.tokens * k.few.x_stride, 128);
  if (k.few.levels > 0) {
    shared.add<float4>(deal->warps * Tile::kSides * k.few.levels * Tile::Sums::kPlaces);
  }
  OCTET_LAUNCH_CLUSTERS(Linear16StreamKernel<Tile>,
                        dim3(static_cast<unsigned>(cluster), static_cast<unsigned>(deal->columns),
                             static_cast<unsigned>(plan.row_tiles)),
                        dim3(static_cast<unsigned>(32 * deal->warps * Tile::kSides)),
                        shared.bytes(), stream, k);
}

}  // namespace octet::kernels::cuda
