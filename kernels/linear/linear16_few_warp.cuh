// A warp of linear16_few.cuh: its tile and its way through a leaf of a panel.
#pragma once

#include "kernels/linear/few_ring.cuh"
#include "kernels/linear/linear16.cuh"

namespace octet::kernels::cuda {

// kWhole: every block of 128 inputs is a segment, with f16 scales: what most checkpoints are, and a
// third fewer instructions.
template <WeightFormat kFormat_, int kTiles_, int kWarps_, bool kWhole_>
struct FewTile {
  static constexpr bool kWhole = kWhole_;
  static constexpr WeightFormat kFormat = kFormat_;
  static constexpr int kTiles = kTiles_;  // of 8 tokens
  static constexpr int kTokens = 8 * kTiles_;
  static constexpr int kWarps = kWarps_;  // of a block, at most
  static constexpr int kSlabs = kCuda16PanelOutputs / kCuda16SlabOutputs;
  // Slabs that are multiplied side by side: enough of them that one need not wait for itself.
  static constexpr int kAtOnce = kTiles_ == 1 ? 4 : 2;
  static constexpr int kValues = 4 * kTiles_;  // of one slab in one lane
  using Sums = FewSums<kSlabs, kValues>;
};

// What a lane has of the tokens, and a step of products with them.
template <typename Tile>
struct FewLane {
  using Values = typename Tile::Sums::Values;
  using Packed = PackedFragments<Tile::kFormat>;

  const std::byte* x[Tile::kTiles];  // the lane's row and chunk of the part's first input

  // `tokens`: of the block's parts, in shared memory. Rows that there are not are another row's:
  // their products go nowhere.
  OCTET_DEVICE FewLane(const std::byte* tokens, int32_t stride, int32_t rows, int lane) {
#pragma unroll
    for (int n = 0; n < Tile::kTiles; ++n) {
      x[n] = tokens + min(n * 8 + lane % 8, rows - 1) * stride + lane / 8 * 16;
    }
  }
  // The tokens of two steps.
  OCTET_DEVICE void LoadTokens(int32_t input, uint32_t (&tokens)[Tile::kTiles][4]) const {
#pragma unroll
    for (int n = 0; n < Tile::kTiles; ++n) hw::ldmatrix_x4(tokens[n], x[n] + input);
  }
  // kAtOnce slabs from `first` on, of one step.
  OCTET_DEVICE void Step(const Packed (&packed)[Tile::kAtOnce], int first, int s,
                         const uint32_t (&tokens)[Tile::kTiles][4], Values& part) const {
#pragma unroll
    for (int i = 0; i < Tile::kAtOnce; ++i) {
      uint32_t a[1][4];
      Expand<Tile::kFormat>(packed[i], s, a);
#pragma unroll
      for (int n = 0; n < Tile::kTiles; ++n) {
        const uint32_t b[2] = {tokens[n][s % 2 * 2], tokens[n][s % 2 * 2 + 1]};
        float(&d)[4] = *reinterpret_cast<float(*)[4]>(&part[first + i][4 * n]);
        hw::mma_m16n8k16_bf16(d, a[0], b);
      }
    }
  }
};

// A warp's way through its panels.
template <typename Tile>
struct FewWarp : FewLane<Tile> {
  using Values = typename Tile::Sums::Values;
  using FewLane<Tile>::LoadTokens;
  using FewLane<Tile>::Step;

  const Linear16Kernel& k;
  FewRing& ring;
  const float* x_sums;  // [segments of the part][kTokens]
  int lane;

  // A leaf of the panel, of a part that begins with leaf `part_begin`.
  OCTET_DEVICE void Leaf(int32_t part_begin, int32_t leaf, Values& sums) {
    Values part = {};
#pragma unroll
    for (int i = 0; i < Tile::kSlabs; ++i) {
#pragma unroll
      for (int v = 0; v < Tile::kValues; ++v) sums[i][v] = 0;
    }
    const int32_t first = k.inputs.leaf_block[leaf];
    const int32_t end = k.inputs.leaf_block[leaf + 1];
    int32_t input = (first - k.inputs.leaf_block[part_begin]) * kCuda16BlockInputs * 2;
    const float* sums_of_x =
        x_sums + (k.inputs.leaf_segment[leaf] - k.inputs.leaf_segment[part_begin]) * Tile::kTokens;
#pragma unroll 1
    for (int32_t block = first; block < end; ++block) {
      const std::byte* at = ring.Take();
      if constexpr (Tile::kWhole) {
        Whole(at, input, sums_of_x, sums);
        sums_of_x += Tile::kTokens;
      } else {
        const int ends = k.inputs.segment_ends[block];
        Half(at, 0, ends & 15, input, sums_of_x, part, sums);
        sums_of_x += __popc(ends & 15) * Tile::kTokens;
        Half(at + k.stage_bytes[0], 1, ends >> 4, input + kCuda16StageInputs * 2, sums_of_x, part,
             sums);
        sums_of_x += __popc(ends >> 4) * Tile::kTokens;
      }
      input += kCuda16BlockInputs * 2;
      ring.GiveBack();
    }
  }

 private:
  // Packed fragments of kAtOnce slabs, of half a block whose codes lie at `codes`.
  OCTET_DEVICE void LoadSlabs(const std::byte* codes, int first,
                              PackedFragments<Tile::kFormat> (&packed)[Tile::kAtOnce]) {
#pragma unroll
    for (int i = 0; i < Tile::kAtOnce; ++i) {
      packed[i].Load(codes + (first + i) * (Cuda16CodeBytes(Tile::kFormat) / Tile::kSlabs), lane);
    }
  }
  // A block that is one segment.
  OCTET_DEVICE void Whole(const std::byte* at, int32_t input, const float* sums_of_x,
                          Values& sums) {
    constexpr int kCodes = Cuda16CodeBytes(Tile::kFormat);
#pragma unroll
    for (int first = 0; first < Tile::kSlabs; first += Tile::kAtOnce) {
      Values part = {};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        PackedFragments<Tile::kFormat> packed[Tile::kAtOnce];
        LoadSlabs(at + half * kCodes, first, packed);
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
          uint32_t tokens[Tile::kTiles][4];
          LoadTokens(input + half * kCuda16StageInputs * 2 + pair * 64, tokens);
          Step(packed, first, 2 * pair, tokens, part);
          Step(packed, first, 2 * pair + 1, tokens, part);
        }
      }
      FoldSlabs(at + 2 * kCodes, 1, 0, first, sums_of_x, part, sums);
    }
  }
  // Half a block, whose steps may end segments.
  OCTET_DEVICE void Half(const std::byte* at, int half, int ends, int32_t input,
                         const float* sums_of_x, Values& part, Values& sums) {
#pragma unroll
    for (int first = 0; first < Tile::kSlabs; first += Tile::kAtOnce) {
      PackedFragments<Tile::kFormat> packed[Tile::kAtOnce];
      LoadSlabs(at, first, packed);
      int ended = 0;
      uint32_t tokens[Tile::kTiles][4];
#pragma unroll
      for (int s = 0; s < kCuda16StageSteps; ++s) {
        if (s % 2 == 0) LoadTokens(input + s * 32, tokens);
        Step(packed, first, s, tokens, part);
        if ((ends >> s & 1) == 0) continue;
        FoldSlabs(at + k.code_bytes, k.inputs.slots[half], ended, first,
                  sums_of_x + ended * Tile::kTokens, part, sums);
#pragma unroll
        for (int i = first; i < first + Tile::kAtOnce; ++i) {
#pragma unroll
          for (int v = 0; v < Tile::kValues; ++v) part[i][v] = 0;
        }
        ++ended;
      }
    }
  }
  OCTET_DEVICE void FoldSlabs(const std::byte* scales, int slots, int ended, int first,
                              const float* sums_of_x, const Values& part, Values& sums) {
#pragma unroll
    for (int i = first; i < first + Tile::kAtOnce; ++i) {
      const LaneScales own = ReadScales<Tile::kFormat, Tile::kWhole>(
          k, scales, slots, ended, i * kCuda16SlabOutputs + lane / 4 * 2);
      Fold(own, sums_of_x, k.asymmetric, lane % 4, part[i], sums[i]);
    }
  }
};

}  // namespace octet::kernels::cuda
