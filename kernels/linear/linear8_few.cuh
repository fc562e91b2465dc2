// The linear with int8 activations for few rows (sm_90): up to 16 rows where every block of 128
// inputs is a segment. Work is dealt as in linear16_few.cuh, which says how and why; sums of
// integers are exact, so the bits are those of the other forms.
//
// Moves: the packed weights once, the part's codes and scales of the rows once a block.
// Lane-instructions per int4 weight: 0.4 to unpack it, 0.06 per 8 rows for mma, 0.2 per 8 rows for
// the end of a segment, 0.2 for waits and loops.
#pragma once

#include "base/check.h"
#include "base/device/device_info.h"
#include "kernels/linear/few_ring.cuh"
#include "kernels/linear/linear8.cuh"
#include "kernels/linear/linear8.h"

namespace octet::kernels::cuda {

template <int kTiles_, int kWarps_, bool kInt4_, bool kAsymmetric_>
struct Few8Tile {
  static constexpr int kTiles = kTiles_;  // of 8 rows
  static constexpr int kRows = 8 * kTiles_;
  static constexpr int kWarps = kWarps_;  // of a block, at most
  static constexpr bool kInt4 = kInt4_;
  static constexpr bool kAsymmetric = kAsymmetric_;
  static constexpr int kSlabs = 4;  // of 16 outputs, of a panel
  using Sums = FewSums<kSlabs, 4 * kTiles>;
  using Values = typename Sums::Values;
};

// What a block has of the rows: codes [blocks][kRows][128], swizzled; scales [leaves][kRows]; sums
// [blocks][kRows].
struct Few8Rows {
  int8_t* codes;
  float* scales;
  float* sums;  // asymmetric only

  template <typename Tile>
  OCTET_DEVICE static Few8Rows Take(hw::Smem& shared, int32_t blocks, int32_t leaves) {
    Few8Rows rows = {};
    rows.codes = shared.take<int8_t>(int64_t{blocks} * Tile::kRows * kBlockPositions, 128);
    rows.scales = shared.take<float>(int64_t{leaves} * Tile::kRows);
    if (Tile::kAsymmetric) rows.sums = shared.take<float>(int64_t{blocks} * Tile::kRows);
    return rows;
  }
  // All threads copy the leaves of the block's parts, whose rows may have room for more. Not by
  // bulk copies: they would come after all of those that fill the rings.
  template <typename Tile>
  OCTET_DEVICE void Copy(const Linear8Params& p, const FewBlock& block) const {
    constexpr int32_t kCodeChunks = Tile::kRows * kBlockPositions / 16;
    const int32_t first = p.walk.leaf[block.leaf_begin].block;
    const int32_t blocks = p.walk.leaf[block.leaf_end].block - first;
    const auto thread = static_cast<int32_t>(threadIdx.x);
    const auto threads = static_cast<int32_t>(blockDim.x);
#pragma unroll 1
    for (int32_t i = thread; i < blocks * kCodeChunks; i += threads) {
      const int64_t from = int64_t{first + i / kCodeChunks} * p.padded_rows * kBlockPositions;
      hw::cp_async16(codes + i * 16, p.codes + from + i % kCodeChunks * 16);
    }
    CopyFloats<Tile>(p, scales, p.x_scales, block.leaf_begin, block.leaf_end - block.leaf_begin);
    if constexpr (Tile::kAsymmetric) CopyFloats<Tile>(p, sums, p.x_sums, first, blocks);
    hw::cp_async_commit();
    hw::cp_async_wait<0>();
  }
  OCTET_DEVICE static float2 Pair(const float* of_rows, int n) {
    return *reinterpret_cast<const float2*>(of_rows + n * 8 +
                                            static_cast<int>(threadIdx.x) % 4 * 2);
  }

 private:
  // [first, first + count) of what is [count][kRows] in `to`.
  template <typename Tile>
  OCTET_DEVICE static void CopyFloats(const Linear8Params& p, float* to, const float* from,
                                      int32_t first, int32_t count) {
    constexpr int32_t kChunks = Tile::kRows * 4 / 16;
#pragma unroll 1
    for (auto i = static_cast<int32_t>(threadIdx.x); i < count * kChunks;
         i += static_cast<int32_t>(blockDim.x)) {
      const int64_t at = int64_t{first + i / kChunks} * p.padded_rows + i % kChunks * 4;
      hw::cp_async16(to + i * 4, from + at);
    }
  }
};

// One block of inputs of a panel times the rows: adds it to `sums`. `block` is counted in the part.
template <typename Tile>
OCTET_DEVICE void MultiplyFew8(const Linear8Params& p, const std::byte* weights,
                               const Few8Rows& rows, int32_t block, typename Tile::Values& sums) {
  constexpr int kStepBytes = kPanelStepBytes<Tile::kInt4>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int32_t exact[Tile::kSlabs][Tile::kTiles][4] = {};
  const int8_t* codes = rows.codes + block * Tile::kRows * static_cast<int>(kBlockPositions);
#pragma unroll
  for (int pair = 0; pair < kBlockSteps / 2; ++pair) {
    uint32_t b[Tile::kTiles][4];  // of two steps
#pragma unroll
    for (int n = 0; n < Tile::kTiles; ++n) {
      const int chunk = 4 * pair + lane / 8;
      hw::ldmatrix_x4(b[n], codes + (n * 8 + lane % 8) * static_cast<int>(kBlockPositions) +
                                (chunk ^ lane % 8) * 16);
    }
#pragma unroll
    for (int s = 0; s < 2; ++s) {
#pragma unroll
      for (int m = 0; m < Tile::kSlabs; ++m) {
        uint32_t a[4];
        LoadCodes<Tile::kInt4, Tile::kAsymmetric>(
            weights + (2 * pair + s) * kStepBytes + m * (kStepBytes / 4), lane, a);
#pragma unroll
        for (int n = 0; n < Tile::kTiles; ++n) {
          const uint32_t operand[2] = {b[n][2 * s], b[n][2 * s + 1]};
          if constexpr (Tile::kAsymmetric) {
            hw::mma_m16n8k32_u8s8(exact[m][n], a, operand);
          } else {
            hw::mma_m16n8k32_s8s8(exact[m][n], a, operand);
          }
        }
      }
    }
  }
  const std::byte* scales = weights + kBlockSteps * kStepBytes + lane / 4 * ScaleBytes(p);
#pragma unroll
  for (int m = 0; m < Tile::kSlabs; ++m) {
    const WeightScales w =
        LoadScales<Tile::kInt4, Tile::kAsymmetric>(p, scales + m * 16 * ScaleBytes(p));
#pragma unroll
    for (int n = 0; n < Tile::kTiles; ++n) {
      float2 x_sum = {};
      if constexpr (Tile::kAsymmetric) x_sum = Few8Rows::Pair(rows.sums + block * Tile::kRows, n);
      float value[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] = static_cast<float>(exact[m][n][i]);
      AddSegment<Tile::kAsymmetric>(&sums[m][4 * n], value, w, x_sum);
    }
  }
}

// `leaf` is counted in the block's parts.
template <typename Tile>
OCTET_DEVICE void EndFew8Leaf(const Few8Rows& rows, int32_t leaf, typename Tile::Values& sums) {
#pragma unroll
  for (int n = 0; n < Tile::kTiles; ++n) {
    const float2 x_scale = Few8Rows::Pair(rows.scales + leaf * Tile::kRows, n);
#pragma unroll
    for (int m = 0; m < Tile::kSlabs; ++m) ScaleLeaf(&sums[m][4 * n], x_scale);
  }
}

// Stores a panel's sum.
template <typename Tile>
OCTET_DEVICE void StoreFew8(const Linear8Params& p, int32_t sum, int32_t panel,
                            const typename Tile::Values& values) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int32_t output = panel * 64 + lane / 4;
  if (p.bias != nullptr || panel * 64 + 64 > p.outputs) {
#pragma unroll
    for (int m = 0; m < Tile::kSlabs; ++m) {
#pragma unroll
      for (int n = 0; n < Tile::kTiles; ++n) {
        StoreTile(p, sum, output + m * 16, n * 8 + lane % 4 * 2, &values[m][4 * n]);
      }
    }
    return;
  }
  float* own = p.sums + (int64_t{sum} * p.rows + lane % 4 * 2) * p.outputs + output;
#pragma unroll
  for (int n = 0; n < Tile::kTiles; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (n * 8 + lane % 4 * 2 + e < p.rows) {
        float* row = own + (n * 8 + e) * int64_t{p.outputs};
#pragma unroll
        for (int m = 0; m < Tile::kSlabs; ++m) {
          row[m * 16] = values[m][4 * n + e];
          row[m * 16 + 8] = values[m][4 * n + 2 + e];
        }
      }
    }
  }
}

template <typename Tile>
__global__ void __launch_bounds__(32 * Tile::kWarps, 1)
    MultiplyFew8Kernel(const OCTET_GRID_CONSTANT Linear8Params p) {
  using Sums = typename Tile::Sums;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const FewDeal& deal = p.few.deal;
  hw::Smem shared;
  auto* rings = shared.take<std::byte>(deal.warps * deal.stages * p.few.stage_bytes, 128);
  auto* full = shared.take<uint64_t>(deal.warps * deal.stages);
  auto* waiting =
      p.few.levels > 0 ? shared.take<float4>(deal.warps * p.few.levels * Sums::kPlaces) : nullptr;
  const Few8Rows rows = Few8Rows::Take<Tile>(shared, p.few.blocks_max, p.few.leaves_max);

  const FewBlock block = FewBlock::Of(deal, p.parts, p.rows, Tile::kRows);
  const int32_t first = p.walk.leaf[block.leaf_begin].block;
  const int32_t own_first = p.walk.leaf[block.own_leaf_begin].block;
  const FewWalk walk(block, p.weights, p.panel_bytes, p.weight_bytes, own_first,
                     p.walk.leaf[block.own_leaf_end].block - own_first);
  FewRing ring(deal, walk, rings + warp * deal.stages * p.few.stage_bytes, p.few.stage_bytes,
               full + warp * deal.stages);
  ring.Fill(p.few.ahead);
  hw::let_next_begin();
  hw::wait_for_past();
  rows.template Copy<Tile>(p, block);
  __syncthreads();

  Sums sums(waiting + warp * p.few.levels * Sums::kPlaces);
#pragma unroll 1
  for (int32_t panel = block.panel; panel < block.panel_end; panel += block.panel_step) {
    int32_t next = own_first - first;
#pragma unroll 1
    for (int32_t leaf = block.own_leaf_begin; leaf < block.own_leaf_end; ++leaf) {
      typename Tile::Values values = {};
#pragma unroll 1
      for (const int32_t end = p.walk.leaf[leaf + 1].block - first; next < end; ++next) {
        MultiplyFew8<Tile>(p, ring.Take(), rows, next, values);
        ring.GiveBack();
      }
      EndFew8Leaf<Tile>(rows, leaf - block.leaf_begin, values);
      sums.Push(values, p.parts.merges[leaf]);
    }
    sums.TakeEach([&](int sum, const typename Tile::Values& values) {
      StoreFew8<Tile>(p, p.parts.sum_begin[block.part] + sum, panel, values);
    });
  }
  if (p.parts.parts == 1) return;
  AddFewParts(p.parts, block, {p.sums, p.few.bias, p.few.out, p.rows, p.outputs},
              reinterpret_cast<float4*>(rings));
}

template <typename Tile>
void LaunchFew8(Linear8Params& p, const Linear8Plan& plan, Stream& stream) {
  OCTET_CHECK_EQ(plan.tile_tokens, Tile::kRows);
  OCTET_CHECK_LE(plan.few.needs.warps_max, Tile::kWarps);
  const int32_t cluster = p.parts.parts / plan.few.needs.split;
  const auto deal = DealFew(plan.few.needs, p.panels, cluster, stream.info().sm_count);
  OCTET_CHECK(deal.has_value());
  p.few.deal = *deal;
  hw::SmemPlan shared;
  shared.add<std::byte>(deal->warps * deal->stages * p.few.stage_bytes, 128);
  shared.add<uint64_t>(deal->warps * deal->stages);
  if (p.few.levels > 0) shared.add<float4>(deal->warps * p.few.levels * Tile::Sums::kPlaces);
  shared.add<int8_t>(int64_t{p.few.blocks_max} * Tile::kRows * kBlockPositions, 128);
  shared.add<float>(int64_t{p.few.leaves_max} * Tile::kRows);
  if (Tile::kAsymmetric) shared.add<float>(int64_t{p.few.blocks_max} * Tile::kRows);
  OCTET_LAUNCH_CLUSTERS(MultiplyFew8Kernel<Tile>,
                        dim3(static_cast<unsigned>(cluster), static_cast<unsigned>(deal->columns)),
                        dim3(static_cast<unsigned>(32 * deal->warps)), shared.bytes(), stream, p);
}

}  // namespace octet::kernels::cuda
