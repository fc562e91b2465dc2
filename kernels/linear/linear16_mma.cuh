// The linear with bf16 activations for mma.sync (sm_80 and later): y^T = W x^T, weights as the
// operand of 16 rows, tokens as that of 8 columns, K step 16.
//
// A block takes a tile of kWarpsO * kM * 16 outputs x kWarpsT * kN * 8 tokens through its part of
// the leaves, 64 inputs (a stage) at a time. Weights and tokens come by cp.async through a ring of
// kStages in shared memory; every thread copies, one __syncthreads per stage.
//
// Moves, per tile and part: its weights once, its tokens once. Lane-instructions per int4 weight:
// 1.4 to expand it, 0.12 per 8 tokens for mma, 0.06 for ldmatrix, tokens / group for scaling.
#pragma once

#include "kernels/linear/linear16.cuh"
#include "kernels/linear/linear16_launch.h"

namespace octet::kernels::cuda {

template <WeightFormat kFormat_, int kWarpsO_, int kWarpsT_, int kM_, int kN_, int kStages_>
struct MmaTile {
  static constexpr WeightFormat kFormat = kFormat_;
  static constexpr int kWarpsO = kWarpsO_;
  static constexpr int kM = kM_;  // slabs of a warp
  static constexpr int kN = kN_;  // tiles of 8 tokens of a warp
  static constexpr int kStages = kStages_;
  static constexpr int kThreads = 32 * kWarpsO_ * kWarpsT_;
  static constexpr int kOutputs = kWarpsO_ * kM_ * kCuda16SlabOutputs;
  static constexpr int kTokens = kWarpsT_ * kN_ * 8;
  static constexpr int kPanels = kOutputs / kCuda16PanelOutputs;
  static constexpr int kTokenBytes = kTokens * 128;
  static constexpr int kValues = kN_ * 4;  // of one slab in one lane
  static_assert(kOutputs % kCuda16PanelOutputs == 0);
};

// What one thread knows of the stages it copies, ahead of those it computes.
template <typename Tile>
struct MmaLoader {
  const Linear16Kernel& k;
  const Linear16Stage& layout;
  std::byte* ring;
  StageCursor cursor;
  int32_t end;      // stage behind the part's last
  int32_t segment;  // first segment that ends in the cursor's stage
  int32_t slot;     // of the ring
  int32_t panel;
  int64_t token;

  // Issues the copies of the next stage, if there is one; a group of copies in any case.
  OCTET_DEVICE void CopyNext() {
    if (cursor.stage < end) Copy();
    hw::cp_async_commit();
  }

 private:
  OCTET_DEVICE void Copy() {
    const int half = cursor.stage % 2;
    std::byte* to = ring + slot * layout.bytes;
    const std::byte* from =
        k.weights + panel * k.panel_bytes + half * k.stage_bytes[0] +
        static_cast<int64_t>(cursor.stage / 2) * (k.stage_bytes[0] + k.stage_bytes[1]);
#pragma unroll 1
    for (int p = 0; p < Tile::kPanels; ++p) {
      const bool full = panel + p < k.panels;
      const std::byte* panel_from = full ? from + p * k.panel_bytes : k.weights;
      std::byte* panel_to = to + layout.weights_at + p * layout.weight_bytes;
#pragma unroll 1
      for (int at = threadIdx.x * 16; at < k.stage_bytes[half]; at += Tile::kThreads * 16) {
        const std::byte* chunk = full ? panel_from + at : panel_from;
        if (k.row_tiles == 1) {
          hw::cp_async16(panel_to + at, chunk, full);
        } else {
          hw::cp_async16(panel_to + at, chunk, full);
        }
      }
    }
    CopyTokens<Tile::kTokens>(k, cursor, token, threadIdx.x, Tile::kThreads, to);
    if (k.asymmetric) {
      const int ends = __popc(SegmentEnds(k, cursor.stage));
      CopySums<Tile::kTokens>(k, ends, segment, token, threadIdx.x, Tile::kThreads,
                              reinterpret_cast<float*>(to + layout.sums_at));
      segment += ends;
    }
    cursor.Advance(k);
    slot = slot + 1 == Tile::kStages ? 0 : slot + 1;
  }
};

// One warp's share of a tile.
template <typename Tile>
struct MmaWarp {
  static constexpr int kTerms = TermsOf(Tile::kFormat);
  static constexpr bool kQuantized = IsQuantized(Tile::kFormat);
  static constexpr int kRows = Tile::kM;
  using Values = float[Tile::kM][Tile::kValues];

  const Linear16Kernel& k;
  const Linear16Stage& layout;
  int lane;
  int first_slab;   // in the tile
  int first_token;  // in the tile

  // The fragments of both halves of a step's inputs for all tokens of the warp.
  OCTET_DEVICE void LoadTokens(const std::byte* tokens, int s, uint32_t (&b)[Tile::kN][2]) const {
    const int half = lane / 8 % 2;
#pragma unroll
    for (int n = 0; n + 1 < Tile::kN; n += 2) {
      uint32_t r[4];
      const int token = first_token + n * 8 + lane % 8 + lane / 16 * 8;
      hw::ldmatrix_x4(r, tokens + ChunkAt(token, 2 * s + half));
      b[n][0] = r[0];
      b[n][1] = r[1];
      b[n + 1][0] = r[2];
      b[n + 1][1] = r[3];
    }
    if constexpr (Tile::kN % 2 == 1) {
      const int token = first_token + (Tile::kN - 1) * 8 + lane % 8;
      hw::ldmatrix_x2(b[Tile::kN - 1], tokens + ChunkAt(token, 2 * s + half));
    }
  }

  OCTET_DEVICE void Step(const PackedFragments<Tile::kFormat> (&packed)[Tile::kM],
                         const std::byte* tokens, int s, Values& sums) const {
    uint32_t b[Tile::kN][2];
    LoadTokens(tokens, s, b);
#pragma unroll
    for (int m = 0; m < Tile::kM; ++m) {
      uint32_t a[kTerms][4];
      Expand<Tile::kFormat>(packed[m], s, a);
#pragma unroll
      for (int term = 0; term < kTerms; ++term) {
#pragma unroll
        for (int n = 0; n < Tile::kN; ++n) {
          float(&d)[4] = *reinterpret_cast<float(*)[4]>(&sums[m][4 * n]);
          hw::mma_m16n8k16_bf16(d, a[term], b[n]);
        }
      }
    }
  }

  // Scales the segment's sums into the leaf's and clears them.
  OCTET_DEVICE void FoldSegment(const std::byte* stage, int half, int slot, Values& segment,
                                Values& leaf) const {
    const auto* x_sums =
        reinterpret_cast<const float*>(stage + layout.sums_at) + slot * Tile::kTokens + first_token;
#pragma unroll
    for (int m = 0; m < Tile::kM; ++m) {
      const int slab = first_slab + m;
      const std::byte* scales =
          stage + layout.weights_at + slab / 4 * layout.weight_bytes + k.code_bytes;
      const LaneScales own = ReadScales<Tile::kFormat>(
          k, scales, k.inputs.slots[half], slot, slab % 4 * kCuda16SlabOutputs + lane / 4 * 2);
      Fold(own, x_sums, k.asymmetric, lane % 4, segment[m], leaf[m]);
#pragma unroll
      for (int i = 0; i < Tile::kValues; ++i) segment[m][i] = 0;
    }
  }

  // One stage: adds to `segment` and `leaf`; float formats to `leaf` alone.
  OCTET_DEVICE void Stage(const std::byte* stage, int half, int ends, Values& segment,
                          Values& leaf) const {
    PackedFragments<Tile::kFormat> packed[Tile::kM];
#pragma unroll
    for (int m = 0; m < Tile::kM; ++m) {
      const int slab = first_slab + m;
      packed[m].Load(stage + layout.weights_at + slab / 4 * layout.weight_bytes +
                         slab % 4 * (k.code_bytes / 4),
                     lane);
    }
    int slot = 0;
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) {
      if constexpr (kQuantized) {
        Step(packed, stage, s, segment);
        if (ends >> s & 1) FoldSegment(stage, half, slot++, segment, leaf);
      } else {
        Step(packed, stage, s, leaf);
      }
    }
  }
};

// A block's walk over the stages of one item.
template <typename Tile>
OCTET_DEVICE void MmaItem(const Linear16Kernel& k, const Linear16Stage& layout, std::byte* ring,
                          float* shared_sums, uint32_t* is_last, const Linear16Item& item) {
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const MmaWarp<Tile> own = {k, layout, thread % 32, warp % Tile::kWarpsO * Tile::kM,
                             warp / Tile::kWarpsO * Tile::kN * 8};
  const int64_t token = static_cast<int64_t>(item.row_tile) * Tile::kTokens;
  const int32_t leaf_begin = k.parts.leaf_begin[item.part];
  const int32_t leaf_end = k.parts.leaf_begin[item.part + 1];
  const int32_t stage_begin = 2 * k.inputs.leaf_block[leaf_begin];
  MmaLoader<Tile> loader = {k,
                            layout,
                            ring,
                            {leaf_begin, stage_begin},
                            2 * k.inputs.leaf_block[leaf_end],
                            k.inputs.leaf_segment[leaf_begin],
                            0,
                            item.output_tile * Tile::kPanels,
                            token};
  for (int i = 0; i + 1 < Tile::kStages; ++i) loader.CopyNext();

  SumStack<Tile::kM, Tile::kValues, Tile::kThreads> stack(k, shared_sums, thread);
  typename MmaWarp<Tile>::Values leaf = {};
  typename MmaWarp<Tile>::Values segment = {};
  int32_t stage = stage_begin;
  int32_t slot = 0;
  for (int32_t i = leaf_begin; i < leaf_end; ++i) {
    if (i != leaf_begin) {
      stack.Push(leaf);
#pragma unroll
      for (int m = 0; m < Tile::kM; ++m) {
#pragma unroll
        for (int v = 0; v < Tile::kValues; ++v) leaf[m][v] = 0;
      }
    }
    for (; stage < 2 * k.inputs.leaf_block[i + 1]; ++stage) {
      hw::cp_async_wait<Tile::kStages - 2>();
#if OCTET_PLANTED_BUG != 1
      __syncthreads();  // this stage is there, and no one reads the one that is copied into next
#endif
      loader.CopyNext();
      const int half = stage % 2;
      own.Stage(ring + slot * layout.bytes, half, SegmentEnds(k, stage), segment, leaf);
      slot = slot + 1 == Tile::kStages ? 0 : slot + 1;
    }
    for (int merge = 0; merge < k.parts.merges[i]; ++merge) stack.PopAdd(leaf);
  }

  const ValuePlace place = {
      static_cast<int64_t>(item.output_tile) * Tile::kOutputs + own.first_slab * kCuda16SlabOutputs,
      kCuda16SlabOutputs, token + own.first_token, own.lane};
  EndItem(
      k, item, place, thread == 0, is_last, [] { __syncthreads(); }, stack, leaf);
}

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    Linear16MmaKernel(const OCTET_GRID_CONSTANT Linear16Kernel k) {
  const Linear16Stage layout = Linear16Stage::Of(k, Tile::kPanels, Tile::kTokens);
  hw::Smem shared;
  auto* ring = shared.take<std::byte>(Tile::kStages * layout.bytes, 1024);
  float* sums =
      k.shared_levels == 0
          ? nullptr
          : shared.take<float>(k.shared_levels *
                               SumStack<Tile::kM, Tile::kValues, Tile::kThreads>::kLevelFloats);
  auto* is_last = shared.take<uint32_t>(1);
  for (int32_t i = blockIdx.x; i < k.items; i += gridDim.x) {
    if (i != static_cast<int32_t>(blockIdx.x)) __syncthreads();  // the ring is free again
    MmaItem<Tile>(k, layout, ring, sums, is_last, ItemOf(k, i));
  }
}

template <typename Tile>
void LaunchLinear16Mma(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  using Stack = SumStack<Tile::kM, Tile::kValues, Tile::kThreads>;
  CheckTile<Tile>(plan);
  hw::SmemPlan shared;
  shared.add<std::byte>(Tile::kStages * plan.stage_bytes, 1024);
  shared.add<float>(k.shared_levels * Stack::kLevelFloats);
  shared.add<uint32_t>(1);
  OCTET_LAUNCH(Linear16MmaKernel<Tile>, Linear16Grid(plan, stream), dim3(Tile::kThreads),
               shared.bytes(), stream, k);
}

}  // namespace octet::kernels::cuda
