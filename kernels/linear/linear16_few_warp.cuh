// A warp of linear16_few.cuh: its tile, its share of the work, the ring that it fills itself, and
// its way through a leaf of a panel.
#pragma once

#include "kernels/linear/linear16.cuh"

namespace octet::kernels::cuda {

// kWhole: every block of 128 inputs is a segment, with f16 scales: what most checkpoints are, and a
// third fewer instructions.
template <WeightFormat kFormat_, int kTiles_, int kWarps_, int kStages_, bool kWhole_>
struct FewTile {
  static constexpr bool kWhole = kWhole_;
  static constexpr WeightFormat kFormat = kFormat_;
  static constexpr int kTiles = kTiles_;  // of 8 tokens
  static constexpr int kTokens = 8 * kTiles_;
  static constexpr int kWarps = kWarps_;
  static constexpr int kStages = kStages_;  // of a warp's ring, a block of inputs each
  static constexpr int kThreads = 32 * kWarps_;
  static constexpr int kSlabs = kCuda16PanelOutputs / kCuda16SlabOutputs;
  // Slabs that are multiplied side by side: enough of them that one need not wait for itself.
  static constexpr int kAtOnce = kTiles_ == 1 ? 4 : 2;
  static constexpr int kValues = 4 * kTiles_;  // of one slab in one lane
};

// A block's share of the work. Grid: parts, columns of panels, row tiles.
struct FewBlock {
  int32_t part;
  int32_t row_tile;
  int32_t leaf_begin;
  int32_t leaves;
  int32_t panel_begin;
  int32_t panel_end;
  int32_t groups;  // of warps, each at a panel of its own

  OCTET_DEVICE static FewBlock Of(const Linear16Kernel& k) {
    FewBlock block;
    block.part = static_cast<int32_t>(blockIdx.x);
    const auto column = static_cast<int32_t>(blockIdx.y);
    block.row_tile = static_cast<int32_t>(blockIdx.z);
    block.leaf_begin = k.parts.leaf_begin[block.part];
    block.leaves = k.parts.leaf_begin[block.part + 1] - block.leaf_begin;
    block.panel_begin = column * k.few.column_panels + min(column, k.few.longer_columns);
    block.panel_end = block.panel_begin + k.few.column_panels + (column < k.few.longer_columns);
    block.groups = k.few.groups[block.part];
    return block;
  }
};

// The blocks of inputs of a warp's tasks, one after the other.
template <typename Tile>
struct FewStream {
  const std::byte* from;  // what the lane copies first of the next block
  int32_t block;          // the next, of the task
  int32_t blocks;         // of a task
  int32_t panel;          // of the task
  int32_t panel_end;
  int32_t panel_step;
  int64_t jump;  // from the end of a task to the next one

  // Asks for the next block, if there is one; a group of copies in any case.
  OCTET_DEVICE void Put(const Linear16Kernel& k, int lane, std::byte* to) {
    if (panel < panel_end) {
      const int32_t bytes = k.stage_bytes[0] + k.stage_bytes[1];
      to += lane * 16;
      constexpr int kCodes = 2 * Cuda16CodeBytes(Tile::kFormat);
#pragma unroll
      for (int at = 0; at < kCodes; at += 512) hw::cp_async16(to + at, from + at);
      for (int at = kCodes; at + lane * 16 < bytes; at += 512) hw::cp_async16(to + at, from + at);
      from += bytes;
      if (++block == blocks) {
        block = 0;
        from += jump;
        panel += panel_step;
      }
    }
    hw::cp_async_commit();
  }
};

// A warp's way through its tasks.
template <typename Tile>
struct FewWarp {
  using Values = float[Tile::kSlabs][Tile::kValues];

  const Linear16Kernel& k;
  FewStream<Tile> stream;
  std::byte* ring;
  const std::byte* x;   // the lane's row and chunk of the part's first input, for ldmatrix
  const float* x_sums;  // [segments of the part][kTokens]
  int lane;
  int32_t slot = 0;

  // A task: that leaf, of a part that begins with leaf `part_begin`.
  OCTET_DEVICE void Leaf(int32_t part_begin, int32_t leaf, Values& sums) {
    Values part = {};
#pragma unroll
    for (int i = 0; i < Tile::kSlabs; ++i) {
#pragma unroll
      for (int v = 0; v < Tile::kValues; ++v) sums[i][v] = 0;
    }
    const int32_t first = k.inputs.leaf_block[leaf];
    const int32_t end = k.inputs.leaf_block[leaf + 1];
    const std::byte* inputs =
        x + (first - k.inputs.leaf_block[part_begin]) * kCuda16BlockInputs * 2;
    const float* sums_of_x =
        x_sums + (k.inputs.leaf_segment[leaf] - k.inputs.leaf_segment[part_begin]) * Tile::kTokens;
#pragma unroll 1
    for (int32_t block = first; block < end; ++block) {
      hw::cp_async_wait<Tile::kStages - 1>();
      __syncwarp();  // what the other lanes copied is there too
      std::byte* at = ring + slot * k.few.stage_bytes;
      if constexpr (Tile::kWhole) {
        Whole(at, inputs, sums_of_x, sums);
        sums_of_x += Tile::kTokens;
      } else {
        const int ends = k.inputs.segment_ends[block];
        Half(at, 0, ends & 15, inputs, sums_of_x, part, sums);
        sums_of_x += __popc(ends & 15) * Tile::kTokens;
        Half(at + k.stage_bytes[0], 1, ends >> 4, inputs + kCuda16StageInputs * 2, sums_of_x, part,
             sums);
        sums_of_x += __popc(ends >> 4) * Tile::kTokens;
      }
      inputs += kCuda16BlockInputs * 2;
#if OCTET_PLANTED_BUG != 16
      __syncwarp();  // every lane has read the block
#endif
      stream.Put(k, lane, at);
      if (++slot == Tile::kStages) slot = 0;
    }
  }

 private:
  // kAtOnce slabs from `first` on, of one step.
  OCTET_DEVICE void Step(const PackedFragments<Tile::kFormat> (&packed)[Tile::kAtOnce], int first,
                         int s, const uint32_t (&tokens)[Tile::kTiles][4], Values& part) {
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
  // Packed fragments of kAtOnce slabs, of half a block whose codes lie at `codes`.
  OCTET_DEVICE void LoadSlabs(const std::byte* codes, int first,
                              PackedFragments<Tile::kFormat> (&packed)[Tile::kAtOnce]) {
#pragma unroll
    for (int i = 0; i < Tile::kAtOnce; ++i) {
      packed[i].Load(codes + (first + i) * (Cuda16CodeBytes(Tile::kFormat) / Tile::kSlabs), lane);
    }
  }
  // The tokens of two steps.
  OCTET_DEVICE void LoadTokens(const std::byte* inputs, uint32_t (&tokens)[Tile::kTiles][4]) {
#pragma unroll
    for (int n = 0; n < Tile::kTiles; ++n) {
      hw::ldmatrix_x4(tokens[n], inputs + n * 8 * k.few.x_stride);
    }
  }
  // A block that is one segment.
  OCTET_DEVICE void Whole(const std::byte* at, const std::byte* inputs, const float* sums_of_x,
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
          LoadTokens(inputs + half * kCuda16StageInputs * 2 + pair * 64, tokens);
          Step(packed, first, 2 * pair, tokens, part);
          Step(packed, first, 2 * pair + 1, tokens, part);
        }
      }
      FoldSlabs(at + 2 * kCodes, 1, 0, first, sums_of_x, part, sums);
    }
  }
  // Half a block, whose steps may end segments.
  OCTET_DEVICE void Half(const std::byte* at, int half, int ends, const std::byte* inputs,
                         const float* sums_of_x, Values& part, Values& sums) {
#pragma unroll
    for (int first = 0; first < Tile::kSlabs; first += Tile::kAtOnce) {
      PackedFragments<Tile::kFormat> packed[Tile::kAtOnce];
      LoadSlabs(at, first, packed);
      int ended = 0;
      uint32_t tokens[Tile::kTiles][4];
#pragma unroll
      for (int s = 0; s < kCuda16StageSteps; ++s) {
        if (s % 2 == 0) LoadTokens(inputs + s * 32, tokens);
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
