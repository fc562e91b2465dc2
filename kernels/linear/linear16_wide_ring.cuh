// The shared memory of a block of linear16_wide.cuh, and the two threads that fill it: one copies
// weights, a block of 128 inputs of all panels at a time, one tokens, half a block at a time, by
// tensor copies. Each has a ring whose stages they fill as soon as all warps have given them back,
// or both have one.
#pragma once

#include <algorithm>

#include "base/device/ring_place.cuh"
#include "kernels/linear/linear16.cuh"

namespace octet::kernels::cuda {

// kGroups warpgroups of 64 outputs each, kHalves stages of tokens, kBlocks stages of weights.
// kTurns: the warpgroups issue in turn.
template <WeightFormat kFormat_, int kGroups_, int kTokens_, int kHalves_, int kBlocks_,
          bool kTurns_, bool kAsymmetric_>
struct WideTile {
  static constexpr WeightFormat kFormat = kFormat_;
  static constexpr int kGroups = kGroups_;
  static constexpr int kTokens = kTokens_;
  static constexpr int kHalves = kHalves_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr bool kTurns = kTurns_;
  static constexpr bool kAsymmetric = kAsymmetric_;
  static constexpr int kPanels = kGroups;
  static constexpr int kComputing = 128 * kGroups;
  static constexpr int kThreads = kComputing + 128;  // setmaxnreg wants a whole warpgroup
  // A block starts with the registers of its threads, of which each has a multiple of 8.
  static constexpr int kRegistersAtStart = 65536 / kThreads / 8 * 8;
  static constexpr int kCopyRegisters =
      kGroups == 4 ? 32 : 24;  // what four leave, else as few as do
  static constexpr int kRegisters =
      std::min(240, (kRegistersAtStart * kThreads / 128 - kCopyRegisters) / kGroups / 8 * 8);
  static constexpr int kValues = kTokens / 2;
  static constexpr int kVectors = kValues / 4;
  static constexpr int kHalfBytes = kTokens * 128;
  static constexpr int kCodes = Cuda16CodeBytes(kFormat);  // of half a block of a panel
  static constexpr int kScales = kCuda16PanelOutputs * 2;
  static constexpr int kPanelBytes = 2 * kCodes + (kAsymmetric ? 2 : 1) * kScales;
  static constexpr int kSharedLevels = 2;
  // Where the rings are in step they are one: a stage is a block of weights and of tokens.
  static constexpr bool kTogether = kHalves == 2 * kBlocks;
  // Sums of x come with the second half of a block, in a ring that is in step with that of weights.
  static constexpr int kSums = kAsymmetric ? kBlocks : 0;
  static_assert(kHalves >= 4 && kBlocks >= 2);
  // A block that is in the ring of tokens in part has a place for its sums.
  static_assert(!kAsymmetric || kBlocks >= kHalves / 2);
};

template <typename Tile>
struct WideShared {
  std::byte* tokens;   // [kHalves][kTokens rows of 128 bytes]
  std::byte* weights;  // [kBlocks][kPanels][kPanelBytes]
  float4* levels;      // [kSharedLevels][kVectors][kComputing]
  float* x_sums;       // [kSums][kTokens]
  uint64_t* tokens_full;
  uint64_t* tokens_empty;
  uint64_t* weights_full;
  uint64_t* weights_empty;

  OCTET_DEVICE static WideShared Take() {
    hw::Smem shared;
    WideShared taken;
    taken.tokens = shared.take<std::byte>(Tile::kHalves * Tile::kHalfBytes, 1024);
    taken.weights = shared.take<std::byte>(Tile::kBlocks * Tile::kPanels * Tile::kPanelBytes);
    taken.levels = shared.take<float4>(Tile::kSharedLevels * Tile::kVectors * Tile::kComputing);
    taken.x_sums = Tile::kSums == 0 ? nullptr : shared.take<float>(Tile::kSums * Tile::kTokens);
    taken.tokens_full = Tile::kTogether ? nullptr : shared.take<uint64_t>(Tile::kHalves);
    taken.tokens_empty = Tile::kTogether ? nullptr : shared.take<uint64_t>(Tile::kHalves);
    taken.weights_full = shared.take<uint64_t>(Tile::kBlocks);
    taken.weights_empty = shared.take<uint64_t>(Tile::kBlocks);
    return taken;
  }
  static int64_t Bytes() {
    hw::SmemPlan plan;
    plan.add<std::byte>(Tile::kHalves * Tile::kHalfBytes, 1024);
    plan.add<std::byte>(Tile::kBlocks * Tile::kPanels * Tile::kPanelBytes);
    plan.add<float4>(Tile::kSharedLevels * Tile::kVectors * Tile::kComputing);
    if (Tile::kSums > 0) plan.add<float>(Tile::kSums * Tile::kTokens);
    for (int i = 0; i < (Tile::kTogether ? 0 : 2); ++i) plan.add<uint64_t>(Tile::kHalves);
    for (int i = 0; i < 2; ++i) plan.add<uint64_t>(Tile::kBlocks);
    return plan.bytes();
  }
  OCTET_DEVICE void InitBarriers() const {
    constexpr int kWarps = Tile::kComputing / 32;
    for (int i = 0; i < (Tile::kTogether ? 0 : Tile::kHalves); ++i) {
      hw::mbar_init(&tokens_full[i], 1);
      hw::mbar_init(&tokens_empty[i], kWarps);
    }
    for (int i = 0; i < Tile::kBlocks; ++i) {
      hw::mbar_init(&weights_full[i], Tile::kTogether ? 2 : 1);
      hw::mbar_init(&weights_empty[i], kWarps);
    }
    hw::fence_mbar_init();
  }
};

// The blocks of inputs of a part.
OCTET_DEVICE int2 BlocksOf(const Linear16Kernel& k, int32_t part) {
  return make_int2(k.inputs.leaf_block[k.parts.leaf_begin[part]],
                   k.inputs.leaf_block[k.parts.leaf_begin[part + 1]]);
}

// One thread.
template <typename Tile>
OCTET_DEVICE void CopyWideWeights(const Linear16Kernel& k, const WideShared<Tile>& shared) {
  RingPlace at;
  for (int32_t i = blockIdx.x; i < k.items; i += gridDim.x) {
    const Linear16Item item = ItemOf(k, i);
    const int2 blocks = BlocksOf(k, item.part);
#pragma unroll 1
    for (int32_t block = blocks.x; block < blocks.y; ++block) {
      hw::mbar_wait(&shared.weights_empty[at.slot], at.parity ^ 1);
      uint64_t* full = &shared.weights_full[at.slot];
      hw::mbar_arrive_expect_tx(full, Tile::kPanels * Tile::kPanelBytes);
#pragma unroll
      for (int p = 0; p < Tile::kPanels; ++p) {
        // Past the last panel the last one comes again; no one stores what it gives.
        const int32_t panel = min(item.output_tile * Tile::kPanels + p, k.panels - 1);
        hw::bulk_load(
            shared.weights + (at.slot * Tile::kPanels + p) * Tile::kPanelBytes,
            k.weights + panel * k.panel_bytes + static_cast<int64_t>(block) * Tile::kPanelBytes,
            Tile::kPanelBytes, full);
      }
      at.Advance(Tile::kBlocks);
    }
  }
}

// One thread. The blocks of all leaves follow each other in x as they do in the weights.
template <typename Tile>
OCTET_DEVICE void CopyWideTokens(const Linear16Kernel& k, const hw::TensorMap& map,
                                 const WideShared<Tile>& shared) {
  constexpr int kStages = Tile::kTogether ? Tile::kBlocks : Tile::kHalves;
  constexpr int kHalves = Tile::kTogether ? 2 : 1;  // of a stage
  constexpr int kSumBytes = Tile::kAsymmetric ? Tile::kTokens * 4 : 0;
  RingPlace at;
  int32_t sums_slot = 0;
  for (int32_t i = blockIdx.x; i < k.items; i += gridDim.x) {
    const Linear16Item item = ItemOf(k, i);
    const int2 blocks = BlocksOf(k, item.part);
    const int32_t token = item.row_tile * Tile::kTokens;
#pragma unroll 1
    for (int32_t half = 2 * blocks.x; half < 2 * blocks.y; half += kHalves) {
      hw::mbar_wait((Tile::kTogether ? shared.weights_empty : shared.tokens_empty) + at.slot,
                    at.parity ^ 1);
      uint64_t* full = (Tile::kTogether ? shared.weights_full : shared.tokens_full) + at.slot;
      const bool has_sums = Tile::kAsymmetric && (half + kHalves) % 2 == 0;
      hw::mbar_arrive_expect_tx(full, kHalves * Tile::kHalfBytes + (has_sums ? kSumBytes : 0));
#pragma unroll
      for (int h = 0; h < kHalves; ++h) {
        hw::tensor_load(shared.tokens + (at.slot * kHalves + h) * Tile::kHalfBytes, map,
                        (half + h) * kCuda16StageInputs, token, full);
      }
      if (has_sums) {
        hw::bulk_load(shared.x_sums + sums_slot * Tile::kTokens,
                      k.x_sums + half / 2 * k.x_sums_stride + token, kSumBytes, full);
        if (++sums_slot == Tile::kSums) sums_slot = 0;
      }
      at.Advance(kStages);
    }
  }
}

}  // namespace octet::kernels::cuda
