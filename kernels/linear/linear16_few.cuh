// The linear with bf16 activations for few rows (sm_90): y^T = W x^T with mma.sync, whose sums have
// the bits of wgmma's there (TilesAgree in tests/kernels/linear), so that other tiles take more
// rows.
//
// What it is for is to keep memory busy. One block for each multiprocessor, as few as possible that
// wait for others:
//   - a block has one part of the leaves and every so many panels; the part's tokens lie in its
//     shared memory from beginning to end;
//   - a warp takes a task, a panel through one leaf, with a ring of stages of its own, which it
//     fills itself as soon as a stage is used up. Tasks follow each other in the ring: there is no
//     producer, and no barrier but between the warps of a panel at its end. Copies are cp.async, as
//     a warp waits for its own without a barrier in memory;
//   - the warps of a panel then add its leaves in the tree's order, through shared memory, eight
//     tokens at a time, and go on to their next panel. Where a panel's leaves are dealt to several
//     blocks, these wait for each other at the very end, and share what is left to add;
//   - the ring is filled before the kernels ahead of it in the stream are done (hw::wait_for_past).
//
// Moves: the weights once; the part's tokens once a block. Lane-instructions per int4 weight: 1.4
// to expand it, 0.13 per 8 tokens for mma and 0.06 for scaling, 0.2 for copies, waits and loops.
#pragma once

#include "kernels/linear/linear16_few_sums.cuh"
#include "kernels/linear/linear16_launch.h"

namespace octet::kernels::cuda {

// Copies the part's tokens, and the sums of their segments, to shared memory.
template <typename Tile>
OCTET_DEVICE void FewTokens(const Linear16Kernel& k, const FewBlock& block, int thread,
                            std::byte* x, float* x_sums) {
  // Several warps share a row, or each has some.
  constexpr int kRowWarps = Tile::kWarps > Tile::kTokens ? Tile::kWarps / Tile::kTokens : 1;
  constexpr int kAtOnce = 8;  // loads under way
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int64_t token = static_cast<int64_t>(block.row_tile) * Tile::kTokens;
  const int32_t leaf_end = block.leaf_begin + block.leaves;
  const int32_t first_block = k.inputs.leaf_block[block.leaf_begin];
  const int32_t positions = (k.inputs.leaf_block[leaf_end] - first_block) * kCuda16BlockInputs;
  // Without padding between them, leaves are copied as one.
  const bool dense =
      k.x_by_steps ||
      k.inputs.leaf_input[leaf_end] - k.inputs.leaf_input[block.leaf_begin] == positions;
  const int32_t step = dense ? block.leaves : 1;
#pragma unroll 1
  for (int32_t row = warp / kRowWarps; row < Tile::kTokens; row += Tile::kWarps / kRowWarps) {
    const uint16_t* from = k.x + (token + row) * k.x_stride;
#pragma unroll 1
    for (int32_t l = block.leaf_begin; l < leaf_end; l += step) {
      const int32_t chunks = (k.inputs.leaf_block[l + step] - k.inputs.leaf_block[l]) * 16;
      const int32_t begin =
          k.x_by_steps ? k.inputs.leaf_block[l] * kCuda16BlockInputs : k.inputs.leaf_input[l];
      const int32_t inputs = k.x_by_steps ? chunks * 8 : k.inputs.leaf_input[l + step] - begin;
      const int32_t full = token + row < k.rows ? (inputs + 7) / 8 : 0;
      std::byte* to = x + row * k.few.x_stride +
                      (k.inputs.leaf_block[l] - first_block) * kCuda16BlockInputs * 2;
#pragma unroll 1
      for (int32_t i = warp % kRowWarps * 32 + lane; i < chunks; i += kAtOnce * kRowWarps * 32) {
        uint4 read[kAtOnce];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          const int32_t chunk = i + j * kRowWarps * 32;
          read[j] = make_uint4(0, 0, 0, 0);
          if (chunk < full) read[j] = *reinterpret_cast<const uint4*>(from + begin + chunk * 8);
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          const int32_t chunk = i + j * kRowWarps * 32;
          if (chunk < chunks) *reinterpret_cast<uint4*>(to + chunk * 16) = read[j];
        }
      }
    }
  }
  if (!k.asymmetric) return;
  const int32_t first = k.inputs.leaf_segment[block.leaf_begin];
  const int32_t segments = k.inputs.leaf_segment[leaf_end] - first;
  if constexpr (Tile::kWhole) {
    // In the order of linear16_rows.cu, which other tiles' sums come from.
    __syncthreads();
    for (int32_t i = warp; i < segments * Tile::kTokens; i += Tile::kWarps) {
      const auto* inputs = reinterpret_cast<const uint16_t*>(
          x + i % Tile::kTokens * k.few.x_stride + i / Tile::kTokens * kCuda16BlockInputs * 2);
      float sum = 0;
#pragma unroll
      for (int j = 0; j < kCuda16BlockInputs; j += 32) sum += hw::float_of_bf16(inputs[lane + j]);
#pragma unroll
      for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
      if (lane == 0) x_sums[i] = sum;
    }
  } else {
    for (int32_t i = thread; i < segments * Tile::kTokens; i += Tile::kThreads) {
      const int32_t segment = i / Tile::kTokens;
      x_sums[i] = k.x_sums[(first + segment) * k.x_sums_stride + token + i % Tile::kTokens];
    }
  }
}

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    Linear16FewKernel(const OCTET_GRID_CONSTANT Linear16Kernel k) {
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32;
  const int lane = thread % 32;
  hw::Smem shared;
  auto* rings = shared.take<std::byte>(Tile::kWarps * Tile::kStages * k.few.stage_bytes, 128);
  auto* x = shared.take<std::byte>(Tile::kTokens * k.few.x_stride, 128);
  auto* slots = shared.take<float4>(k.few.slots * 128);
  auto* x_sums = k.asymmetric ? shared.take<float>(k.few.segments * Tile::kTokens) : nullptr;

  const FewBlock block = FewBlock::Of(k);
  const int number = warp * k.few.leaf_inverse[block.part] >> 15;  // warp / block.leaves
  const int32_t leaf = block.leaf_begin + warp - number * block.leaves;
  const bool works = number < block.groups;
  std::byte* ring = rings + warp * Tile::kStages * k.few.stage_bytes;
  const int32_t first_block = k.inputs.leaf_block[leaf];
  const int32_t blocks = k.inputs.leaf_block[leaf + 1] - first_block;
  const int32_t block_bytes = k.stage_bytes[0] + k.stage_bytes[1];
  FewWarp<Tile> own = {k,
                       {k.weights + (block.panel_begin + number) * k.panel_bytes +
                            int64_t{first_block} * block_bytes + lane * 16,
                        0, blocks, block.panel_begin + number, works ? block.panel_end : 0,
                        block.groups, block.groups * k.panel_bytes - int64_t{blocks} * block_bytes},
                       ring,
                       x + lane % 8 * k.few.x_stride + lane / 8 * 16,
                       x_sums,
                       lane};
#pragma unroll 1
  for (int i = 0; i < Tile::kStages; ++i) {
    own.stream.Put(k, lane, ring + i * k.few.stage_bytes);
  }
  hw::let_next_begin();
  hw::wait_for_past();
  FewTokens<Tile>(k, block, thread, x, x_sums);
  __syncthreads();

  if (works) {
    float4* group_slots = slots + number * block.leaves * 128;
    const FewGroup<Tile> group = {
        k, block, group_slots, number, thread - number * block.leaves * 32, block.leaves * 32};
    for (int32_t panel = block.panel_begin + number; panel < block.panel_end;
         panel += block.groups) {
      typename FewWarp<Tile>::Values sums;
      own.Leaf(block.leaf_begin, leaf, sums);
#pragma unroll
      for (int n = 0; n < Tile::kTiles; ++n) {
#pragma unroll
        for (int i = 0; i < Tile::kSlabs; ++i) {
          const float* v = &sums[i][4 * n];
          group_slots[((leaf - block.leaf_begin) * Tile::kSlabs + i) * 32 + lane] =
              make_float4(v[0], v[1], v[2], v[3]);
        }
        group.Sync();
        group.AddLeaves(panel, n);
        group.Sync();
      }
    }
  }
  if (k.parts.parts > 1 && k.arrivals != nullptr) {
    FewAddParts<Tile>(k, block, thread, reinterpret_cast<float4*>(rings));
  }
}

template <typename Tile>
void LaunchLinear16Few(const Linear16Plan& plan, Linear16Kernel k, Stream& stream) {
  OCTET_CHECK_EQ(plan.tile.tokens, Tile::kTokens);
  OCTET_CHECK_EQ(plan.tile.warps, Tile::kWarps);
  OCTET_CHECK_EQ(plan.tile.stages, Tile::kStages);
  OCTET_CHECK(!Tile::kWhole || plan.few.whole);
  hw::SmemPlan shared;
  shared.add<std::byte>(Tile::kWarps * Tile::kStages * k.few.stage_bytes, 128);
  shared.add<std::byte>(Tile::kTokens * k.few.x_stride, 128);
  shared.add<float4>(k.few.slots * 128);
  if (k.asymmetric) shared.add<float>(k.few.segments * Tile::kTokens);
  const int64_t columns =
      std::clamp<int64_t>(stream.info().sm_count / k.parts.parts, 1, plan.output_tiles);
  k.few.column_panels = static_cast<int32_t>(k.panels / columns);
  k.few.longer_columns = static_cast<int32_t>(k.panels % columns);
  OCTET_CHECK_LE(k.arrivals == nullptr ? 0 : 2 * columns * plan.row_tiles, kLinearArrivals);
  OCTET_LAUNCH_EARLY(Linear16FewKernel<Tile>,
                     dim3(static_cast<unsigned>(k.parts.parts), static_cast<unsigned>(columns),
                          static_cast<unsigned>(plan.row_tiles)),
                     dim3(Tile::kThreads), shared.bytes(), stream, k);
}

}  // namespace octet::kernels::cuda
