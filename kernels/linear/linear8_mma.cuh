// The linear with int8 activations for sm_80 and later, on mma.sync m16n8k32: all shapes, any
// number of rows. linear8_wgmma.cuh is faster for many rows; as sums of integers are exact, both
// have the same bits.
//
// A block of threads takes kTilePanels panels and kTokens rows, block of K after block of K,
// through kStages stages that cp.async fills. Bytes moved: the packed weights once for each tile of
// rows, the codes of the rows once for each tile of panels (from L2), 4 bytes for each value of a
// sum. Operations: 2 * rows * outputs * inputs integer ones; 2 in f32 for each segment of a value
// (with an offset 3) and one for each leaf.
#pragma once

#include <algorithm>

#include "base/check.h"
#include "base/device/device_info.h"
#include "kernels/linear/linear8.cuh"
#include "kernels/linear/linear8.h"

namespace octet::kernels::cuda {

template <int kTokens_, int kWarpsM_, int kTilesM_, int kWarpsN_, int kStages_, int kBlocks_>
struct Linear8MmaTiling {
  static constexpr int kTokens = kTokens_;                   // rows of activations
  static constexpr int kTilesM = kTilesM_;                   // of 16 outputs, of a warp
  static constexpr int kWarpsM = kWarpsM_;                   //
  static constexpr int kTilesN = kTokens_ / (8 * kWarpsN_);  // of 8 rows, of a warp
  static constexpr int kStages = kStages_;
  static constexpr int kBlocks = kBlocks_;  // of a multiprocessor, that registers allow
  static constexpr int kPanels = kWarpsM_ * kTilesM_ / 4;
  static constexpr int kThreads = 32 * kWarpsM_ * kWarpsN_;
  static constexpr int kValues = 4 * kTilesM * kTilesN;  // of a thread
};

// The parts of a stage in shared memory.
struct Linear8MmaStage {
  std::byte* weights;  // [panels][weight_bytes]
  int8_t* codes;       // [tokens][128], swizzled
  float* x_scales;     // [tokens], where a leaf ends
  float* x_sums;       // [ends][tokens], asymmetric only
  uint32_t* block;     // a BlockWord
};

template <typename T, bool kAsymmetric>
hw::SmemPlan Linear8MmaSharedPlan(const Linear8Params& p) {
  hw::SmemPlan plan;
  const int64_t tokens = int64_t{T::kStages} * T::kTokens;
  plan.add<std::byte>(int64_t{T::kStages} * T::kPanels * p.weight_bytes, 128);
  plan.add<int8_t>(tokens * kBlockPositions, 1024);
  plan.add<float>(tokens);
  plan.add<float>(kAsymmetric ? tokens * p.walk.ends_max : 0);
  plan.add<uint32_t>(T::kStages);
  plan.add<float>(int64_t{p.shared_slots} * T::kValues * T::kThreads);
  return plan;
}

template <typename T, bool kAsymmetric>
struct Linear8MmaShared {
  Linear8MmaStage first;
  float* waiting;
  const Linear8Params& p;

  OCTET_DEVICE explicit Linear8MmaShared(const Linear8Params& params) : p(params) {
    hw::Smem smem;
    constexpr int64_t kTokens = int64_t{T::kStages} * T::kTokens;
    first.weights =
        smem.template take<std::byte>(int64_t{T::kStages} * T::kPanels * p.weight_bytes, 128);
    first.codes = smem.template take<int8_t>(kTokens * kBlockPositions, 1024);
    first.x_scales = smem.template take<float>(kTokens);
    first.x_sums = kAsymmetric ? smem.template take<float>(kTokens * p.walk.ends_max) : nullptr;
    first.block = smem.template take<uint32_t>(T::kStages);
    waiting = p.shared_slots == 0
                  ? nullptr
                  : smem.template take<float>(int64_t{p.shared_slots} * T::kValues * T::kThreads);
  }
  OCTET_DEVICE Linear8MmaStage operator[](int stage) const {
    return {first.weights + stage * T::kPanels * p.weight_bytes,
            first.codes + stage * T::kTokens * static_cast<int>(kBlockPositions),
            first.x_scales + stage * T::kTokens,
            kAsymmetric ? first.x_sums + stage * T::kTokens * p.walk.ends_max : nullptr,
            first.block + stage};
  }
};

// Copies `bytes`, a multiple of 16, with all threads.
template <int kThreads>
OCTET_DEVICE void CopyWithAll(void* to, const void* from, int bytes) {
#pragma unroll 1
  for (int at = static_cast<int>(threadIdx.x) * 16; at < bytes; at += kThreads * 16) {
    hw::cp_async16(static_cast<std::byte*>(to) + at, static_cast<const std::byte*>(from) + at);
  }
}

template <typename T, bool kAsymmetric>
OCTET_DEVICE void FillLinear8MmaStage(const Linear8Params& p, const Linear8Item& item,
                                      const BlockCursor& block, const Linear8MmaStage& stage) {
#pragma unroll
  for (int i = 0; i < T::kPanels; ++i) {
    const int panel = min(item.panel + i, p.panels - 1);
    CopyWithAll<T::kThreads>(stage.weights + i * p.weight_bytes,
                             p.weights + panel * p.panel_bytes + block.at, block.bytes(p.walk));
  }
  if (threadIdx.x == 0) *stage.block = BlockWord::Of(p.walk, block).bits;
  const int64_t k = p.walk.leaf[block.leaf].block + block.step / kBlockSteps;
  CopyWithAll<T::kThreads>(stage.codes, p.codes + k * p.block_stride + item.token * kBlockPositions,
                           T::kTokens * static_cast<int>(kBlockPositions));
  const auto copy_floats = [&](float* to, const float* from, int32_t index) {
    from += int64_t{index} * p.padded_rows + item.token;
    CopyWithAll<T::kThreads>(to, from, T::kTokens * 4);
  };
  if (block.ends_leaf(p.walk)) copy_floats(stage.x_scales, p.x_scales, block.leaf);
  if constexpr (kAsymmetric) {
    const int ends = block.end_count();
    for (int i = 0; i < ends; ++i) {
      copy_floats(stage.x_sums + i * T::kTokens, p.x_sums, block.segment + i);
    }
  }
}

// What a warp has of the product.
template <typename T, bool kInt4, bool kAsymmetric>
struct Linear8MmaWarp {
  static constexpr int kStepBytes = kPanelStepBytes<kInt4>;

  int32_t exact[T::kTilesM][T::kTilesN][4];
  float sum[T::kValues];
  int32_t start;  // what `exact` starts from
  int lane = static_cast<int>(threadIdx.x) % 32;
  int tile = static_cast<int>(threadIdx.x) / 32 % T::kWarpsM * T::kTilesM;  // of 16 outputs
  int token = static_cast<int>(threadIdx.x) / 32 / T::kWarpsM * T::kTilesN * 8;

  OCTET_DEVICE explicit Linear8MmaWarp(const Linear8Params& p)
      : start(p.long_segments ? 0 : kFloatBase) {
    Restart();
    ClearSum();
  }
  OCTET_DEVICE void Restart() {
#pragma unroll
    for (int m = 0; m < T::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < T::kTilesN; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) exact[m][n][i] = start;
      }
    }
  }
  OCTET_DEVICE void ClearSum() {
#pragma unroll
    for (int i = 0; i < T::kValues; ++i) sum[i] = 0;
  }

  // The address of chunk `chunk` of row `row`.
  static OCTET_DEVICE const int8_t* Chunk(const int8_t* codes, int row, int chunk) {
    return codes + row * static_cast<int>(kBlockPositions) + ((chunk ^ (row % 8)) * 16);
  }

  OCTET_DEVICE void MultiplyStep(const Linear8Params& p, const Linear8MmaStage& stage, int step) {
    uint32_t a[T::kTilesM][4];
#pragma unroll
    for (int m = 0; m < T::kTilesM; ++m) {
      const int t = tile + m;
      LoadCodes<kInt4, kAsymmetric>(
          stage.weights + t / 4 * p.weight_bytes + step * kStepBytes + t % 4 * (kStepBytes / 4),
          lane, a[m]);
    }
    if constexpr (T::kTilesN == 1) {
      uint32_t b[2];
      hw::ldmatrix_x2(b, Chunk(stage.codes, token + lane % 8, 2 * step + lane / 8 % 2));
      Multiply(a, b, 0);
    } else {
#pragma unroll
      for (int n = 0; n < T::kTilesN; n += 2) {
        uint32_t b[4];
        const int row = token + (n + lane / 16) * 8 + lane % 8;
        hw::ldmatrix_x4(b, Chunk(stage.codes, row, 2 * step + lane / 8 % 2));
        Multiply(a, {b[0], b[1]}, n);
        Multiply(a, {b[2], b[3]}, n + 1);
      }
    }
  }
  OCTET_DEVICE void Multiply(const uint32_t (&a)[T::kTilesM][4], const uint32_t (&b)[2], int n) {
#pragma unroll
    for (int m = 0; m < T::kTilesM; ++m) {
      if constexpr (kAsymmetric) {
        hw::mma_m16n8k32_u8s8(exact[m][n], a[m], b);
      } else {
        hw::mma_m16n8k32_s8s8(exact[m][n], a[m], b);
      }
    }
  }

  // `scales` are those of the first panel's segment, `end` counts the block's segments.
  OCTET_DEVICE void EndSegment(const Linear8Params& p, const Linear8MmaStage& stage, int scales_at,
                               int end) {
#pragma unroll
    for (int m = 0; m < T::kTilesM; ++m) {
      const int t = tile + m;
      const WeightScales w =
          LoadScales<kInt4, kAsymmetric>(p, stage.weights + t / 4 * p.weight_bytes + scales_at +
                                                (t % 4 * 16 + lane / 4) * ScaleBytes(p));
#pragma unroll
      for (int n = 0; n < T::kTilesN; ++n) {
        float2 x_sum = {};
        if constexpr (kAsymmetric) x_sum = RowPair(stage.x_sums + end * T::kTokens, n);
        float value[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          value[i] = p.long_segments ? static_cast<float>(exact[m][n][i])
                                     : __int_as_float(exact[m][n][i]) - __int_as_float(kFloatBase);
        }
        AddSegment<kAsymmetric>(sum + (m * T::kTilesN + n) * 4, value, w, x_sum);
      }
    }
    Restart();
  }
  OCTET_DEVICE float2 RowPair(const float* of_rows, int n) const {
    return *reinterpret_cast<const float2*>(of_rows + token + n * 8 + lane % 4 * 2);
  }
  OCTET_DEVICE void EndLeaf(const Linear8MmaStage& stage) {
#pragma unroll
    for (int n = 0; n < T::kTilesN; ++n) {
      const float2 x_scale = RowPair(stage.x_scales, n);
#pragma unroll
      for (int m = 0; m < T::kTilesM; ++m) ScaleLeaf(sum + (m * T::kTilesN + n) * 4, x_scale);
    }
  }

  OCTET_DEVICE void MultiplyBlock(const Linear8Params& p, const Linear8MmaStage& stage,
                                  BlockWord block) {
    uint32_t ends = block.ends();
    int scales_at = block.steps() * kStepBytes;
    int end = 0;
    for (int step = 0; step < block.steps();) {
      const int stop = ends != 0 ? __ffs(static_cast<int>(ends)) : block.steps();
      if (stop - step == kBlockSteps) {
#pragma unroll
        for (int i = 0; i < kBlockSteps; ++i) MultiplyStep(p, stage, i);
      } else {
#pragma unroll 1
        for (int i = step; i < stop; ++i) MultiplyStep(p, stage, i);
      }
      step = stop;
      if (ends == 0) break;
      EndSegment(p, stage, scales_at, end++);
      scales_at += p.walk.scale_bytes;
      ends &= ends - 1;
    }
  }

  OCTET_DEVICE void Store(const Linear8Params& p, const Linear8Item& item, int32_t sum_index) {
#pragma unroll
    for (int m = 0; m < T::kTilesM; ++m) {
#pragma unroll
      for (int n = 0; n < T::kTilesN; ++n) {
        StoreTile(p, sum_index, item.panel * 64 + (tile + m) * 16 + lane / 4,
                  item.token + token + n * 8 + lane % 4 * 2, sum + (m * T::kTilesN + n) * 4);
      }
    }
  }
};

template <typename T, bool kInt4, bool kAsymmetric>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) MultiplyMma(const Linear8Params p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const Linear8MmaShared<T, kAsymmetric> shared(p);
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < p.items;
       i += static_cast<int32_t>(gridDim.x)) {
    const Linear8Item item = ItemOf(p, i, T::kTokens, T::kPanels);
    const int32_t leaf_begin = p.parts.leaf_begin[item.part];
    const int32_t leaf_end = p.parts.leaf_begin[item.part + 1];
    const WaitingSums<T::kValues, T::kThreads> waiting(p, shared.waiting,
                                                       static_cast<int>(threadIdx.x));
    Linear8MmaWarp<T, kInt4, kAsymmetric> tile(p);
    BlockCursor ahead(p.walk, leaf_begin);
    const auto fill = [&](int stage) {
      if (ahead.leaf < leaf_end) {
        FillLinear8MmaStage<T, kAsymmetric>(p, item, ahead, shared[stage]);
        ahead.Next(p.walk);
      }
      hw::cp_async_commit();
    };
    for (int stage = 0; stage < T::kStages - 1; ++stage) fill(stage);
    int free = T::kStages - 1;
    int next = 0;
    for (int left = p.walk.leaf[leaf_end].block - p.walk.leaf[leaf_begin].block; left > 0; --left) {
      hw::cp_async_wait<T::kStages - 2>();
#if OCTET_PLANTED_BUG != 81
      __syncthreads();  // the next stage has come, and the one used before it is free
#endif
      fill(free);
      free = free + 1 == T::kStages ? 0 : free + 1;
      const Linear8MmaStage stage = shared[next];
      next = next + 1 == T::kStages ? 0 : next + 1;
      const BlockWord block = {*stage.block};
      tile.MultiplyBlock(p, stage, block);
      if (!block.ends_leaf()) continue;
      tile.EndLeaf(stage);
      waiting.AddWaiting(block.leaf(), tile.sum);
      const uint8_t left_sum = p.left_sum[block.leaf()];
      if (left_sum == kSumWaits) {
        waiting.Put(block.leaf(), tile.sum);
      } else {
        tile.Store(p, item, left_sum);
      }
      tile.ClearSum();
    }
    __syncthreads();  // all stages are free
  }
}

template <typename T, bool kInt4, bool kAsymmetric>
void LaunchLinear8Mma(Linear8Params& p, const Linear8Plan& plan, Stream& stream) {
  // As many sums wait in shared memory as leave room for what else a multiprocessor should hold.
  constexpr int64_t kSharedSumBytes = T::kBlocks == 1 ? 64 * 1024 : 32 * 1024;
  const int64_t limit = stream.info().shared_bytes_per_block;
  p.waiting_slots = plan.waiting_max;
  p.shared_slots = 0;
  const int64_t stage_bytes = Linear8MmaSharedPlan<T, kAsymmetric>(p).bytes();
  OCTET_CHECK_LE(stage_bytes, limit);
  const int64_t room = std::min(limit - stage_bytes - 64, kSharedSumBytes);
  p.shared_slots =
      static_cast<int32_t>(std::clamp<int64_t>(room / plan.waiting_bytes, 0, plan.waiting_max));
  int64_t blocks = p.items;
  if (p.shared_slots < plan.waiting_max) {
    constexpr int64_t kPerMultiprocessor = T::kBlocks == 1 ? 1 : 2;
    blocks = std::min({blocks, int64_t{plan.waiting_blocks},
                       int64_t{stream.info().sm_count} * kPerMultiprocessor});
  }
  OCTET_LAUNCH_EARLY((MultiplyMma<T, kInt4, kAsymmetric>), dim3(static_cast<unsigned>(blocks)),
                     dim3(T::kThreads), (Linear8MmaSharedPlan<T, kAsymmetric>(p).bytes()), stream,
                     p);
}

}  // namespace octet::kernels::cuda
