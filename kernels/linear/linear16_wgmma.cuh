// The linear with bf16 activations for wgmma (sm_90a): y^T = W x^T, weights from registers as the
// operand of 64 rows, tokens from shared memory as that of kTokens columns, K step 16.
//
// A block takes a tile of kGroups * kM * 64 outputs x kTokens tokens through its part of the
// leaves, 64 inputs (a stage) at a time. Producers copy stages into a ring: weights by one bulk
// copy per panel, tokens by cp.async into the swizzled rows that wgmma reads. Each of kGroups
// warpgroups computes kM panels. A unit is one panel of one stage, four steps: while the tensor
// cores work on one unit, the fragments of the next are expanded and the sums of the one before are
// scaled.
//
// Moves, per tile and part: its weights once, its tokens once. Lane-instructions per int4 weight:
// 1.4 to expand it, 0.1 for wgmma, about 0.7 for waits, loads and loops, tokens / group for
// scaling.
#pragma once

#include "base/device/ring_place.cuh"
#include "kernels/linear/linear16.cuh"
#include "kernels/linear/linear16_launch.h"

namespace octet::kernels::cuda {

template <WeightFormat kFormat_, int kGroups_, int kM_, int kTokens_, int kStages_>
struct WgmmaTile {
  static constexpr WeightFormat kFormat = kFormat_;
  static constexpr int kGroups = kGroups_;  // of 128 threads that compute
  static constexpr int kM = kM_;            // panels of each
  static constexpr int kTokens = kTokens_;
  static constexpr int kStages = kStages_;
  static constexpr int kComputing = 128 * kGroups;
  static constexpr int kProducers = kGroups == 1 ? 32 : 128;
  static constexpr int kThreads = kComputing + kProducers;
  static constexpr int kPanels = kGroups * kM;
  static constexpr int kOutputs = kPanels * kCuda16PanelOutputs;
  static constexpr int kValues = kTokens / 2;  // of one panel in one lane
  static constexpr int kTerms = TermsOf(kFormat);
  using Stack = SumStack<kM, kValues, kComputing>;
  static_assert(kStages >= 4);  // kCopiesBehind + 2
};

struct WgmmaRing {
  std::byte* stages;
  uint64_t* full;   // [stages] the stage is there
  uint64_t* empty;  // [stages] every warp is done with it
};

// Copies of tokens are handed over this many stages after they were issued. A warpgroup waits for a
// stage before it gives back the one before: with fewer than kCopiesBehind + 2 stages the ring
// would lock up.
inline constexpr int kCopiesBehind = 2;

template <typename Tile>
struct WgmmaProducer {
  const Linear16Kernel& k;
  const Linear16Stage& layout;
  const WgmmaRing& ring;
  int thread;
  hw::CachePolicy read_once;
  RingPlace place;
  RingPlace handed;
  int32_t behind = 0;  // stages issued and not handed over

  OCTET_DEVICE void Item(const Linear16Item& item) {
    const int32_t leaf = k.parts.leaf_begin[item.part];
    const int32_t end = 2 * k.inputs.leaf_block[k.parts.leaf_begin[item.part + 1]];
    StageCursor cursor = {leaf, 2 * k.inputs.leaf_block[leaf]};
    int32_t segment = k.inputs.leaf_segment[leaf];
    const int64_t token = static_cast<int64_t>(item.row_tile) * Tile::kTokens;
    while (cursor.stage < end) {
      hw::mbar_wait(&ring.empty[place.slot], place.parity ^ 1);
      std::byte* to = ring.stages + place.slot * layout.bytes;
      if (thread == 0) CopyWeights(item.output_tile * Tile::kPanels, cursor.stage, to);
      CopyTokens<Tile::kTokens>(k, cursor, token, thread, Tile::kProducers, to);
      if (k.asymmetric) {
        const int ends = __popc(SegmentEnds(k, cursor.stage));
        CopySums<Tile::kTokens>(k, ends, segment, token, thread, Tile::kProducers,
                                reinterpret_cast<float*>(to + layout.sums_at));
        segment += ends;
      }
      hw::cp_async_commit();
      if (++behind > kCopiesBehind) {
        hw::cp_async_wait<kCopiesBehind>();
        HandOver();
      }
      cursor.Advance(k);
      place.Advance(Tile::kStages);
    }
  }
  OCTET_DEVICE void Finish() {
    hw::cp_async_wait<0>();
    while (behind > 0) HandOver();
  }

 private:
  OCTET_DEVICE void CopyWeights(int32_t panel, int32_t stage, std::byte* to) {
    const int half = stage % 2;
    const int32_t bytes = k.stage_bytes[half];
    const std::byte* from = k.weights + half * k.stage_bytes[0] +
                            static_cast<int64_t>(stage / 2) * (k.stage_bytes[0] + k.stage_bytes[1]);
    hw::mbar_arrive_expect_tx(&ring.full[place.slot], Tile::kPanels * bytes);
    for (int p = 0; p < Tile::kPanels; ++p) {
      // Past the last panel the last one comes again; no one stores what it gives.
      std::byte* panel_to = to + layout.weights_at + p * layout.weight_bytes;
      const std::byte* panel_from = from + min(panel + p, k.panels - 1) * k.panel_bytes;
      if (k.row_tiles == 1) {
        hw::bulk_load(panel_to, panel_from, bytes, &ring.full[place.slot], read_once);
      } else {
        hw::bulk_load(panel_to, panel_from, bytes, &ring.full[place.slot]);
      }
    }
  }
  OCTET_DEVICE void HandOver() {
    hw::fence_proxy_async();
    hw::mbar_arrive(&ring.full[handed.slot]);
    handed.Advance(Tile::kStages);
    --behind;
  }
};

template <typename Tile>
struct WgmmaGroup {
  static constexpr bool kQuantized = IsQuantized(Tile::kFormat);
  static constexpr int kUnits = 2 * Tile::kM;  // of a block of inputs
  using Values = float[Tile::kM][Tile::kValues];

  const Linear16Kernel& k;
  const Linear16Stage& layout;
  const WgmmaRing& ring;
  int thread;  // of the group
  int group;
  RingPlace place;                  // the stage that is prepared next
  const std::byte* stages[2] = {};  // both halves of the block, while they are in the ring
  int32_t slots[2] = {};
  uint32_t fragments[2][kCuda16StageSteps][Tile::kTerms][4];

  // Waits for a stage and expands the fragments of one of its panels.
  template <int kUnit>
  OCTET_DEVICE void Prepare() {
    constexpr int kHalf = kUnit / Tile::kM;
    constexpr int kPanel = kUnit % Tile::kM;
    if constexpr (kPanel == 0) {
      hw::mbar_wait(&ring.full[place.slot], place.parity);
      stages[kHalf] = ring.stages + place.slot * layout.bytes;
      slots[kHalf] = place.slot;
      place.Advance(Tile::kStages);
    }
    PackedFragments<Tile::kFormat> packed;
    packed.Load(Weights(kHalf, kPanel) + thread / 32 * (k.code_bytes / 4), thread % 32);
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) {
      Expand<Tile::kFormat>(packed, s, fragments[kUnit % 2][s]);
    }
  }

  // Starts the four steps of a unit. Where a segment ends before the last of them, they are done
  // one by one.
  template <int kUnit>
  OCTET_DEVICE void Issue(int ends, bool fresh, Values& segment, Values& leaf) {
    constexpr int kPanel = kUnit % Tile::kM;
    if constexpr (kQuantized) {
      if ((ends & 7) != 0) {
        OneByOne<kUnit>(ends, fresh, segment, leaf);
        return;
      }
      Issue4<kUnit>(fresh, segment[kPanel]);
    } else {
      Issue4<kUnit>(fresh, leaf[kPanel]);
    }
  }

  // Waits for a unit and scales the segment that ends with it; gives its stage back after the last.
  template <int kUnit>
  OCTET_DEVICE void Complete(int ends, Values& segment, Values& leaf) {
    constexpr int kHalf = kUnit / Tile::kM;
    constexpr int kPanel = kUnit % Tile::kM;
#if OCTET_PLANTED_BUG == 2
    if constexpr (kPanel == Tile::kM - 1) GiveBack(kHalf);
#endif
    if constexpr (kQuantized) {
      const bool folds = (ends & 8) != 0;
      const int slot = __popc(ends & 7);
      LaneScales own = {};
      if (folds) own = Scales(kHalf, kPanel, slot);
      hw::wgmma_wait<0>();
      hw::wgmma_hold(segment[kPanel]);
      HoldFragments<kUnit>();
      if (folds) {
        Fold(own, Sums(kHalf, slot), k.asymmetric, thread % 4, segment[kPanel], leaf[kPanel]);
      }
    } else {
      hw::wgmma_wait<0>();
      hw::wgmma_hold(leaf[kPanel]);
      HoldFragments<kUnit>();
    }
#if OCTET_PLANTED_BUG != 2
    if constexpr (kPanel == Tile::kM - 1) GiveBack(kHalf);
#endif
  }

 private:
  // The matrix unit reads fragments until it is waited for.
  template <int kUnit>
  OCTET_DEVICE void HoldFragments() {
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) {
#pragma unroll
      for (int term = 0; term < Tile::kTerms; ++term) {
        hw::wgmma_hold(fragments[kUnit % 2][s][term]);
      }
    }
  }
  OCTET_DEVICE void GiveBack(int half) {
    __syncwarp();
    if (thread % 32 == 0) hw::mbar_arrive(&ring.empty[slots[half]]);
  }
  template <int kUnit>
  OCTET_DEVICE void IssueStep(int s, bool fresh, float (&sums)[Tile::kValues]) {
    const uint64_t tokens =
        hw::smem_desc(stages[kUnit / Tile::kM] + s * 32, 0, 1024, hw::Swizzle::k128);
#pragma unroll
    for (int term = 0; term < Tile::kTerms; ++term) {
      hw::wgmma_bf16<Tile::kTokens>(sums, fragments[kUnit % 2][s][term], tokens,
                                    !fresh || term > 0);
    }
  }
  template <int kUnit>
  OCTET_DEVICE void Issue4(bool fresh, float (&sums)[Tile::kValues]) {
    hw::wgmma_fence();
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) IssueStep<kUnit>(s, fresh && s == 0, sums);
    hw::wgmma_commit();
  }
  template <int kUnit>
  OCTET_DEVICE void OneByOne(int ends, bool fresh, Values& segment, Values& leaf) {
    constexpr int kHalf = kUnit / Tile::kM;
    constexpr int kPanel = kUnit % Tile::kM;
    int slot = 0;
#pragma unroll
    for (int s = 0; s < kCuda16StageSteps; ++s) {
      hw::wgmma_fence();
      IssueStep<kUnit>(s, fresh, segment[kPanel]);
      hw::wgmma_commit();
      hw::wgmma_wait<0>();
      hw::wgmma_hold(segment[kPanel]);
      fresh = (ends >> s & 1) != 0;
      if (!fresh || s + 1 == kCuda16StageSteps) continue;  // Complete() scales the last
      Fold(Scales(kHalf, kPanel, slot), Sums(kHalf, slot), k.asymmetric, thread % 4,
           segment[kPanel], leaf[kPanel]);
      ++slot;
    }
  }
  OCTET_DEVICE const std::byte* Weights(int half, int panel) const {
    return stages[half] + layout.weights_at + (group * Tile::kM + panel) * layout.weight_bytes;
  }
  OCTET_DEVICE LaneScales Scales(int half, int panel, int slot) const {
    return ReadScales<Tile::kFormat>(k, Weights(half, panel) + k.code_bytes, k.inputs.slots[half],
                                     slot, thread / 32 * kCuda16SlabOutputs + thread % 32 / 4 * 2);
  }
  OCTET_DEVICE const float* Sums(int half, int slot) const {
    return reinterpret_cast<const float*>(stages[half] + layout.sums_at) + slot * Tile::kTokens;
  }
};

// A warpgroup's walk over the blocks of inputs of one item.
template <typename Tile>
struct WgmmaWalk {
  using Group = WgmmaGroup<Tile>;
  using Values = typename Group::Values;

  Group& own;
  typename Tile::Stack& stack;
  int32_t leaf_end;  // behind the part's last
  Values leaf = {};
  Values segment = {};

  // Adds what the program says after a leaf, and makes room for the next.
  OCTET_DEVICE void EndLeaf(int32_t i) {
    for (int merge = 0; merge < own.k.parts.merges[i]; ++merge) stack.PopAdd(leaf);
    if (i + 1 == leaf_end) return;
    stack.Push(leaf);
#pragma unroll
    for (int m = 0; m < Tile::kM; ++m) {
#pragma unroll
      for (int v = 0; v < Tile::kValues; ++v) leaf[m][v] = 0;
    }
  }

  // The units of a block. `fresh`: its first step starts a segment (float formats: a leaf), which
  // all panels do at the same steps; `last`: no block follows.
  template <int kUnit = 0>
  OCTET_DEVICE void Units(int ends, bool fresh, bool last) {
    if constexpr (kUnit < Group::kUnits) {
      constexpr int kHalf = kUnit / Tile::kM;
      const int half_ends = ends >> kHalf * kCuda16StageSteps & 15;
      const bool half_fresh = kHalf == 0 ? fresh : Group::kQuantized && (ends & 8) != 0;
      own.template Issue<kUnit>(half_ends, half_fresh, segment, leaf);
      if (kUnit + 1 < Group::kUnits || !last) own.template Prepare<(kUnit + 1) % Group::kUnits>();
      own.template Complete<kUnit>(half_ends, segment, leaf);
      Units<kUnit + 1>(ends, fresh, last);
    }
  }

  OCTET_DEVICE void Run(int32_t leaf_begin) {
    const Cuda16Inputs& inputs = own.k.inputs;
    int32_t block = inputs.leaf_block[leaf_begin];
    const int32_t last = inputs.leaf_block[leaf_end] - 1;
    own.template Prepare<0>();
    for (int32_t i = leaf_begin; i < leaf_end; ++i) {
      bool fresh = true;
      for (; block < inputs.leaf_block[i + 1]; ++block) {
        const int ends = inputs.segment_ends[block];
        Units(ends, fresh, block == last);
        fresh = Group::kQuantized && (ends & 0x80) != 0;
      }
      EndLeaf(i);
    }
  }
};

template <typename Tile>
OCTET_DEVICE void WgmmaItem(WgmmaGroup<Tile>& own, float* shared_sums, uint32_t* is_last,
                            const Linear16Item& item) {
  const Linear16Kernel& k = own.k;
  const int thread = own.group * 128 + own.thread;
  typename Tile::Stack stack(k, shared_sums, thread);
  WgmmaWalk<Tile> walk = {own, stack, k.parts.leaf_begin[item.part + 1]};
  walk.Run(k.parts.leaf_begin[item.part]);
  const ValuePlace place = {
      static_cast<int64_t>(item.output_tile * Tile::kPanels + own.group * Tile::kM) *
              kCuda16PanelOutputs +
          own.thread / 32 * kCuda16SlabOutputs,
      kCuda16PanelOutputs, static_cast<int64_t>(item.row_tile) * Tile::kTokens, own.thread % 32};
  EndItem(
      k, item, place, thread == 0, is_last, [] { hw::bar_sync(1, Tile::kComputing); }, stack,
      walk.leaf);
}

template <typename Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    Linear16WgmmaKernel(const OCTET_GRID_CONSTANT Linear16Kernel k) {
  const Linear16Stage layout = Linear16Stage::Of(k, Tile::kPanels, Tile::kTokens);
  hw::Smem shared;
  WgmmaRing ring;
  ring.stages = shared.take<std::byte>(Tile::kStages * layout.bytes, 1024);
  float* sums = k.shared_levels == 0
                    ? nullptr
                    : shared.take<float>(k.shared_levels * Tile::Stack::kLevelFloats);
  auto* is_last = shared.take<uint32_t>(1);
  ring.full = shared.take<uint64_t>(Tile::kStages);
  ring.empty = shared.take<uint64_t>(Tile::kStages);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    for (int i = 0; i < Tile::kStages; ++i) {
      hw::mbar_init(&ring.full[i], Tile::kProducers + 1);
      hw::mbar_init(&ring.empty[i], Tile::kComputing / 32);
    }
    hw::fence_mbar_init();
  }
  __syncthreads();
  if (thread >= Tile::kComputing) {
    if constexpr (Tile::kGroups == 2) hw::setmaxnreg_dec<24>();
    WgmmaProducer<Tile> producer = {k, layout, ring, thread - Tile::kComputing, hw::evict_first()};
    for (int32_t i = blockIdx.x; i < k.items; i += gridDim.x) producer.Item(ItemOf(k, i));
    producer.Finish();
  } else {
    if constexpr (Tile::kGroups == 2) hw::setmaxnreg_inc<240>();
    WgmmaGroup<Tile> own = {k, layout, ring, thread % 128, thread / 128};
    for (int32_t i = blockIdx.x; i < k.items; i += gridDim.x) {
      WgmmaItem(own, sums, is_last, ItemOf(k, i));
    }
  }
}

template <typename Tile>
void LaunchLinear16Wgmma(const Linear16Plan& plan, const Linear16Kernel& k, Stream& stream) {
  CheckTile<Tile>(plan);
  hw::SmemPlan shared;
  shared.add<std::byte>(Tile::kStages * plan.stage_bytes, 1024);
  shared.add<float>(k.shared_levels * Tile::Stack::kLevelFloats);
  shared.add<uint32_t>(1);
  shared.add<uint64_t>(Tile::kStages);
  shared.add<uint64_t>(Tile::kStages);
  OCTET_LAUNCH(Linear16WgmmaKernel<Tile>, Linear16Grid(plan, stream), dim3(Tile::kThreads),
               shared.bytes(), stream, k);
}

}  // namespace octet::kernels::cuda
