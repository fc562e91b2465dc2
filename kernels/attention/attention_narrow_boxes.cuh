// Narrow tiles on sm_90, of formats whose rows are 128 bytes: one warp more asks for the halves of
// all teams, by tensor copies (the swizzle of KvShape::Offset is the hardware's), and runs as far
// ahead as the teams' rings allow. The warps that compute give places back and know nothing of
// addresses.
#pragma once

#include <limits>

#include "base/device/ring_place.cuh"
#include "kernels/attention/attention_kernel.cuh"

namespace octet::kernels {

inline constexpr int kBoxRowBytes = 128;

// Of the places of all rings, [teams, stages] each, in shared memory.
struct BoxBarriers {
  uint64_t* full = nullptr;   // a half has come
  uint64_t* empty = nullptr;  // a team's warps are done with it

  template <class Shape>
  OCTET_DEVICE_BODY void Init() const {
    for (int i = 0; i < kNarrowTeams * kBoxStages; ++i) {
      hw::mbar_init(&full[i], 1);
      hw::mbar_init(&empty[i], Shape::kTeamWarps);
    }
    hw::fence_mbar_init();
  }
};

// One team's ring, as the warps that compute see it.
template <class Shape>
class BoxRing {
 public:
  OCTET_DEVICE_BODY explicit BoxRing(const BoxBarriers& barriers) : barriers_(barriers) {}

  OCTET_DEVICE_BODY void Fill() {}  // FeedTeams does

  // The place of the next half, which is there.
  OCTET_DEVICE_BODY int Next() {
    const int slot = next_.slot;
#if OCTET_PLANTED_BUG != 6  // a half is used before it is there
    hw::mbar_wait(&barriers_.full[Index(slot)], next_.parity);
#endif
    next_.Advance(kBoxStages);
    return slot;
  }

  // The place that Next gave.
  OCTET_DEVICE_BODY int Newest() const { return (next_.slot == 0 ? kBoxStages : next_.slot) - 1; }

  // The warp is done with the half: another may take its place.
  OCTET_DEVICE_BODY void Release(int slot) {
#if OCTET_PLANTED_BUG != 7  // a place is given back while other lanes still read it
    __syncwarp();
#endif
    if (threadIdx.x % 32 == 0) hw::mbar_arrive(&barriers_.empty[Index(slot)]);
  }
  // The same of a half where warps have left results, when all have met since and have read them.
  OCTET_DEVICE_BODY void ReleaseWritten(int slot) {
#if OCTET_PLANTED_BUG != 8
    hw::fence_proxy_async();  // what this thread wrote there is over before a copy takes the place
#endif
    Release(slot);
  }

 private:
  OCTET_DEVICE_BODY static int Index(int slot) { return TeamOfThread<Shape>() * kBoxStages + slot; }

  const BoxBarriers& barriers_;
  RingPlace next_;
};

// Asks for the halves of all items: lane t for those of team t, in the order in which the team uses
// them. Blocks of settled tokens are asked for before the kernels ahead are done.
template <class Shape>
OCTET_DEVICE_BODY void FeedTeams(const AttentionKernelArgs& args, const hw::TensorMap& cache,
                                 const NarrowShared<Shape>& shared, const BoxBarriers& barriers) {
  constexpr int kHeadRows = Shape::kHeadBytes / kBoxRowBytes;
  const auto team = static_cast<int>(threadIdx.x) % 32;
  const auto block_rows = static_cast<int32_t>(args.block_bytes / kBoxRowBytes);
  RingPlace next;
  bool past = false;  // the kernels ahead are done
  const int item_end = args.begin[blockIdx.x + 1];
  for (int i = args.begin[blockIdx.x]; i < item_end; ++i) {
    const AttentionItem& item = args.items[i];
    const ItemRange range = RangeOf(item, args.window);
    const int group_end = item.group_end;
    const int settled = item.settled;
    const int32_t* table = args.block_tables + item.table_offset;
    for (int group = item.group_begin; group < group_end; ++group) {
      const int32_t kv_head = args.groups[group].kv_head;
#pragma unroll 1  // few instructions are better than fast ones here: they share the cache
      for (int block = range.first / kNarrowTeams * kNarrowTeams; block <= range.last;
           block += kNarrowTeams) {
        const int newest = min(block + kNarrowTeams - 1, range.last);
        if (!past && (newest + 1) * kBlockTokens > settled) {
          hw::wait_for_past();
          past = true;
        }
        const int own = block + team;
        if (team >= kNarrowTeams || own < range.first || own > range.last) continue;
        const int32_t block_id = table[own];
        const std::byte* pairs = args.cache + block_id * args.block_bytes +
                                 int64_t{kv_head} * Shape::kHeadBytes + 2 * Shape::kCacheDataBytes;
#pragma unroll
        for (int value = 0; value < 2; ++value) {
          const int place = team * kBoxStages + next.slot;
          hw::mbar_wait(&barriers.empty[place], next.parity ^ 1);
          uint64_t* full = &barriers.full[place];
          hw::mbar_arrive_expect_tx(full, Shape::kHalfBytes);
          hw::tensor_load(shared.half(team, next.slot), cache, 0,
                          block_id * block_rows + kv_head * kHeadRows + value * kBlockTokens, full);
          hw::bulk_load(shared.pairs(team, next.slot), pairs + value * Shape::kPairBytes,
                        Shape::kPairBytes, full);
          next.Advance(kBoxStages);
        }
      }
    }
  }
  if (!past) hw::wait_for_past();
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kNarrowThreads + 32, 2)
    NarrowBoxAttentionKernel(AttentionKernelArgs args,
                             const OCTET_GRID_CONSTANT hw::TensorMap cache) {
  static_assert(Shape::kBoxes && Shape::kRowBytes == kBoxRowBytes);
  static_assert(kNarrowVectors * Shape::kPartialFloats * 4 <= Shape::kDataBytes);
  hw::let_next_begin();
  OCTET_SHARED(uint64_t[2 * kNarrowTeams * kBoxStages], barriers_of_places);
  const int item_begin = args.begin[blockIdx.x];
  const int item_end = args.begin[blockIdx.x + 1];
  hw::Smem smem;
  NarrowShared<Shape> shared = NarrowShared<Shape>::Take();
  shared.stages = kBoxStages;
  shared.halves = smem.take<unsigned char>(Shape::NarrowBytes(kBoxStages), 1024);
  shared.scales = shared.halves + kNarrowTeams * kBoxStages * Shape::kDataBytes;
  shared.half_bytes = Shape::kDataBytes;
  shared.scale_bytes = Shape::kPairBytes;
  const BoxBarriers barriers = {barriers_of_places, barriers_of_places + kNarrowTeams * kBoxStages};
  if (threadIdx.x == 0) barriers.Init<Shape>();
  if (threadIdx.x == Shape::kNarrowThreads) hw::tensor_prefetch(cache);
  __syncthreads();
  if (item_begin == item_end) return hw::wait_for_past();  // what comes next relies on it
  if (threadIdx.x >= Shape::kNarrowThreads) {
    FeedTeams<Shape>(args, cache, shared, barriers);
  } else {
    BoxRing<Shape> ring(barriers);
    AttendNarrowItems<Shape>(args, shared, ring);
  }
}

template <class Shape>
void LaunchBoxes(const AttentionArgs& args, Stream& stream) {
  AttentionKernelArgs kernel = KernelArgsOf(args);
  kernel.begin = reinterpret_cast<const int32_t*>(args.plan.bytes + args.plan.narrow_begin());
  OCTET_CHECK_EQ(kernel.block_bytes % kBoxRowBytes, 0);
  // All of device memory behind the cache: how far it goes is not known here, and blocks are in it.
  const hw::TensorMap cache =
      hw::MakeTensorMap(args.cache, std::numeric_limits<int32_t>::max(), hw::kTensorBoxInputs,
                        hw::kTensorBoxInputs, kBlockTokens);
  OCTET_LAUNCH_EARLY(
      NarrowBoxAttentionKernel<Shape>, dim3(static_cast<unsigned>(args.plan.workers)),
      dim3(Shape::kNarrowThreads + 32), Shape::NarrowBytes(kBoxStages), stream, kernel, cache);
}

}  // namespace octet::kernels
