// The shared memory of a block of linear8_wgmma.cuh, and the two threads that fill it: one copies
// weights, one rows, into a ring of stages of one block of inputs each.
#pragma once

#include "kernels/linear/linear8.cuh"

namespace octet::kernels::cuda {

inline constexpr int kWarpgroup = 128;
inline constexpr int kStagesMax = 8;
inline constexpr int kProducerRegisters = 40;

template <int kTokens_, int kConsumers_, int kRegisters_>
struct Linear8Tiling {
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
struct Linear8Stage {
  std::byte* weights;  // [panels][weight_bytes]
  int8_t* codes;       // [tokens][128], swizzled
  float* x_sums;       // [tokens], asymmetric only
};

template <typename T, bool kAsymmetric>
hw::SmemPlan Linear8SharedPlan(const Linear8Params& p) {
  hw::SmemPlan plan;
  plan.add<uint64_t>(2 * kStagesMax);
  plan.add<std::byte>(int64_t{p.stages} * T::kConsumers * p.weight_bytes, 128);
  plan.add<int8_t>(int64_t{p.stages} * T::kCodeBytes, 1024);
  plan.add<float>(int64_t{p.stages + 1} * T::kTokens);
  plan.add<float>(kAsymmetric ? int64_t{p.stages} * T::kTokens : 0);
  plan.add<float>(int64_t{p.shared_slots} * T::kValues * kWarpgroup * T::kConsumers);
  return plan;
}

template <typename T, bool kAsymmetric>
struct Linear8Shared {
  uint64_t* full;   // [stages] its bytes have come
  uint64_t* empty;  // [stages] the warps that read it are done
  Linear8Stage first;
  float* x_scales;  // [stages + 1][tokens], see Linear8LeafRing
  float* waiting;
  const Linear8Params& p;

  OCTET_DEVICE explicit Linear8Shared(const Linear8Params& params) : p(params) {
    hw::Smem smem;
    full = smem.template take<uint64_t>(2 * kStagesMax);
    empty = full + kStagesMax;
    first.weights =
        smem.template take<std::byte>(int64_t{p.stages} * T::kConsumers * p.weight_bytes, 128);
    first.codes = smem.template take<int8_t>(int64_t{p.stages} * T::kCodeBytes, 1024);
    x_scales = smem.template take<float>(int64_t{p.stages + 1} * T::kTokens);
    first.x_sums =
        kAsymmetric ? smem.template take<float>(int64_t{p.stages} * T::kTokens) : nullptr;
    waiting = p.shared_slots == 0 ? nullptr
                                  : smem.template take<float>(int64_t{p.shared_slots} * T::kValues *
                                                              kWarpgroup * T::kConsumers);
  }
  OCTET_DEVICE Linear8Stage operator[](int stage) const {
    return {first.weights + stage * T::kConsumers * p.weight_bytes,
            first.codes + stage * T::kCodeBytes,
            kAsymmetric ? first.x_sums + stage * T::kTokens : nullptr};
  }
};

// A place in the ring of stages; `parity` is that of its barriers' phase.
struct Linear8Ring {
  int stage = 0;
  uint32_t parity = 0;

  OCTET_DEVICE void Next(int stages) {
    if (++stage < stages) return;
    stage = 0;
    parity ^= 1;
  }
};

// A place in the ring of the leaves' scales. They come with a leaf's last block and are read under
// the block after it, when the stage may have been given back. With one place more than there are
// stages whoever fills one has waited for the end of that block.
struct Linear8LeafRing {
  int place = 0;

  OCTET_DEVICE static int Places(int stages) {
#if OCTET_PLANTED_BUG == 86
    return stages;
#else
    return stages + 1;
#endif
  }
  OCTET_DEVICE void Next(int stages) {
    if (++place == Places(stages)) place = 0;
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
  OCTET_DEVICE bool ends_leaf() const { return steps <= kBlockSteps; }
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

// Goes over the blocks of inputs of all items of this thread block, for one thread that copies:
// begin(item, leaf) says where an item begins, copy(ring, full, block) fills its part of a stage.
template <typename T, bool kAsymmetric, typename Begin, typename Copy>
OCTET_DEVICE void FillStages(const Linear8Params& p, const Linear8Shared<T, kAsymmetric>& shared,
                             const Begin& begin, const Copy& copy) {
  Linear8Ring ring;
  for (int32_t i = static_cast<int32_t>(blockIdx.x); i < p.items;
       i += static_cast<int32_t>(gridDim.x)) {
    const Linear8Item item = ItemOf(p, i, T::kTokens, T::kConsumers);
    const int32_t leaf_begin = p.parts.leaf_begin[item.part];
    const int32_t leaf_end = p.parts.leaf_begin[item.part + 1];
    begin(item, leaf_begin);
#pragma unroll 1
    for (WholeBlocks block(p.walk, leaf_begin); block.leaf < leaf_end; block.Next(p.walk)) {
      hw::mbar_wait(shared.empty + ring.stage, ring.parity ^ 1);
      copy(ring, shared.full + ring.stage, block);
      ring.Next(p.stages);
    }
  }
}

template <typename T, bool kAsymmetric>
OCTET_DEVICE void CopyWeights(const Linear8Params& p, const Linear8Shared<T, kAsymmetric>& shared) {
  const int32_t code_bytes = kBlockSteps * p.walk.step_bytes;
  const std::byte* from = nullptr;
  int32_t panels_left = 0;  // past the item's first
  FillStages(
      p, shared,
      [&](const Linear8Item& item, int32_t leaf) {
        const KLeaf& first = p.walk.leaf[leaf];
        from = p.weights + first.step * p.walk.step_bytes + first.segment * p.walk.scale_bytes +
               item.panel * p.panel_bytes;
        panels_left = p.panels - 1 - item.panel;
      },
      [&](const Linear8Ring& at, uint64_t* full, const WholeBlocks& block) {
        const auto bytes =
            static_cast<uint32_t>(code_bytes + (block.ends() ? p.walk.scale_bytes : 0));
        std::byte* const to = shared[at.stage].weights;
        hw::mbar_arrive_expect_tx(full, T::kConsumers * bytes);
#pragma unroll
        for (int n = 0; n < T::kConsumers; ++n) {
          // Past the last panel the last one comes again; no one stores what it gives.
          const std::byte* panel = from + min(n, panels_left) * p.panel_bytes;
          if (p.token_tiles == 1) {  // no other block reads them
            hw::bulk_load(to + n * p.weight_bytes, panel, bytes, full, hw::evict_first());
          } else {
            hw::bulk_load(to + n * p.weight_bytes, panel, bytes, full);
          }
        }
        from += bytes;
      });
}

// Codes of the rows, their sums where a segment ends, and their scales where a leaf does.
template <typename T, bool kAsymmetric>
OCTET_DEVICE void CopyRows(const Linear8Params& p, const Linear8Shared<T, kAsymmetric>& shared) {
  constexpr uint32_t kFloatBytes = T::kTokens * 4;
  const int8_t* codes = nullptr;
  const float* scales = nullptr;
  const float* sums = nullptr;
  Linear8LeafRing leaves;
  FillStages(
      p, shared,
      [&](const Linear8Item& item, int32_t leaf) {
        const KLeaf& first = p.walk.leaf[leaf];
        codes = p.codes + first.block * p.block_stride + item.token * kBlockPositions;
        scales = p.x_scales + int64_t{leaf} * p.padded_rows + item.token;
        if (kAsymmetric) sums = p.x_sums + int64_t{first.segment} * p.padded_rows + item.token;
      },
      [&](const Linear8Ring& at, uint64_t* full, const WholeBlocks& block) {
        const Linear8Stage stage = shared[at.stage];
        const bool has_sums = kAsymmetric && block.ends();
        const uint32_t floats = (has_sums ? 1 : 0) + (block.ends_leaf() ? 1 : 0);
        hw::mbar_arrive_expect_tx(full, T::kCodeBytes + floats * kFloatBytes);
        hw::bulk_load(stage.codes, codes, T::kCodeBytes, full);
        codes += p.block_stride;
        if (has_sums) {
          hw::bulk_load(stage.x_sums, sums, kFloatBytes, full);
          sums += p.padded_rows;
        }
        if (!block.ends_leaf()) return;
        hw::bulk_load(shared.x_scales + leaves.place * T::kTokens, scales, kFloatBytes, full);
        leaves.Next(p.stages);
        scales += p.padded_rows;
      });
}

}  // namespace octet::kernels::cuda
