// The linear with bf16 activations for few rows (sm_90): y^T = W x^T with mma.sync, whose sums have
// the bits of wgmma's there (TilesAgree in tests/kernels/linear), so that other tiles take more
// rows.
//
// What it is for is to keep memory busy. One block for each multiprocessor, as few as possible that
// wait for others:
//   - a block has some parts of the leaves and every so many panels; the parts' tokens lie in its
//     shared memory from beginning to end;
//   - a warp takes one part of a panel, leaf after leaf, with a ring of stages of its own, which it
//     fills itself as soon as a stage is used up, a block of inputs with one bulk copy. It adds
//     leaves in the tree's order by itself, and goes on to its next panel: there is no producer,
//     and warps wait for each other only for the tokens at the beginning;
//   - blocks that have parts of the same panels are a cluster, meet at the very end, and share
//     what is left to add;
//   - rings are filled, and what follows is asked for in L2, before the kernels ahead of it in the
//     stream are done (hw::wait_for_past).
//
// Moves: the weights once; the part's tokens once a block. Lane-instructions per int4 weight: 1.1
// to expand it, 0.13 per 8 tokens for mma and 0.06 for scaling, 0.2 for copies, waits and loops.
#pragma once

#include "kernels/linear/linear16_few_warp.cuh"
#include "kernels/linear/linear16_launch.h"

namespace octet::kernels::cuda {

// Copies the tokens of the block's parts to shared memory. Not by bulk copies: they would come
// after all of those that fill the rings.
OCTET_DEVICE void FewTokens(const Linear16Kernel& k, const FewBlock& block, std::byte* x) {
  const int32_t first_block = k.inputs.leaf_block[block.leaf_begin];
  const int32_t positions =
      (k.inputs.leaf_block[block.leaf_end] - first_block) * kCuda16BlockInputs;
  // Without padding between them, leaves are copied as one.
  const bool dense =
      k.x_by_steps ||
      k.inputs.leaf_input[block.leaf_end] - k.inputs.leaf_input[block.leaf_begin] == positions;
  const int32_t step = dense ? block.leaf_end - block.leaf_begin : 1;
#pragma unroll 1
  for (int32_t l = block.leaf_begin; l < block.leaf_end; l += step) {
    const int32_t chunks = (k.inputs.leaf_block[l + step] - k.inputs.leaf_block[l]) * 16;
    const int32_t begin =
        k.x_by_steps ? k.inputs.leaf_block[l] * kCuda16BlockInputs : k.inputs.leaf_input[l];
    const int32_t inputs = k.x_by_steps ? chunks * 8 : k.inputs.leaf_input[l + step] - begin;
    std::byte* to = x + (k.inputs.leaf_block[l] - first_block) * kCuda16BlockInputs * 2;
#pragma unroll 1
    for (int32_t row = 0; row < block.rows; ++row) {
      const uint16_t* from = k.x + (block.row + row) * k.x_stride + begin;
#pragma unroll 1
      for (auto i = static_cast<int32_t>(threadIdx.x); i < chunks;
           i += static_cast<int32_t>(blockDim.x)) {
        const bool full = i * 8 < inputs;
        hw::cp_async16(to + row * k.few.x_stride + i * 16, full ? from + i * 8 : k.x, full);
      }
    }
  }
  hw::cp_async_commit();
  hw::cp_async_wait<0>();
}

// Stores the sum of the tile's slabs, whose first output is `output`; `to` is that of row 0 and
// output 0.
template <typename Tile>
OCTET_DEVICE void StoreFew(const Linear16Kernel& k, const FewBlock& block, int64_t output,
                           const float* bias, const typename Tile::Sums::Values& values,
                           float* to) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  constexpr int kOutputs = Tile::kSlabs * kCuda16SlabOutputs;
  if (bias != nullptr || k.outputs % 2 != 0 || output + kOutputs > k.outputs) {
    StoreSum(k, ValuePlace{output, kCuda16SlabOutputs, block.row, lane}, to, bias, values);
    return;
  }
  float* own = to + (block.row + lane % 4 * 2) * k.outputs + output + lane / 4 * 2;
#pragma unroll
  for (int n = 0; n < Tile::kTiles; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (n * 8 + lane % 4 * 2 + e < block.rows) {
        float* row = own + (n * 8 + e) * k.outputs;
#pragma unroll
        for (int m = 0; m < Tile::kSlabs; ++m) {
          *reinterpret_cast<float2*>(row + m * kCuda16SlabOutputs) =
              make_float2(values[m][4 * n + e], values[m][4 * n + 2 + e]);
        }
      }
    }
  }
}

// The sums of the tokens' segments, [segments of the part][kTokens].
template <typename Tile>
OCTET_DEVICE void FewTokenSums(const Linear16Kernel& k, const FewBlock& block, const std::byte* x,
                               float* x_sums) {
  const auto thread = static_cast<int>(threadIdx.x);
  const auto threads = static_cast<int>(blockDim.x);
  const int32_t first = k.inputs.leaf_segment[block.leaf_begin];
  const int32_t count = (k.inputs.leaf_segment[block.leaf_end] - first) * Tile::kTokens;
  if constexpr (Tile::kWhole) {
    // In the order of linear16_rows.cu, which other tiles' sums come from.
    const int lane = thread % 32;
    for (int32_t i = thread / 32; i < count; i += threads / 32) {
      const int32_t row = i % Tile::kTokens;
      float sum = 0;
      if (row < block.rows) {
        const auto* inputs = reinterpret_cast<const uint16_t*>(
            x + row * k.few.x_stride + i / Tile::kTokens * kCuda16BlockInputs * 2);
#pragma unroll
        for (int j = 0; j < kCuda16BlockInputs; j += 32) {
          sum += hw::float_of_bf16(inputs[lane + j]);
        }
      }
#pragma unroll
      for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
      if (lane == 0) x_sums[i] = sum;
    }
  } else {
    for (int32_t i = thread; i < count; i += threads) {
      const int32_t segment = i / Tile::kTokens;
      x_sums[i] = k.x_sums[(first + segment) * k.x_sums_stride + block.row + i % Tile::kTokens];
    }
  }
}

template <typename Tile>
__global__ void __launch_bounds__(32 * Tile::kWarps, 1)
    Linear16FewKernel(const OCTET_GRID_CONSTANT Linear16Kernel k) {
  using Sums = typename Tile::Sums;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const FewDeal& deal = k.few.deal;
  hw::Smem shared;
  auto* rings = shared.take<std::byte>(deal.warps * deal.stages * k.few.stage_bytes, 128);
  auto* x = shared.take<std::byte>(k.few.tokens * k.few.x_stride, 128);
  auto* full = shared.take<uint64_t>(deal.warps * deal.stages);
  auto* waiting =
      k.few.levels > 0 ? shared.take<float4>(deal.warps * k.few.levels * Sums::kPlaces) : nullptr;
  auto* x_sums = k.asymmetric ? shared.take<float>(k.few.segments * Tile::kTokens) : nullptr;

  const FewBlock block = FewBlock::Of(deal, k.parts, k.rows, Tile::kTokens);
  const int32_t first_block = k.inputs.leaf_block[block.own_leaf_begin];
  const FewWalk walk(block, k.weights, k.panel_bytes, k.stage_bytes[0] + k.stage_bytes[1],
                     first_block, k.inputs.leaf_block[block.own_leaf_end] - first_block);
  FewRing ring(deal, walk, rings + warp * deal.stages * k.few.stage_bytes, k.few.stage_bytes,
               full + warp * deal.stages);
  ring.Fill(k.few.ahead);
  hw::let_next_begin();
  hw::wait_for_past();
  FewTokens(k, block, x);
  __syncthreads();
  if (k.asymmetric) {
    FewTokenSums<Tile>(k, block, x, x_sums);
    __syncthreads();
  }

  FewWarp<Tile> own = {{x, k.few.x_stride, block.rows, lane}, k, ring, x_sums, lane};
  const bool is_whole = k.parts.parts == 1;
  float* to =
      is_whole ? k.out : k.partials + int64_t{k.parts.sum_begin[block.part]} * k.rows * k.outputs;
  Sums sums(waiting + warp * k.few.levels * Sums::kPlaces);
#pragma unroll 1
  for (int32_t panel = block.panel; panel < block.panel_end; panel += block.panel_step) {
#pragma unroll 1
    for (int32_t leaf = block.own_leaf_begin; leaf < block.own_leaf_end; ++leaf) {
      typename Sums::Values values;
      own.Leaf(block.leaf_begin, leaf, values);
      sums.Push(values, k.parts.merges[leaf]);
    }
    sums.TakeEach([&](int sum, const typename Sums::Values& values) {
      StoreFew<Tile>(k, block, int64_t{panel} * kCuda16PanelOutputs, is_whole ? k.bias : nullptr,
                     values, to + sum * k.rows * k.outputs);
    });
  }
  if (is_whole) return;
  AddFewParts(k.parts, block, {k.partials, k.bias, k.out, k.rows, k.outputs},
              reinterpret_cast<float4*>(rings));
}

template <typename Tile>
void LaunchLinear16Few(const Linear16Plan& plan, Linear16Kernel k, Stream& stream) {
  OCTET_CHECK_EQ(plan.tile.tokens, Tile::kTokens);
  OCTET_CHECK_LE(plan.few.needs.warps_max, Tile::kWarps);
  OCTET_CHECK(!Tile::kWhole || plan.few.whole);
  const int32_t cluster = k.parts.parts / plan.tile.split;
  const auto deal = DealFew(plan.few.needs, k.panels, cluster, stream.info().sm_count);
  OCTET_CHECK(deal.has_value());
  k.few.deal = *deal;
  hw::SmemPlan shared;
  shared.add<std::byte>(deal->warps * deal->stages * k.few.stage_bytes, 128);
  shared.add<std::byte>(k.few.tokens * k.few.x_stride, 128);
  shared.add<uint64_t>(deal->warps * deal->stages);
  if (k.few.levels > 0) shared.add<float4>(deal->warps * k.few.levels * Tile::Sums::kPlaces);
  if (k.asymmetric) shared.add<float>(k.few.segments * Tile::kTokens);
  OCTET_LAUNCH_CLUSTERS(Linear16FewKernel<Tile>,
                        dim3(static_cast<unsigned>(cluster), static_cast<unsigned>(deal->columns),
                             static_cast<unsigned>(plan.row_tiles)),
                        dim3(static_cast<unsigned>(32 * deal->warps)), shared.bytes(), stream, k);
}

}  // namespace octet::kernels::cuda
