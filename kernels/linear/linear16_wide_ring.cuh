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
  // There are registers for addresses and constants that would be worked out again and again.
  static constexpr bool kKeeps = kTokens < 128;
  // Where the rings are in step they are one: a stage is a block of tokens and of weights. Its sums
  // of x follow, which come with the second half of the tokens, and its two barriers, so that the
  // place of a stage leads to all of it.
  static constexpr bool kTogether = kHalves == 2 * kBlocks;
  static constexpr int kWeightsAt = kTogether ? 2 * kHalfBytes : 0;
  static constexpr int kSumsAt = kWeightsAt + kPanels * kPanelBytes;
  static constexpr int kSumBytes = kAsymmetric ? kTokens * 4 : 0;
  static constexpr int kBarriersAt = kSumsAt + kSumBytes;
  static constexpr int kStageBytes =
      kTogether ? (kBarriersAt + 16 + 1023) / 1024 * 1024 : kBarriersAt + 16;
  static constexpr int kRingBytes = kBlocks * kStageBytes;
  static constexpr int kTokenStageBytes = kTogether ? kStageBytes : kHalfBytes;
  static constexpr int kTokenRingBytes = kTogether ? kRingBytes : kHalves * kHalfBytes;
  static_assert(kHalves >= 4 && kBlocks >= 2);
  // A block that is in the ring of tokens in part has a place for its sums.
  static_assert(!kAsymmetric || kBlocks >= kHalves / 2);
};

template <typename Tile>
struct WideShared {
  std::byte* stages;         // [kBlocks][kStageBytes]
  std::byte* tokens;         // [kHalves][kTokens rows of 128 bytes]; together: the stages
  uint64_t* token_barriers;  // [kHalves][2]; together: null
  float4* levels;            // [kSharedLevels][kVectors][kComputing]

  OCTET_DEVICE static WideShared Take() {
    hw::Smem shared;
    WideShared taken;
    taken.stages = shared.take<std::byte>(Tile::kRingBytes, 1024);
    taken.tokens = taken.stages;
    taken.token_barriers = nullptr;
    if constexpr (!Tile::kTogether) {
      taken.tokens = shared.take<std::byte>(Tile::kTokenRingBytes, 1024);
      taken.token_barriers = shared.take<uint64_t>(Tile::kHalves * 2);
    }
    taken.levels = shared.take<float4>(Tile::kSharedLevels * Tile::kVectors * Tile::kComputing);
    return taken;
  }
  static int64_t Bytes() {
    hw::SmemPlan plan;
    plan.add<std::byte>(Tile::kRingBytes, 1024);
    if (!Tile::kTogether) {
      plan.add<std::byte>(Tile::kTokenRingBytes, 1024);
      plan.add<uint64_t>(Tile::kHalves * 2);
    }
    plan.add<float4>(Tile::kSharedLevels * Tile::kVectors * Tile::kComputing);
    return plan.bytes();
  }
  // Of the stage that begins at `at`: that its weights have come, and that it may be filled.
  OCTET_DEVICE uint64_t* full(int32_t at) const {
    return reinterpret_cast<uint64_t*>(stages + at + Tile::kBarriersAt);
  }
  OCTET_DEVICE uint64_t* empty(int32_t at) const { return full(at) + 1; }
  // The same of the half of tokens that begins at `at`; together: of the stage.
  OCTET_DEVICE uint64_t* tokens_full(int32_t at) const {
    if constexpr (Tile::kTogether) return full(at);
    return token_barriers + static_cast<uint32_t>(at) / Tile::kTokenStageBytes * 2;
  }
  OCTET_DEVICE uint64_t* tokens_empty(int32_t at) const { return tokens_full(at) + 1; }
  OCTET_DEVICE void InitBarriers() const {
    constexpr int kWarps = Tile::kComputing / 32;
    for (int i = 0; i < (Tile::kTogether ? 0 : Tile::kHalves); ++i) {
      hw::mbar_init(tokens_full(i * Tile::kTokenStageBytes), 1);
      hw::mbar_init(tokens_empty(i * Tile::kTokenStageBytes), kWarps);
    }
    for (int i = 0; i < Tile::kBlocks; ++i) {
      hw::mbar_init(full(i * Tile::kStageBytes), Tile::kTogether ? 2 : 1);
      hw::mbar_init(empty(i * Tile::kStageBytes), kWarps);
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
      hw::mbar_wait(shared.empty(at.slot), at.parity ^ 1);
      uint64_t* full = shared.full(at.slot);
      hw::mbar_arrive_expect_tx(full, Tile::kPanels * Tile::kPanelBytes);
#pragma unroll
      for (int p = 0; p < Tile::kPanels; ++p) {
        // Past the last panel the last one comes again; no one stores what it gives.
        const int32_t panel = min(item.output_tile * Tile::kPanels + p, k.panels - 1);
        hw::bulk_load(
            shared.stages + at.slot + Tile::kWeightsAt + p * Tile::kPanelBytes,
            k.weights + panel * k.panel_bytes + static_cast<int64_t>(block) * Tile::kPanelBytes,
            Tile::kPanelBytes, full);
      }
      at.Advance(Tile::kRingBytes, Tile::kStageBytes);
    }
  }
}

// One thread. The blocks of all leaves follow each other in x as they do in the weights.
template <typename Tile>
OCTET_DEVICE void CopyWideTokens(const Linear16Kernel& k, const hw::TensorMap& map,
                                 const WideShared<Tile>& shared) {
  constexpr int kHalves = Tile::kTogether ? 2 : 1;  // of a stage
  RingPlace at;
  RingPlace sums;  // those of a block lie in its stage
  for (int32_t i = blockIdx.x; i < k.items; i += gridDim.x) {
    const Linear16Item item = ItemOf(k, i);
    const int2 blocks = BlocksOf(k, item.part);
    const int32_t token = item.row_tile * Tile::kTokens;
#pragma unroll 1
    for (int32_t half = 2 * blocks.x; half < 2 * blocks.y; half += kHalves) {
      hw::mbar_wait(shared.tokens_empty(at.slot), at.parity ^ 1);
      uint64_t* full = shared.tokens_full(at.slot);
      const bool has_sums = Tile::kAsymmetric && (half + kHalves) % 2 == 0;
      hw::mbar_arrive_expect_tx(full,
                                kHalves * Tile::kHalfBytes + (has_sums ? Tile::kSumBytes : 0));
#pragma unroll
      for (int h = 0; h < kHalves; ++h) {
        hw::tensor_load(shared.tokens + at.slot + h * Tile::kHalfBytes, map,
                        (half + h) * kCuda16StageInputs, token, full);
      }
      if (has_sums) {
        hw::bulk_load(shared.stages + sums.slot + Tile::kSumsAt,
                      k.x_sums + half / 2 * k.x_sums_stride + token, Tile::kSumBytes, full);
        sums.Advance(Tile::kRingBytes, Tile::kStageBytes);
      }
      at.Advance(Tile::kTokenRingBytes, Tile::kTokenStageBytes);
    }
  }
}

}  // namespace octet::kernels::cuda
