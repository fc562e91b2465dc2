// The two kernels of one format and head dim, and their launches: one for narrow tiles, one for
// wide ones, each a fixed number of workers (thread blocks) that walk their lists of the plan and
// leave at once when they have none.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/attention/attention_narrow.cuh"
#include "kernels/attention/attention_wide.cuh"

namespace octet::kernels {

template <class Shape>
__global__ void __launch_bounds__(Shape::kNarrowThreads, 2)
    NarrowAttentionKernel(AttentionKernelArgs args) {
  hw::let_next_begin();
  if (args.begin[blockIdx.x] == args.begin[blockIdx.x + 1]) {
    return hw::wait_for_past();  // what comes next relies on it
  }
  hw::Smem smem;
  NarrowShared<Shape> shared = NarrowShared<Shape>::Take();
  shared.stages = args.stages;
  shared.halves = smem.take<unsigned char>(Shape::NarrowBytes(args.stages));
  shared.scales = shared.halves + Shape::kDataBytes;
  shared.half_bytes = Shape::kHalfBytes;
  shared.scale_bytes = Shape::kHalfBytes;
  FillRests<Shape>(shared.halves, Shape::NarrowBytes(args.stages));
  CopiedRing<Shape> ring(args, shared);
  ring.FillOld();
  AttendNarrowItems<Shape>(args, shared, ring);
  ring.Close();
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kWideThreads, 2)
    WideAttentionKernel(AttentionKernelArgs args) {
  hw::let_next_begin();
  hw::wait_for_past();
  OCTET_SHARED(uint32_t[1], last);
  hw::Smem smem;
  WideShared shared;
  shared.stages = args.stages;
  shared.halves = smem.take<unsigned char>(args.stages * Shape::kHalfBytes);
  shared.lanes = smem.take<float>(Shape::kWideLaneFloats * Shape::kWideThreads);
  if constexpr (Shape::kWideQueryWords > 0) {
    shared.queries = smem.take<uint2>(Shape::kWideQueryWords * Shape::kWideThreads);
  }
  shared.last = last;
  FillRests<Shape>(shared.halves, args.stages * Shape::kHalfBytes);
  AttendWideItems<Shape>(args, shared);
}

inline AttentionKernelArgs KernelArgsOf(const AttentionArgs& args) {
  const AttentionDevicePlan& plan = args.plan;
  AttentionKernelArgs kernel;
  kernel.cache = args.cache;
  kernel.block_bytes = args.layout.block_bytes();
  kernel.block_tables = args.block_tables;
  kernel.q = args.q;
  kernel.q_stride = args.q_stride;
  kernel.out = args.out;
  kernel.out_stride = args.out_stride;
  if (!args.y.empty()) {
    const bool bf16 = args.y.format == ActivationFormat::kBF16;
    kernel.out = bf16 ? nullptr : static_cast<float*>(args.y.values);
    kernel.out_bf16 = bf16 ? static_cast<uint16_t*>(args.y.values) : nullptr;
    kernel.out_stride = args.y.stride;
  }
  kernel.scale = args.scale;
  kernel.window = static_cast<int32_t>(args.window);
  kernel.groups = reinterpret_cast<const HeadGroup*>(plan.bytes + plan.group_list());
  kernel.items = reinterpret_cast<const AttentionItem*>(plan.bytes + plan.item_list());
  kernel.tickets = reinterpret_cast<uint32_t*>(args.workspace);
  kernel.states = reinterpret_cast<float*>(args.workspace + plan.state_list());
  return kernel;
}

// attention_narrow_boxes.cuh: int8 of 128 on sm_90.
void LaunchNarrowBoxes(const AttentionArgs& args, Stream& stream);

template <class Shape>
void LaunchAttention(const AttentionArgs& args, Stream& stream) {
  OCTET_CHECK_EQ(args.layout.head_bytes(), Shape::kHeadBytes);
  const AttentionDevicePlan& plan = args.plan;
  const int64_t room = stream.info().shared_bytes_per_block;
  const dim3 grid(static_cast<unsigned>(plan.workers));
  AttentionKernelArgs kernel = KernelArgsOf(args);
  const auto run = [&](auto function, int threads, const AttentionLaunch& launch, int64_t begin) {
    OCTET_CHECK_GT(launch.stages, 0);
    kernel.begin = reinterpret_cast<const int32_t*>(plan.bytes + begin);
    kernel.stages = launch.stages;
    OCTET_LAUNCH_EARLY(function, grid, dim3(threads), launch.shared_bytes, stream, kernel);
  };
  const bool boxes = stream.info().has_wgmma() && BoxLaunch<Shape>(room).blocks_per_processor == 2;
  if (boxes && plan.narrow_tiles) {
    LaunchNarrowBoxes(args, stream);
  } else if (plan.narrow_tiles) {
    run(NarrowAttentionKernel<Shape>, Shape::kNarrowThreads, NarrowLaunch<Shape>(room),
        plan.narrow_begin());
  }
  if (plan.wide_tiles)
    run(WideAttentionKernel<Shape>, Shape::kWideThreads, WideLaunch<Shape>(room),
        plan.wide_begin());
}

// One for each format, in a file of its own.
void LaunchInt8Attention(const AttentionArgs& args, Stream& stream);
void LaunchInt4Attention(const AttentionArgs& args, Stream& stream);
void LaunchBF16Attention(const AttentionArgs& args, Stream& stream);

}  // namespace octet::kernels
