// HeadNorm: a warp takes a head, which its registers hold. Bytes moved: 4 read and 4 written an
// element; the weights stay in the caches.
//
// The order of a head's sum follows from head_dim alone: lane l adds the squares of elements l,
// l + 32, ... with fmaf, then the lanes are added by the butterfly of SumOfLanes.
#include "base/check.h"
#include "kernels/norm/head_norm.h"
#include "kernels/rows.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRuns = 8;  // elements of one lane
constexpr int kHeadDimMax = 32 * kRuns;

// Blocks: a row in x, kThreads / 32 of its heads in y.
__global__ void __launch_bounds__(kThreads) NormHeads(const HeadNormArgs p) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int head = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) / 32;
  if (head >= static_cast<int>(p.heads + p.kv_heads)) return;  // the whole warp
  const int head_dim = static_cast<int>(p.head_dim);
  float* x = p.x + int64_t{blockIdx.x} * p.x_stride + int64_t{head} * head_dim;
  const float* weight = head < static_cast<int>(p.heads) ? p.q_weight : p.k_weight;
  float held[kRuns];
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kRuns; ++j) {
    const int index = j * 32 + lane;
    if (index >= head_dim) continue;
    held[j] = x[index];
    sum = fmaf(held[j], held[j], sum);
  }
  const float inverse = 1.0f / sqrtf(SumOfLanes(sum) / static_cast<float>(head_dim) + p.eps);
#pragma unroll
  for (int j = 0; j < kRuns; ++j) {
    const int index = j * 32 + lane;
    if (index < head_dim) x[index] = held[j] * inverse * weight[index];
  }
}

}  // namespace

void HeadNorm(const HeadNormArgs& args, Stream& stream) {
  OCTET_CHECK_LE(args.head_dim, kHeadDimMax);
  const int64_t blocks = ((args.heads + args.kv_heads) * 32 + kThreads - 1) / kThreads;
  OCTET_LAUNCH_EARLY(NormHeads,
                     dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(blocks)),
                     dim3(kThreads), 0, stream, args);
}

}  // namespace octet::kernels::cuda
