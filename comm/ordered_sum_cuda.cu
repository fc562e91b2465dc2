// The ordered sum on a device: one thread for each element, or for four neighbours where all
// addresses allow. Limited by memory: see the header for its bytes.
#include "base/device/primitives.cuh"
#include "base/device/sum_stack.cuh"
#include "comm/ordered_sum.h"

namespace octet::comm {
namespace {

constexpr int kThreads = 128;    // small: a decode step's few elements still spread over the device
constexpr int kRootsAtOnce = 8;  // loads in flight before the first addition

OCTET_DEVICE int MergesAfter(const OrderedSumArgs& args, int root) {
#if OCTET_PLANTED_BUG == 2  // from left to right, not up the tree
  return root == 0 ? 0 : static_cast<int>(args.root_count > 0);
#else
  return args.merges[root];
#endif
}

template <int kWidth, int kDepth>
__global__ void OrderedSumKernel(const OrderedSumArgs args) {
  const int64_t first = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * kWidth;
#if OCTET_PLANTED_BUG != 1  // the last block reads and writes on
  if (first >= args.count) return;
#endif
  SumStack<kWidth, kDepth> stack;
  for (int begin = 0; begin < args.root_count; begin += kRootsAtOnce) {
    Floats<kWidth> loaded[kRootsAtOnce];
#pragma unroll
    for (int i = 0; i < kRootsAtOnce; ++i) {
      if (begin + i < args.root_count)
        loaded[i] = Floats<kWidth>::Load(args.roots[begin + i] + first);
    }
#pragma unroll
    for (int i = 0; i < kRootsAtOnce; ++i) {
      if (begin + i < args.root_count) stack.Take(loaded[i], MergesAfter(args, begin + i));
    }
  }
  stack.top().Store(args.out + first);
}

template <int kWidth>
void Start(const OrderedSumArgs& args, Stream& stream) {
  constexpr int kShallow = 4;  // the trees of 8 ranks with a root each
  constexpr int64_t kElements = int64_t{kThreads} * kWidth;
  const dim3 grid(static_cast<unsigned>((args.count + kElements - 1) / kElements));
  if (args.depth <= kShallow) {
    OCTET_LAUNCH((OrderedSumKernel<kWidth, kShallow>), grid, dim3(kThreads), 0, stream, args);
  } else {
    OCTET_LAUNCH((OrderedSumKernel<kWidth, kSumDepthMax>), grid, dim3(kThreads), 0, stream, args);
  }
}

bool AllAlignedToFour(const OrderedSumArgs& args) {
  auto bits = reinterpret_cast<uintptr_t>(args.out) | static_cast<uintptr_t>(args.count * 4);
  for (int32_t i = 0; i < args.root_count; ++i) {
    bits |= reinterpret_cast<uintptr_t>(args.roots[i]);
  }
  return bits % sizeof(float4) == 0;
}

}  // namespace

void cuda::OrderedSum(const OrderedSumArgs& args, Stream& stream) {
  OCTET_CHECK_GE(args.root_count, 1);
  if (args.count == 0) return;
  AllAlignedToFour(args) ? Start<4>(args, stream) : Start<1>(args, stream);
}

}  // namespace octet::comm
