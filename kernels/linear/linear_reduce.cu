// A thread takes four neighbouring outputs of one row (or one output, where rows are not multiples
// of four long) through the program. Sums are loaded eight at a time, so that their latencies
// overlap; those that wait lie in shared memory, in a place of the thread's own.
#include "kernels/linear/linear_reduce.h"

#include "base/check.h"
#include "base/device/primitives.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kLoadsAtOnce = 8;

struct Kernel {
  const float* sums;
  const float* bias;
  float* out;
  int64_t elements;  // rows * outputs
  int64_t outputs;
  SumProgram program;
};

OCTET_DEVICE float4 Add(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
OCTET_DEVICE float Add(float a, float b) { return a + b; }

template <typename Vector>
__global__ void __launch_bounds__(kThreads) ReduceKernel(const OCTET_GRID_CONSTANT Kernel k) {
  hw::let_next_begin();
  hw::wait_for_past();
  hw::Smem shared;
  Vector* stack = shared.take<Vector>(kThreads * k.program.depth) + threadIdx.x;
  constexpr int64_t kWidth = sizeof(Vector) / sizeof(float);
  const int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kWidth;
  if (at >= k.elements) return;
  int32_t held = 0;
  for (int32_t first = 0; first < k.program.count; first += kLoadsAtOnce) {
    Vector loaded[kLoadsAtOnce];
#pragma unroll
    for (int i = 0; i < kLoadsAtOnce; ++i) {
#if OCTET_PLANTED_BUG == 5
      const int64_t sum = first + i;
#else
      const int64_t sum = min(first + i, k.program.count - 1);
#endif
      loaded[i] = *reinterpret_cast<const Vector*>(k.sums + sum * k.elements + at);
    }
#pragma unroll
    for (int i = 0; i < kLoadsAtOnce; ++i) {
      if (first + i >= k.program.count) break;
      Vector sum = loaded[i];
      for (int merge = 0; merge < k.program.merges[first + i]; ++merge) {
        sum = Add(stack[--held * kThreads], sum);
      }
      stack[held++ * kThreads] = sum;
    }
  }
  for (int32_t root = 0; root < k.program.roots; ++root) {
    Vector sum = stack[root * kThreads];
    if (k.bias != nullptr) {
      sum = Add(sum, *reinterpret_cast<const Vector*>(k.bias + at % k.outputs));
    }
    *reinterpret_cast<Vector*>(k.out + root * k.elements + at) = sum;
  }
}

bool IsAligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

void LinearReduce(const LinearReduceArgs& args, Stream& stream) {
  const Kernel k = {args.sums,    args.bias,   args.out, args.rows * args.outputs,
                    args.outputs, args.program};
  if (k.elements == 0) return;
  const bool by_four =
      args.outputs % 4 == 0 && IsAligned(args.sums) && IsAligned(args.out) && IsAligned(args.bias);
  const int64_t vectors = by_four ? k.elements / 4 : k.elements;
  const dim3 grid(static_cast<unsigned>((vectors + kThreads - 1) / kThreads));
  const int64_t slots = int64_t{kThreads} * args.program.depth;
  if (by_four) {
    const int64_t bytes = hw::SmemPlan().add<float4>(slots).bytes();
    OCTET_LAUNCH_EARLY(ReduceKernel<float4>, grid, dim3(kThreads), bytes, stream, k);
  } else {
    const int64_t bytes = hw::SmemPlan().add<float>(slots).bytes();
    OCTET_LAUNCH_EARLY(ReduceKernel<float>, grid, dim3(kThreads), bytes, stream, k);
  }
}

}  // namespace octet::kernels::cuda
