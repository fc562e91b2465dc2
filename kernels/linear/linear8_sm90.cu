// The linear with int8 activations for sm_90a, on wgmma m64nNk32: 128 rows by two panels of 64
// outputs at a time, or 64 rows by four, for shapes of whole blocks (linear8.h). Bits as those of
// linear8_mma.cu.
//
// One thread of the first warpgroup fills stages with bulk copies; each of the others takes a
// panel. Codes go from shared memory to registers, become operand A there, and are multiplied with
// the rows; while one warpgroup scales its sums of a segment into f32, another keeps the tensor
// cores busy. README.md has the count of instructions.
//
// Bytes moved: per block of K 64 or 128 bytes an output and 128 a row from L2, for a tile.
// Operations: 2 * rows * outputs * inputs integer ones.
#include <algorithm>

#include "base/check.h"
#include "base/device/device_info.h"
#include "kernels/linear/linear8.cuh"
#include "kernels/linear/linear8.h"

namespace octet::kernels::cuda {
namespace {

constexpr int kWarpgroup = 128;
constexpr int kStagesMax = 8;
constexpr int kProducerRegisters = 24;

template <int kTokens_, int kConsumers_, int kRegisters_>
struct Tiling {
  static constexpr int kTokens = kTokens_;        // rows of activations
  static constexpr int kConsumers = kConsumers_;  // warpgroups, and panels
  static constexpr int kRegisters = kRegisters_;  // of a consuming thread
  static constexpr int kThreads = kWarpgroup * (1 + kConsumers);
  static constexpr int kValues = kTokens / 2;  // sums of a consuming thread
  static constexpr int kCodeBytes = kTokens * static_cast<int>(kBlockPositions);
  using Waiting = WaitingSums<kValues, kWarpgroup * kConsumers>;

  // What the consumers take must be there when the producer has given its own back, or they wait
  // for ever: a block starts with the registers of its threads, of which each has a multiple of 8.
  static constexpr int kRegistersAtStart = 65536 / kThreads / 8 * 8;
  static_assert(kProducerRegisters + kConsumers * kRegisters <=
                (1 + kConsumers) * kRegistersAtStart);
};
using Tiling64 = Tiling<64, 4, 112>;
using Tiling128 = Tiling<128, 2, 240>;

struct Stage {
  std::byte* weights;  // [panels][weight_bytes]
  int8_t* codes;       // [tokens][128], swizzled
  float* x_scales;     // [tokens]
  float* x_sums;       // [tokens], asymmetric only
};

template <typename T, bool kAsymmetric>
hw::SmemPlan SharedPlan(const Linear8Params& p) {
  hw::SmemPlan plan;
  plan.add<uint64_t>(2 * kStagesMax);
  plan.add<std::byte>(int64_t{p.stages} * T::kConsumers * p.weight_bytes, 128);
  plan.add<int8_t>(int64_t{p.stages} * T::kCodeBytes, 1024);
  plan.add<float>(int64_t{p.stages} * T::kTokens);
  plan.add<float>(kAsymmetric ? int64_t{p.stages} * T::kTokens : 0);
  plan.add<float>(int64_t{p.shared_slots} * T::kValues * kWarpgroup * T::kConsumers);
  return plan;
}

template <typename T, bool kAsymmetric>
struct Shared {
  uint64_t* full;   // [stages] its bytes have come
  uint64_t* empty;  // [stages] the warps that read it are done
  Stage first;
  float* waiting;
  const Linear8Params& p;

  OCTET_DEVICE explicit Shared(const Linear8Params& params) : p(params) {
    hw::Smem smem;
    full = smem.template take<uint64_t>(2 * kStagesMax);
    empty = full + kStagesMax;
    first.weights =
        smem.template take<std::byte>(int64_t{p.stages} * T::kConsumers * p.weight_bytes, 128);
    first.codes = smem.template take<int8_t>(int64_t{p.stages} * T::kCodeBytes, 1024);
    first.x_scales = smem.template take<float>(int64_t{p.stages} * T::kTokens);
    first.x_sums =
        kAsymmetric ? smem.template take<float>(int64_t{p.stages} * T::kTokens) : nullptr;
    waiting = p.shared_slots == 0 ? nullptr
                                  : smem.template take<float>(int64_t{p.shared_slots} * T::kValues *
                                                              kWarpgroup * T::kConsumers);
  }
  OCTET_DEVICE Stage operator[](int stage) const {
    return {first.weights + stage * T::kConsumers * p.weight_bytes,
            first.codes + stage * T::kCodeBytes, first.x_scales + stage * T::kTokens,
            kAsymmetric ? first.x_sums + stage * T::kTokens : nullptr};
  }
};

// A place in the ring of stages; `parity` is that of its barriers' phase.
struct Ring {
  int stage = 0;
  uint32_t parity = 0;

  OCTET_DEVICE void Next(int stages) {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

template <typename T, bool kAsymmetric>
OCTET_DEVICE void FillStage(const Linear8Params& p, const Linear8Item& item,
                            const BlockCursor& block, const Stage& stage, uint64_t* full) {
  const auto bytes = static_cast<uint32_t>(block.bytes(p.walk));
  const uint32_t scale_bytes = block.ends != 0 ? T::kTokens * 4 : 0;
  hw::mbar_arrive_expect_tx(
      full, T::kConsumers * bytes + T::kCodeBytes + scale_bytes * (kAsymmetric ? 2 : 1));
#pragma unroll
  for (int i = 0; i < T::kConsumers; ++i) {
    const int panel = min(item.panel + i, p.panels - 1);
    std::byte* const to = stage.weights + i * p.weight_bytes;
    const std::byte* const from = p.weights + panel * p.panel_bytes + block.at;
    if (p.token_tiles == 1) {  // no other block reads them
      hw::bulk_load(to, from, bytes, full, hw::evict_first());
    } else {
      hw::bulk_load(to, from, bytes, full);
    }
  }
  const int64_t k = p.walk.leaf[block.leaf].block + block.step / kBlockSteps;
  hw::bulk_load(stage.codes, p.codes + k * p.block_stride + item.token * kBlockPositions,
                T::kCodeBytes, full);
  if (scale_bytes == 0) return;
  const int64_t from = int64_t{block.segment} * p.padded_rows + item.token;
  hw::bulk_load(stage.x_scales, p.x_scales + from, scale_bytes, full);
  if constexpr (kAsymmetric) hw::bulk_load(stage.x_sums, p.x_sums + from, scale_bytes, full);
}

template <typename T, bool kAsymmetric>
OCTET_DEVICE void Produce(const Linear8Params& p, const Shared<T, kAsymmetric>& shared) {
  Ring ring;
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < p.items;
       i += static_cast<int32_t>(gridDim.x)) {
    const Linear8Item item = ItemOf(p, i, T::kTokens, T::kConsumers);
    const int32_t leaf_end = p.parts.leaf_begin[item.part + 1];
    for (BlockCursor block(p.walk, p.parts.leaf_begin[item.part]); block.leaf < leaf_end;
         block.Next(p.walk)) {
      hw::mbar_wait(shared.empty + ring.stage, ring.parity ^ 1);
      FillStage<T, kAsymmetric>(p, item, block, shared[ring.stage], shared.full + ring.stage);
      ring.Next(p.stages);
    }
  }
}

// What a thread of a consuming warpgroup has of the product.
template <typename T, bool kInt4, bool kAsymmetric>
struct Consumer {
  int32_t exact[T::kValues];
  float sum[T::kValues];
  int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
  int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  int lane = thread % 32;

  OCTET_DEVICE void ClearSum() {
#pragma unroll
    for (int i = 0; i < T::kValues; ++i) sum[i] = 0;
  }

  OCTET_DEVICE void EndSegment(const Stage& stage, const WeightScales& w) {
#pragma unroll
    for (int n = 0; n < T::kTokens / 8; ++n) {
      const int at = n * 8 + lane % 4 * 2;
      const float2 x_scale = *reinterpret_cast<const float2*>(stage.x_scales + at);
      float2 x_sum = {};
      if constexpr (kAsymmetric) x_sum = *reinterpret_cast<const float2*>(stage.x_sums + at);
      float value[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] = static_cast<float>(exact[n * 4 + i]);
      AddSegment<kAsymmetric>(sum + n * 4, value, w, x_scale, x_sum);
    }
  }

  // One block; `continues`: its segment began in the block before.
  OCTET_DEVICE void MultiplyBlock(const Linear8Params& p, const Stage& stage, bool continues,
                                  bool ends) {
    const std::byte* weights = stage.weights + warpgroup * p.weight_bytes;
    constexpr int kStepBytes = kInt4 ? 1024 : 2048;
    uint32_t a[kBlockSteps][4];
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) {
      LoadCodes<kInt4, kAsymmetric>(weights + i * kStepBytes + thread / 32 * (kStepBytes / 4), lane,
                                    a[i]);
    }
    hw::wgmma_fence();
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) {
      const uint64_t b =
          hw::smem_desc(stage.codes + i * kStepPositions, 0, 1024, hw::Swizzle::k128);
      if constexpr (kAsymmetric) {
        hw::wgmma_u8s8<T::kTokens>(exact, a[i], b, i > 0 || continues);
      } else {
        hw::wgmma_s8s8<T::kTokens>(exact, a[i], b, i > 0 || continues);
      }
    }
    hw::wgmma_commit();
    if (ends) {
      const WeightScales w = LoadScales<kInt4, kAsymmetric>(p, weights + kBlockSteps * kStepBytes,
                                                            thread / 32 * 16 + lane / 4);
#if OCTET_PLANTED_BUG == 82
      hw::wgmma_wait<1>();
#else
      hw::wgmma_wait<0>();
#endif
      hw::wgmma_hold(exact);
      EndSegment(stage, w);
    } else {
      hw::wgmma_wait<0>();
      hw::wgmma_hold(exact);
    }
  }

  OCTET_DEVICE void Store(const Linear8Params& p, const Linear8Item& item, int32_t sum_index) {
    const int32_t panel = item.panel + warpgroup;
    if (panel >= p.panels) return;
#pragma unroll
    for (int n = 0; n < T::kTokens / 8; ++n) {
      StoreTile(p, sum_index, panel * 64 + thread / 32 * 16 + lane / 4,
                item.token + n * 8 + lane % 4 * 2, sum + n * 4);
    }
  }

  OCTET_DEVICE void EndLeaf(const Linear8Params& p, const Linear8Item& item, int32_t leaf,
                            const typename T::Waiting& waiting) {
    waiting.AddWaiting(leaf, sum);
    const uint8_t left = p.left_sum[leaf];
    if (left == kSumWaits) {
      waiting.Put(leaf, sum);
    } else {
      Store(p, item, left);
    }
    ClearSum();
  }
};

template <typename T, bool kInt4, bool kAsymmetric>
OCTET_DEVICE void Consume(const Linear8Params& p, const Shared<T, kAsymmetric>& shared) {
  Consumer<T, kInt4, kAsymmetric> consumer;
  consumer.ClearSum();
  Ring ring;
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < p.items;
       i += static_cast<int32_t>(gridDim.x)) {
    const Linear8Item item = ItemOf(p, i, T::kTokens, T::kConsumers);
    const typename T::Waiting waiting(p, shared.waiting,
                                      static_cast<int>(threadIdx.x) - kWarpgroup);
    for (int leaf = p.parts.leaf_begin[item.part]; leaf < p.parts.leaf_begin[item.part + 1];
         ++leaf) {
      int left = p.walk.leaf[leaf].head_steps;  // steps of the segment
      bool continues = false;
      for (int steps = p.walk.leaf[leaf].steps; steps > 0; steps -= kBlockSteps) {
        left -= kBlockSteps;
        const bool ends = left <= 0 || steps == kBlockSteps;
        hw::mbar_wait(shared.full + ring.stage, ring.parity);
        consumer.MultiplyBlock(p, shared[ring.stage], continues, ends);
        __syncwarp();
        if (consumer.lane == 0) hw::mbar_arrive(shared.empty + ring.stage);
        ring.Next(p.stages);
        continues = !ends;
        if (ends) left = p.walk.group_steps;
      }
      consumer.EndLeaf(p, item, leaf, waiting);
    }
  }
}

template <typename T, bool kInt4, bool kAsymmetric>
__global__ void __launch_bounds__(T::kThreads, 1) MultiplyWgmma(const Linear8Params p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const Shared<T, kAsymmetric> shared(p);
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      hw::mbar_init(shared.full + i, 1);
      hw::mbar_init(shared.empty + i, T::kConsumers * kWarpgroup / 32);
    }
    hw::fence_mbar_init();
  }
  __syncthreads();
  if (threadIdx.x < kWarpgroup) {
    hw::setmaxnreg_dec<kProducerRegisters>();
    if (threadIdx.x == 0) Produce<T, kAsymmetric>(p, shared);
  } else {
    hw::setmaxnreg_inc<T::kRegisters>();
    Consume<T, kInt4, kAsymmetric>(p, shared);
  }
}

template <typename T, bool kInt4, bool kAsymmetric>
void LaunchWgmma(Linear8Params& p, const Linear8Plan& plan, Stream& stream) {
  // Three stages hide the way to L2. What is left is for sums that wait, then for more stages.
  constexpr int kStagesMin = 3;
  const int64_t limit = stream.info().shared_bytes_per_block;
  p.waiting_slots = plan.waiting_max;
  p.shared_slots = 0;
  p.stages = kStagesMin;
  const auto fits = [&] { return SharedPlan<T, kAsymmetric>(p).bytes() <= limit; };
  OCTET_CHECK(fits());
  while (p.shared_slots < plan.waiting_max && (++p.shared_slots, fits())) continue;
  if (!fits()) --p.shared_slots;
  while (p.stages < kStagesMax && (++p.stages, fits())) continue;
  if (!fits()) --p.stages;
  int64_t blocks = std::min<int64_t>(p.items, stream.info().sm_count);
  if (p.shared_slots < plan.waiting_max) blocks = std::min<int64_t>(blocks, plan.waiting_blocks);
  OCTET_LAUNCH_EARLY((MultiplyWgmma<T, kInt4, kAsymmetric>), dim3(static_cast<unsigned>(blocks)),
                     dim3(T::kThreads), SharedPlan<T, kAsymmetric>(p).bytes(), stream, p);
}

}  // namespace

void Linear8Sm90(Linear8Params& params, const Linear8Plan& plan, bool int4, bool asymmetric,
                 Stream& stream) {
  const auto launch = [&]<typename T>(T) {
    if (int4) {
      asymmetric ? LaunchWgmma<T, true, true>(params, plan, stream)
                 : LaunchWgmma<T, true, false>(params, plan, stream);
    } else {
      asymmetric ? LaunchWgmma<T, false, true>(params, plan, stream)
                 : LaunchWgmma<T, false, false>(params, plan, stream);
    }
  };
  plan.tile_tokens == 64 ? launch(Tiling64()) : launch(Tiling128());
}

}  // namespace octet::kernels::cuda
