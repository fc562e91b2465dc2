// The linear with bf16 activations for many rows and quantized weights whose every block of inputs
// is one segment (sm_90a): y^T = W x^T by wgmma, a tile of kTokens tokens for two to four
// warpgroups of 64 outputs each. What it can take is FitsWide() in linear16_plan.cc; the arithmetic
// is that of linear16.cuh, and so are the bits.
//
// What is done so that the tensor cores need not wait:
//   - weights (blocks of 128 inputs) and tokens (halves of a block) come ahead of their use, each
//     into a ring of its own (linear16_wide_ring.cuh);
//   - a unit is a block, eight steps in two halves. While the first half is under way the fragments
//     of the second are expanded, while the second is, those of the next block's first. What is
//     left between two units is the scaling, one fma for a value (two if asymmetric);
//   - leaves come in pairs. Both sums of a pair are in registers, the right one only as long as its
//     leaf. At the end of a pair 64 registers are free: waiting sums come by loads that do not wait
//     for each other, under the next unit. Two levels wait in shared memory, higher ones (of every
//     fourth pair) in the workspace;
//   - the end of an item, its last additions and its stores, comes under the first unit of the next
//     item. Parts are added by the last warp to arrive.
//
// Moves, per tile and part: its weights once, its tokens once. Lane-instructions per int4 weight
// and 128 tokens: 1.1 to expand it, 1 to scale (2 if asymmetric), 1.3 for waits, loads and loops.
#pragma once

#include "kernels/linear/linear16_launch.h"
#include "kernels/linear/linear16_wide_ring.cuh"
#include "kernels/linear/linear16_wide_sums.cuh"

namespace octet::kernels::cuda {

// A thread that computes.
template <typename Tile>
struct WideGroup : WideSums<Tile> {
  using Sums = WideSums<Tile>;
  using Sums::group, Sums::k, Sums::kValues, Sums::leaf, Sums::right, Sums::shared, Sums::thread;
  static constexpr int kTurnThreads = 256;  // a group that waits for its turn, and the one before

  uint64_t tokens_desc;
  float segment[kValues];  // of the unit under way
  uint32_t fragments[kCuda16BlockSteps][1][4];
  uint32_t scale = 0;  // of two outputs, f16
  uint32_t offset = 0;
  // In the first stage; those of a stage that begins at its `slot` are as far from there.
  const std::byte* codes;   // of this lane
  const std::byte* scales;  // of its two outputs
  const std::byte* x_sums;  // of its first tokens
  std::byte* barriers;
  CodeUnits units;
  int32_t always = Tile::kAsymmetric ? k.items : 1;  // 1 costs less, but some tiles spill
  RingPlace tokens;
  RingPlace weights;  // that are prepared next

  OCTET_DEVICE WideGroup(const Linear16Kernel& kernel, const WideShared<Tile>& taken)
      : Sums(kernel, taken), tokens_desc(hw::smem_desc(taken.tokens, 0, 1024, hw::Swizzle::k128)) {
    const std::byte* panel = taken.stages + Tile::kWeightsAt + group * Tile::kPanelBytes;
    codes = hw::shared_here(panel + warp() * (Tile::kCodes / 4) + lane() * 16);
    scales = panel + 2 * Tile::kCodes + (warp() * kCuda16SlabOutputs + lane() / 4 * 2) * 2;
    x_sums = taken.stages + Tile::kSumsAt + lane() % 4 * 8;
    barriers = taken.stages + Tile::kBarriersAt;
    if constexpr (Tile::kKeeps) {
      // By way of another lane, or the compiler makes them anew for every half of a block.
      units.low = __shfl_sync(hw::kAllLanes, units.low + lane(), 0);
      units.high = __shfl_sync(hw::kAllLanes, units.high + lane(), 0);
      scales = hw::shared_here(scales);
      x_sums = hw::shared_here(x_sums);
    }
    barriers = hw::shared_here(barriers);
  }

  // What the compiler must take for a branch: it keeps it from expanding between the products that
  // are issued together, and from moving the expanding behind the wait.
  OCTET_DEVICE bool Always() {
    always = hw::computed_here(always);
    return always > 0;
  }
  // Asked for again where they are needed, as the thread's number.
  OCTET_DEVICE static int warp() { return thread() / 32 % 4; }  // of the group
  OCTET_DEVICE static int lane() { return thread() % 32; }
  OCTET_DEVICE uint64_t* Full(int32_t slot) const {
    return reinterpret_cast<uint64_t*>(barriers + slot);
  }
  OCTET_DEVICE uint64_t* Empty(int32_t slot) const { return Full(slot) + 1; }
  template <int kHalf>
  OCTET_DEVICE PackedFragments<Tile::kFormat> Packed() const {
    PackedFragments<Tile::kFormat> packed;
    packed.Load(codes + weights.slot + kHalf * Tile::kCodes, 0);
    return packed;
  }
  template <int kHalf>
  OCTET_DEVICE void ExpandHalf(const PackedFragments<Tile::kFormat>& packed) {
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) {
      Expand<Tile::kFormat>(packed, s, fragments[kHalf * kCuda16StageSteps + s], units);
    }
  }
  // The fragments of the next block's first half.
  OCTET_DEVICE void Prepare() {
    hw::mbar_wait(Full(weights.slot), weights.parity);
    ExpandHalf<0>(Packed<0>());
  }
  // Those of its second half.
  OCTET_DEVICE void PrepareRest() {
    const auto packed = Packed<1>();
    if constexpr (!Tile::kAsymmetric) {
      ReadScales(weights.slot);
      if constexpr (!Tile::kTogether) GiveBack(Empty(weights.slot));
    }
    ExpandHalf<1>(packed);
  }
  OCTET_DEVICE void ReadScales(int32_t slot) {
    scale = *reinterpret_cast<const uint32_t*>(scales + slot);
    if constexpr (Tile::kAsymmetric) {
      offset = *reinterpret_cast<const uint32_t*>(scales + slot + Tile::kScales);
    }
  }
  OCTET_DEVICE void GiveBack(uint64_t* empty) const {
    __syncwarp();
    if (lane() == 0) hw::mbar_arrive(empty);
  }
  template <int kHalf>
  OCTET_DEVICE void Issue(uint64_t x) {
    hw::wgmma_fence();
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) {
      hw::wgmma_bf16<Tile::kTokens>(segment, fragments[kHalf * kCuda16StageSteps + s][0],
                                    hw::smem_desc_at(x, s * 32), kHalf + s > 0);
    }
    hw::wgmma_commit();
  }
  template <int kHalf>
  OCTET_DEVICE void HoldHalf() {
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) {
      hw::wgmma_hold(fragments[kHalf * kCuda16StageSteps + s][0]);
    }
  }
  OCTET_DEVICE void AdvanceTokens() {
    tokens.Advance(Tile::kTokenRingBytes, Tile::kTokenStageBytes);
  }
  OCTET_DEVICE void BeginTurn() const {
    if constexpr (Tile::kTurns) hw::bar_sync(1 + group, kTurnThreads);
  }
  OCTET_DEVICE void EndTurn() const {
    if constexpr (Tile::kTurns) {
      hw::bar_arrive(group + 1 == Tile::kGroups ? 1 : 2 + group, kTurnThreads);
    }
  }
  // Scales the unit that is done into `to`.
  template <bool kFirst>
  OCTET_DEVICE void FoldInto(float (&to)[kValues], int32_t block_slot) {
    const auto own =
        LaneScales::Of<Tile::kFormat>(hw::floats_of_f16x2(scale), hw::floats_of_f16x2(offset));
    Fold<kFirst>(own, reinterpret_cast<const float*>(x_sums + block_slot), Tile::kAsymmetric, 0,
                 segment, to);
  }
  // Multiplies the prepared block and adds it to `to`, a leaf's first to nothing; meanwhile does
  // what `meanwhile` does, and prepares the next block if there is `more`.
  template <bool kFirst, typename Meanwhile>
  OCTET_DEVICE void Unit(float (&to)[kValues], bool more, const Meanwhile& meanwhile) {
    const int32_t block_slot = weights.slot;
    const int32_t first = Tile::kTogether ? block_slot : tokens.slot;
    if constexpr (!Tile::kTogether) {
      hw::mbar_wait(shared.tokens_full(first), tokens.parity);
      AdvanceTokens();
    }
    const int32_t second = tokens.slot;
    BeginTurn();
    const uint64_t x = hw::smem_desc_at(tokens_desc, first);
    Issue<0>(x);
    if constexpr (!Tile::kTogether) hw::mbar_wait(shared.tokens_full(second), tokens.parity);
    constexpr bool kBranched = Tile::kAsymmetric && !Tile::kTogether;  // by the wait
    if (kBranched || Always()) PrepareRest();
    weights.Advance(Tile::kRingBytes, Tile::kStageBytes);
    Issue<1>(Tile::kTogether ? hw::smem_desc_at(x, Tile::kHalfBytes)
                             : hw::smem_desc_at(tokens_desc, second));
    if constexpr (!Tile::kTogether) AdvanceTokens();
    EndTurn();
    meanwhile();
    hw::wgmma_wait<1>();
    HoldHalf<0>();
#if OCTET_PLANTED_BUG == 17
    GiveTokensBack(first, second, block_slot);
#endif
    if (more) Prepare();
    // As late as can be: registers are short.
    if constexpr (Tile::kAsymmetric) ReadScales(block_slot);
    hw::wgmma_wait<0>();
    hw::wgmma_hold(segment);
    HoldHalf<1>();
    // Sums of x are given back with the tokens.
    if constexpr (Tile::kAsymmetric) {
      FoldInto<kFirst>(to, block_slot);
      if constexpr (!Tile::kTogether) GiveBack(Empty(block_slot));
    }
#if OCTET_PLANTED_BUG != 17
    GiveTokensBack(first, second, block_slot);
#endif
    if constexpr (!Tile::kAsymmetric) FoldInto<kFirst>(to, block_slot);
  }
  OCTET_DEVICE void GiveTokensBack(int32_t first, int32_t second, int32_t block_slot) const {
    if constexpr (Tile::kTogether) {
      GiveBack(Empty(block_slot));
    } else {
      GiveBack(shared.tokens_empty(first));
      GiveBack(shared.tokens_empty(second));
    }
  }

  OCTET_DEVICE int32_t BlocksOf(int32_t leaf_index) const {
    return k.inputs.leaf_block[leaf_index + 1] - k.inputs.leaf_block[leaf_index];
  }
  // All items of this block.
  OCTET_DEVICE void Run() {
    if (Tile::kTurns && group + 1 == Tile::kGroups) hw::bar_arrive(1, kTurnThreads);
    const auto first = static_cast<int32_t>(blockIdx.x);
    const auto step = static_cast<int32_t>(gridDim.x);
    if (first < k.items) Prepare();
    int32_t i = first;
#pragma unroll 1
    for (; i < k.items; i += step) {
      const int32_t part = i % k.parts.parts;
      const int32_t begin = k.parts.leaf_begin[part];
      const int32_t end = k.parts.leaf_begin[part + 1];
#pragma unroll 1
      for (int32_t l = begin; l < end; l += 2) {
        Unit<true>(leaf, Always(), [&] {
          if (l > begin) {
            this->EndPair(l - begin - 1, false);
          } else if (i != first) {
            this->EndItem(i - step);
          }
        });
        int32_t rest = BlocksOf(l);
#pragma unroll 1
        while (--rest > 0) Unit<false>(leaf, Always(), [] {});
        // After the last block of all there is none to prepare.
        const int32_t least = l + 2 == end && i + step >= k.items ? 1 : 0;
        rest = BlocksOf(l + 1);
        Unit<true>(right, rest > least, [] {});
#pragma unroll 1
        while (--rest > 0) Unit<false>(right, rest > least, [] {});
      }
    }
    if (i != first) this->EndItem(i - step);
    if (Tile::kTurns && group == 0) hw::bar_sync(1, kTurnThreads);
  }
};

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    Linear16WideKernel(const OCTET_GRID_CONSTANT Linear16Kernel k,
                       const OCTET_GRID_CONSTANT hw::TensorMap x) {
  const WideShared<Tile> shared = WideShared<Tile>::Take();
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) shared.InitBarriers();
  __syncthreads();
  hw::let_next_begin();
  if (thread >= Tile::kComputing) {
    hw::setmaxnreg_dec<Tile::kCopyRegisters>();
    // Weights may come before the kernels ahead of this one are done.
    const int producer = thread - Tile::kComputing;
    if (producer == 96) CopyWideWeights<Tile>(k, shared);
    hw::wait_for_past();
    if (producer == 0) CopyWideTokens<Tile>(k, x, shared);
  } else {
    hw::setmaxnreg_inc<Tile::kRegisters>();
    hw::wait_for_past();
    WideGroup<Tile>(k, shared).Run();
  }
}

template <typename Tile>
void LaunchLinear16Wide(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  OCTET_CHECK_EQ(plan.tile.tokens, Tile::kTokens);
  OCTET_CHECK_EQ(k.asymmetric, Tile::kAsymmetric);
  OCTET_CHECK(!k.scales_f32 && !k.x_by_steps);
  OCTET_CHECK_EQ(plan.tile.outputs, kCuda16PanelOutputs * Tile::kGroups);
  const hw::TensorMap x = hw::MakeTensorMap(k.x, k.rows, k.inputs.leaf_input[k.inputs.leaves],
                                            k.x_stride, Tile::kTokens);
  OCTET_LAUNCH_EARLY(Linear16WideKernel<Tile>, Linear16Grid(plan, stream), dim3(Tile::kThreads),
                     WideShared<Tile>::Bytes(), stream, k, x);
}

}  // namespace octet::kernels::cuda
