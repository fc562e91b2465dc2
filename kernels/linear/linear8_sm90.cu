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
constexpr int kProducerRegisters = 40;

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
using Tiling32 = Tiling<32, 4, 104>;
using Tiling64 = Tiling<64, 3, 152>;
using Tiling128 = Tiling<128, 2, 232>;

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

// Goes over the blocks of a part, which have four steps each.
struct WholeBlocks {
  int32_t leaf;
  int32_t steps;  // left of the leaf, this block's included
  int32_t left;   // of the segment

  OCTET_DEVICE WholeBlocks(const KWalk& walk, int32_t first_leaf) : leaf(first_leaf) {
    BeginLeaf(walk);
  }
  OCTET_DEVICE bool ends() const { return left <= kBlockSteps || steps <= kBlockSteps; }
  OCTET_DEVICE void Next(const KWalk& walk) {
    left = ends() ? walk.group_steps : left - kBlockSteps;
    steps -= kBlockSteps;
    if (steps > 0) return;
    ++leaf;
    BeginLeaf(walk);
  }

 private:
  OCTET_DEVICE void BeginLeaf(const KWalk& walk) {
    steps = walk.leaf[leaf].steps;
    left = walk.leaf[leaf].head_steps;
  }
};

// One thread.
template <typename T, bool kAsymmetric>
OCTET_DEVICE void CopyWeights(const Linear8Params& p, const Shared<T, kAsymmetric>& shared) {
  Ring ring;
  const int32_t code_bytes = kBlockSteps * p.walk.step_bytes;
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < p.items;
       i += static_cast<int32_t>(gridDim.x)) {
    const Linear8Item item = ItemOf(p, i, T::kTokens, T::kConsumers);
    const int32_t leaf_begin = p.parts.leaf_begin[item.part];
    const int32_t leaf_end = p.parts.leaf_begin[item.part + 1];
    const KLeaf& first = p.walk.leaf[leaf_begin];
    const std::byte* from = p.weights + first.step * p.walk.step_bytes +
                            first.segment * p.walk.scale_bytes + item.panel * p.panel_bytes;
#pragma unroll 1
    for (WholeBlocks block(p.walk, leaf_begin); block.leaf < leaf_end; block.Next(p.walk)) {
      const auto bytes =
          static_cast<uint32_t>(code_bytes + (block.ends() ? p.walk.scale_bytes : 0));
      uint64_t* const full = shared.full + ring.stage;
      std::byte* const to = shared.first.weights + ring.stage * T::kConsumers * p.weight_bytes;
      hw::mbar_wait(shared.empty + ring.stage, ring.parity ^ 1);
      hw::mbar_arrive_expect_tx(full, T::kConsumers * bytes);
#pragma unroll
      for (int n = 0; n < T::kConsumers; ++n) {
        // Past the last panel the last one comes again; no one stores what it gives.
        const int32_t panel = min(n, p.panels - 1 - item.panel);
        if (p.token_tiles == 1) {  // no other block reads them
          hw::bulk_load(to + n * p.weight_bytes, from + panel * p.panel_bytes, bytes, full,
                        hw::evict_first());
        } else {
          hw::bulk_load(to + n * p.weight_bytes, from + panel * p.panel_bytes, bytes, full);
        }
      }
      from += bytes;
      ring.Next(p.stages);
    }
  }
}

// One thread: codes of the rows, and their scales where a segment ends.
template <typename T, bool kAsymmetric>
OCTET_DEVICE void CopyRows(const Linear8Params& p, const Shared<T, kAsymmetric>& shared) {
  constexpr uint32_t kScaleBytes = T::kTokens * 4;
  Ring ring;
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < p.items;
       i += static_cast<int32_t>(gridDim.x)) {
    const Linear8Item item = ItemOf(p, i, T::kTokens, T::kConsumers);
    const int32_t leaf_begin = p.parts.leaf_begin[item.part];
    const int32_t leaf_end = p.parts.leaf_begin[item.part + 1];
    const KLeaf& first = p.walk.leaf[leaf_begin];
    const int8_t* codes = p.codes + first.block * p.block_stride + item.token * kBlockPositions;
    int64_t scales = int64_t{first.segment} * p.padded_rows + item.token;
#pragma unroll 1
    for (WholeBlocks block(p.walk, leaf_begin); block.leaf < leaf_end; block.Next(p.walk)) {
      const bool ends = block.ends();
      const Stage stage = shared[ring.stage];
      uint64_t* const full = shared.full + ring.stage;
      hw::mbar_wait(shared.empty + ring.stage, ring.parity ^ 1);
      hw::mbar_arrive_expect_tx(full,
                                T::kCodeBytes + (ends ? kScaleBytes * (kAsymmetric ? 2 : 1) : 0));
      hw::bulk_load(stage.codes, codes, T::kCodeBytes, full);
      codes += p.block_stride;
      if (ends) {
        hw::bulk_load(stage.x_scales, p.x_scales + scales, kScaleBytes, full);
        if constexpr (kAsymmetric) {
          hw::bulk_load(stage.x_sums, p.x_sums + scales, kScaleBytes, full);
        }
        scales += p.padded_rows;
      }
      ring.Next(p.stages);
    }
  }
}

// What a thread of a consuming warpgroup has of the product.
template <typename T, bool kInt4, bool kAsymmetric>
struct Consumer {
  static constexpr int kStepBytes = kInt4 ? 1024 : 2048;
  using Step = PackedStep<kInt4>;

  const Linear8Params& p;
  const Shared<T, kAsymmetric>& shared;
  const typename T::Waiting waiting;
  int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
  int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  int lane = thread % 32;
  Ring ring;  // the block that is multiplied next, whose codes are prepared
  int32_t exact[T::kValues];
  float sum[T::kValues];
  uint32_t a[kBlockSteps][4];

  OCTET_DEVICE Consumer(const Linear8Params& params, const Shared<T, kAsymmetric>& all)
      : p(params), shared(all), waiting(params, all.waiting, threadIdx.x - kWarpgroup) {}

  OCTET_DEVICE void ClearSum() {
#pragma unroll
    for (int i = 0; i < T::kValues; ++i) sum[i] = 0;
  }
  OCTET_DEVICE const std::byte* Weights(int stage) const {
    return shared.first.weights + (stage * T::kConsumers + warpgroup) * p.weight_bytes;
  }
  // The codes of the block at `at`, as they lie there.
  OCTET_DEVICE void Fetch(Ring at, Step (&packed)[kBlockSteps]) const {
    hw::mbar_wait(shared.full + at.stage, at.parity);
    const std::byte* from = Weights(at.stage) + thread / 32 * (kStepBytes / 4);
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) packed[i].Load(from + i * kStepBytes, lane);
  }
  OCTET_DEVICE void Unpack(const Step (&packed)[kBlockSteps]) {
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) packed[i].template Unpack<kAsymmetric>(a[i]);
  }
  // Before the first block.
  OCTET_DEVICE void Prepare() {
    Step packed[kBlockSteps];
    Fetch(ring, packed);
    Unpack(packed);
  }

  // The scales of the first rows are loaded ahead, of as many as registers allow.
  static constexpr int kAhead = T::kTokens / 8;
  OCTET_DEVICE float2 RowPair(const float* of_rows, int n) const {
    return *reinterpret_cast<const float2*>(of_rows + n * 8 + lane % 4 * 2);
  }
  OCTET_DEVICE void EndSegment(const Stage& stage, const WeightScales& w,
                               const float2 (&ahead)[kAhead]) {
#pragma unroll
    for (int n = 0; n < T::kTokens / 8; ++n) {
      const float2 x_scale = n < kAhead ? ahead[n] : RowPair(stage.x_scales, n);
      float2 x_sum = {};
      if constexpr (kAsymmetric) x_sum = RowPair(stage.x_sums, n);
      float value[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] = static_cast<float>(exact[n * 4 + i]);
      AddSegment<kAsymmetric>(sum + n * 4, value, w, x_scale, x_sum);
    }
  }

  // Multiplies the block whose codes are prepared; `continues`: its segment began in the block
  // before. While the products are under way, does what `meanwhile` does and fetches the codes of
  // the next block, if there is `more`.
  template <typename Meanwhile>
  OCTET_DEVICE void Unit(bool continues, bool ends, bool more, const Meanwhile& meanwhile) {
    const Ring now = ring;
    const Stage stage = shared[now.stage];
    ring.Next(p.stages);
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
    meanwhile();
    WeightScales w = {};
    float2 ahead[kAhead] = {};
    if (ends) {
#pragma unroll
      for (int n = 0; n < kAhead; ++n) ahead[n] = RowPair(stage.x_scales, n);
      w = LoadScales<kInt4, kAsymmetric>(p, Weights(now.stage) + kBlockSteps * kStepBytes,
                                         thread / 32 * 16 + lane / 4);
    }
    Step packed[kBlockSteps];
    // After the last block its own again, whose codes are there, rather than none: registers that
    // keep what they had otherwise are spilled.
    Fetch({more ? ring.stage : now.stage, more ? ring.parity : now.parity}, packed);
#if OCTET_PLANTED_BUG == 82
    hw::wgmma_wait<1>();
#else
    hw::wgmma_wait<0>();
#endif
    hw::wgmma_hold(exact);
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) hw::wgmma_hold(a[i]);
    Unpack(packed);
    if (ends) EndSegment(stage, w, ahead);
    __syncwarp();
    if (lane == 0) hw::mbar_arrive(shared.empty + now.stage);
  }

  // A sum that is left, of item `index`.
  OCTET_DEVICE void Store(int32_t index, int32_t sum_index) {
    const Linear8Item item = ItemOf(p, index, T::kTokens, T::kConsumers);
    const int32_t output = (item.panel + warpgroup) * 64 + thread / 32 * 16 + lane / 4;
    const int32_t token = item.token + lane % 4 * 2;
    const int32_t rows = p.rows - token;
    const bool has[2] = {output < p.outputs, output + 8 < p.outputs};
    if (p.bias != nullptr) {
      const float bias[2] = {has[0] ? p.bias[output] : 0, has[1] ? p.bias[output + 8] : 0};
#pragma unroll
      for (int i = 0; i < T::kValues; ++i) sum[i] += bias[i / 2 % 2];
    }
    float* to = p.sums + (int64_t{sum_index} * p.rows + token) * p.outputs + output;
#pragma unroll
    for (int i = 0; i < T::kValues; i += 4) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float* row = to + (e == 0 ? 0 : p.outputs);
        if (i * 2 + e < rows && has[0]) row[0] = sum[i + e];
        if (i * 2 + e < rows && has[1]) row[8] = sum[i + 2 + e];
      }
      to += 8 * int64_t{p.outputs};
    }
  }
  // Of item `index`.
  OCTET_DEVICE void EndLeaf(int32_t index, int32_t leaf) {
    waiting.AddWaiting(leaf, sum);
    const uint8_t left = p.left_sum[leaf];
    if (left == kSumWaits) {
      waiting.Put(leaf, sum);
    } else {
      Store(index, left);
    }
    ClearSum();
  }

  // All items of this block. The end of a leaf comes under the first block of the next.
  OCTET_DEVICE void Run() {
    const auto first = static_cast<int32_t>(blockIdx.x);
    const auto step = static_cast<int32_t>(gridDim.x);
    if (first >= p.items) return;
    ClearSum();
    Prepare();
    int32_t ended = -1;  // the leaf
    int32_t i = first;
#pragma unroll 1
    for (; i < p.items; i += step) {
      const int32_t part = PartOf(p, i);
      const int32_t leaf_end = p.parts.leaf_begin[part + 1];
      bool continues = false;
#pragma unroll 1
      for (WholeBlocks block(p.walk, p.parts.leaf_begin[part]); block.leaf < leaf_end;) {
        const bool ends = block.ends();
        const int32_t leaf = block.leaf;
        block.Next(p.walk);
        Unit(continues, ends, block.leaf < leaf_end || i + step < p.items, [&] {
          if (ended >= 0) EndLeaf(leaf == p.parts.leaf_begin[part] ? i - step : i, ended);
        });
        continues = !ends;
        ended = block.leaf != leaf ? leaf : -1;
      }
    }
    EndLeaf(i - step, ended);
  }
};

template <typename T, bool kInt4, bool kAsymmetric>
__global__ void __launch_bounds__(T::kThreads, 1) MultiplyWgmma(const Linear8Params p) {
  const Shared<T, kAsymmetric> shared(p);
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      hw::mbar_init(shared.full + i, 2);  // weights and rows
      hw::mbar_init(shared.empty + i, T::kConsumers * kWarpgroup / 32);
    }
    hw::fence_mbar_init();
  }
  __syncthreads();
  hw::let_next_begin();
  if (threadIdx.x < kWarpgroup) {
    hw::setmaxnreg_dec<kProducerRegisters>();
    // Weights may come before the kernels ahead of this one are done.
    if (threadIdx.x == 32) CopyWeights<T, kAsymmetric>(p, shared);
    hw::wait_for_past();
    if (threadIdx.x == 0) CopyRows<T, kAsymmetric>(p, shared);
  } else {
    hw::setmaxnreg_inc<T::kRegisters>();
    hw::wait_for_past();
    Consumer<T, kInt4, kAsymmetric>(p, shared).Run();
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
  switch (plan.tile_tokens) {
    case 32:
      return launch(Tiling32());
    case 64:
      return launch(Tiling64());
    default:
      return launch(Tiling128());
  }
}

}  // namespace octet::kernels::cuda
