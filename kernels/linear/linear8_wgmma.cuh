// The linear with int8 activations for sm_90a, on wgmma m64nNk32: 128 rows by two panels of 64
// outputs at a time, 64 rows by three or 32 by four, for shapes of whole blocks (linear8.h). Bits
// as those of linear8_mma.cuh.
//
// Two threads of the first warpgroup fill stages with bulk copies; each of the others takes a
// panel. Codes go from shared memory to registers, become operand A there, and are multiplied with
// the rows; while one warpgroup scales its sums of a segment into f32, another keeps the tensor
// cores busy. What can come under a block's products does: the next one's codes, the scales, the
// end of the leaf before. README.md has the count of instructions.
//
// Bytes moved: per block of K 64 or 128 bytes an output and 128 a row from L2, for a tile.
// Operations: 2 * rows * outputs * inputs integer ones.
#pragma once

#include <algorithm>

#include "base/check.h"
#include "base/device/device_info.h"
#include "kernels/linear/linear8.h"
#include "kernels/linear/linear8_stages.cuh"

namespace octet::kernels::cuda {

// What a thread of a consuming warpgroup has of the product. kPairs: Linear8Plan::pairs. Then no
// leaf but the right one of a pair takes memory to be added up, and as a block's sums of integers
// end with it, they are converted where they are.
template <typename T, bool kInt4, bool kAsymmetric, bool kPairs>
struct Linear8Consumer {
  static constexpr int kStepBytes = kPanelStepBytes<kInt4>;
  using Step = PackedStep<kInt4>;

  const Linear8Params& p;
  const Linear8Shared<T, kAsymmetric>& shared;
  const typename T::Waiting waiting;
  int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
  int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  int lane = thread % 32;
  // In the first stage: the rows' codes, and this lane's codes and scales of the weights.
  uint64_t rows_desc;
  const std::byte* codes;
  const std::byte* scales;
  Linear8Ring ring;        // the block that is multiplied next, whose codes are prepared
  Linear8LeafRing leaves;  // the leaf that ends next
  int32_t exact[T::kValues];
  float sum[T::kValues];                 // of a leaf, then of all that it is added up with
  float right[kPairs ? T::kValues : 1];  // of a pair's right leaf
  uint32_t a[kBlockSteps][4];

  OCTET_DEVICE Linear8Consumer(const Linear8Params& params,
                               const Linear8Shared<T, kAsymmetric>& all)
      : p(params),
        shared(all),
        waiting(params, all.waiting, threadIdx.x - kWarpgroup),
        rows_desc(hw::smem_desc(all.first.codes, 0, 1024, hw::Swizzle::k128)),
        codes(all.first.weights + warpgroup * p.weight_bytes + thread / 32 * (kStepBytes / 4) +
              lane * static_cast<int>(sizeof(Step))),
        scales(all.first.weights + warpgroup * p.weight_bytes + kBlockSteps * kStepBytes +
               (thread / 32 * 16 + lane / 4) * ScaleBytes(p)) {}

  OCTET_DEVICE int Weights(int stage) const { return stage * T::kConsumers * p.weight_bytes; }
  // The codes of the block in `at`, as they lie there.
  OCTET_DEVICE void Fetch(int at, Step (&packed)[kBlockSteps]) const {
    const std::byte* from = codes + Weights(at);
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) packed[i].Load(from + i * kStepBytes, 0);
  }
  OCTET_DEVICE void Unpack(const Step (&packed)[kBlockSteps]) {
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) packed[i].template Unpack<kAsymmetric>(a[i]);
  }
  // Before the first block.
  OCTET_DEVICE void Prepare() {
    Step packed[kBlockSteps];
    hw::mbar_wait(shared.full + ring.stage, ring.parity);
    Fetch(ring.stage, packed);
    Unpack(packed);
  }

  static constexpr int kRowPairs = T::kTokens / 8;  // of rows, that a lane has

  OCTET_DEVICE float2 RowPair(const float* of_rows, int n) const {
    return *reinterpret_cast<const float2*>(of_rows + n * 8 + lane % 4 * 2);
  }
  template <bool kFirst>
  OCTET_DEVICE void EndSegment(int stage, const WeightScales& w, float (&leaf)[T::kValues]) {
#pragma unroll
    for (int n = 0; n < kRowPairs; ++n) {
      float2 x_sum = {};
      if constexpr (kAsymmetric) x_sum = RowPair(shared.first.x_sums + stage * T::kTokens, n);
      float value[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] = static_cast<float>(exact[n * 4 + i]);
      AddSegment<kAsymmetric, kFirst>(leaf + n * 4, value, w, x_sum);
    }
  }

  // Multiplies the block whose codes are prepared and adds it to `leaf`; kFirst: of the leaf.
  // `continues`: its segment began in the block before; `ends`: it ends with this one. While the
  // products are under way, does what `meanwhile` does and fetches the codes of the next block, if
  // there is `more`.
  template <bool kFirst, typename Meanwhile>
  OCTET_DEVICE void Unit(float (&leaf)[T::kValues], bool continues, bool ends, bool more,
                         const Meanwhile& meanwhile) {
    const int stage = ring.stage;
    const uint64_t rows = hw::smem_desc_at(rows_desc, stage * T::kCodeBytes);
    hw::wgmma_fence();
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) {
      const uint64_t b = hw::smem_desc_at(rows, i * static_cast<uint32_t>(kStepPositions));
      if constexpr (kAsymmetric) {
        hw::wgmma_u8s8<T::kTokens>(exact, a[i], b, i > 0 || continues);
      } else {
        hw::wgmma_s8s8<T::kTokens>(exact, a[i], b, i > 0 || continues);
      }
    }
    hw::wgmma_commit();
    meanwhile();
    WeightScales w = {};
    if (ends) w = LoadScales<kInt4, kAsymmetric>(p, scales + Weights(stage));
    Step packed[kBlockSteps];
    // After the last block its own again, whose codes are there, rather than none: registers that
    // keep what they had otherwise are spilled.
    if (more) ring.Next(p.stages);
    hw::mbar_wait(shared.full + ring.stage, ring.parity);
    // Int8 codes are operands as they are, and those may not change while products are under way.
    if constexpr (kInt4) Fetch(ring.stage, packed);
#if OCTET_PLANTED_BUG == 82
    hw::wgmma_wait<1>();
#else
    hw::wgmma_wait<0>();
#endif
    hw::wgmma_hold(exact);
#pragma unroll
    for (int i = 0; i < kBlockSteps; ++i) hw::wgmma_hold(a[i]);
    if constexpr (!kInt4) Fetch(ring.stage, packed);
    Unpack(packed);
    if (ends) {
      EndSegment<kFirst>(stage, w, leaf);
    } else if (kFirst) {
#pragma unroll
      for (int i = 0; i < T::kValues; ++i) leaf[i] = 0;
      hw::wgmma_hold(leaf);  // keeps zeros out of the other branch
    }
    __syncwarp();
    if (lane == 0) hw::mbar_arrive(shared.empty + stage);
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
  // The end of the next leaf of those that have not ended.
  OCTET_DEVICE void EndLeaf(float (&leaf)[T::kValues]) {
    const float* x_scales = shared.x_scales + leaves.place * T::kTokens;
    leaves.Next(p.stages);
#pragma unroll
    for (int n = 0; n < kRowPairs; ++n) ScaleLeaf(leaf + n * 4, RowPair(x_scales, n));
  }
  // `leaf` has ended, a pair's right one where there are pairs, of item `index`: adds up what can
  // be.
  OCTET_DEVICE void AddUp(int32_t index, int32_t leaf) {
    if constexpr (kPairs) {
      EndLeaf(right);
#pragma unroll
      for (int i = 0; i < T::kValues; ++i) sum[i] += right[i];
    } else {
      EndLeaf(sum);
    }
    waiting.AddWaiting(leaf, sum, kPairs ? 1 : 0);
    const uint8_t left = p.left_sum[leaf];
    if (left == kSumWaits) {
      waiting.Put(leaf, sum);
    } else {
      Store(index, left);
    }
  }

  // All blocks of a leaf, into `to`; `before` comes under the first. `left`: blocks of all leaves.
  template <typename Before>
  OCTET_DEVICE void RunLeaf(float (&to)[T::kValues], const KLeaf& leaf, int32_t& left,
                            const Before& before) {
    int32_t rest = leaf.steps;
    int32_t segment = leaf.head_steps;  // what it still has
    bool ends = kPairs || min(segment, rest) <= kBlockSteps;
    Unit<true>(to, false, ends, --left > 0, before);
#pragma unroll 1
    while ((rest -= kBlockSteps) > 0) {
      const bool continues = !ends;
      if constexpr (!kPairs) {
        segment = ends ? p.walk.group_steps : segment - kBlockSteps;
        ends = min(segment, rest) <= kBlockSteps;
      }
      Unit<false>(to, continues, ends, --left > 0, [] {});
    }
  }

  // Of all items of this thread block.
  OCTET_DEVICE int32_t CountBlocks() const {
    int32_t blocks = 0;
    for (auto i = static_cast<int32_t>(blockIdx.x); i < p.items;
         i += static_cast<int32_t>(gridDim.x)) {
      const int32_t part = PartOf(p, i);
      blocks += p.walk.leaf[p.parts.leaf_begin[part + 1]].block -
                p.walk.leaf[p.parts.leaf_begin[part]].block;
    }
    return blocks;
  }

  // All items of this thread block. The end of a leaf comes under the first block of the next.
  OCTET_DEVICE void Run() {
    const auto step = static_cast<int32_t>(gridDim.x);
    int32_t left = CountBlocks();
    if (left == 0) return;
    Prepare();
    auto i = static_cast<int32_t>(blockIdx.x);
    int32_t ended = -1;  // the leaf
#pragma unroll 1
    for (; i < p.items; i += step) {
      const int32_t part = PartOf(p, i);
      const int32_t leaf_begin = p.parts.leaf_begin[part];
      const int32_t leaf_end = p.parts.leaf_begin[part + 1];
#pragma unroll 1
      for (int32_t leaf = leaf_begin; leaf < leaf_end; leaf += kPairs ? 2 : 1) {
        RunLeaf(sum, p.walk.leaf[leaf], left, [&] {
          if (ended >= 0) AddUp(leaf == leaf_begin ? i - step : i, ended);
        });
        ended = leaf;
        if constexpr (kPairs) {
          RunLeaf(right, p.walk.leaf[leaf + 1], left, [&] { EndLeaf(sum); });
          ended = leaf + 1;
        }
      }
    }
    AddUp(i - step, ended);
  }
};

template <typename T, bool kInt4, bool kAsymmetric, bool kPairs>
__global__ void __launch_bounds__(T::kThreads, 1) MultiplyWgmma(const Linear8Params p) {
  const Linear8Shared<T, kAsymmetric> shared(p);
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
    if (threadIdx.x == 32) CopyWeights(p, shared);
    hw::wait_for_past();
    if (threadIdx.x == 0) CopyRows(p, shared);
  } else {
    hw::setmaxnreg_inc<T::kRegisters>();
    hw::wait_for_past();
    Linear8Consumer<T, kInt4, kAsymmetric, kPairs>(p, shared).Run();
  }
}

template <typename T, bool kInt4, bool kAsymmetric, bool kPairs>
void LaunchLinear8Wgmma(Linear8Params& p, const Linear8Plan& plan, Stream& stream) {
  // Three stages hide the way to L2. What is left is for sums that wait, then for more stages.
  constexpr int kStagesMin = 3;
  const int64_t limit = stream.info().shared_bytes_per_block;
  p.waiting_slots = plan.waiting_max;
  p.shared_slots = 0;
  p.stages = kStagesMin;
  const auto fits = [&] { return Linear8SharedPlan<T, kAsymmetric>(p).bytes() <= limit; };
  OCTET_CHECK(fits());
  while (p.shared_slots < plan.waiting_max && (++p.shared_slots, fits())) continue;
  if (!fits()) --p.shared_slots;
  while (p.stages < kStagesMax && (++p.stages, fits())) continue;
  if (!fits()) --p.stages;
  int64_t blocks = std::min<int64_t>(p.items, stream.info().sm_count);
  if (p.shared_slots < plan.waiting_max) blocks = std::min<int64_t>(blocks, plan.waiting_blocks);
  OCTET_LAUNCH_EARLY((MultiplyWgmma<T, kInt4, kAsymmetric, kPairs>),
                     dim3(static_cast<unsigned>(blocks)), dim3(T::kThreads),
                     Linear8SharedPlan<T, kAsymmetric>(p).bytes(), stream, p);
}

}  // namespace octet::kernels::cuda
