// The matrix loop by wgmma: two warpgroups, each with 64 rows of A of its own and the 256 columns
// of B, all ones, in shared memory. Bytes moved: 4 a block.
#include "base/device/primitives.cuh"
#include "kernels/roofline/matrix_rate.h"
#include "kernels/roofline/matrix_tiles.h"

namespace octet::kernels::cuda {
namespace {

constexpr uint32_t kOnesBf16 = 0x3F803F80u;
constexpr uint32_t kOnesInt8 = 0x01010101u;
constexpr int kTileRows = 2 * kWgmmaRows + kWgmmaColumns;
constexpr int kWords = kTileRows * kWgmmaRowBytes / 4;
constexpr int64_t kAtomBytes = 1024;

template <typename Sum>
__global__ void __launch_bounds__(kMatrixLoopThreads, 1)
    WgmmaLoop(uint32_t ones, int64_t iterations, Sum* elements) {
  hw::Smem shared;
  uint32_t* const tiles = shared.take<uint32_t>(kWords, kAtomBytes);
  for (int i = threadIdx.x; i < kWords; i += kMatrixLoopThreads) tiles[i] = ones;
  hw::fence_proxy_async();
  __syncthreads();
  const auto* bytes = reinterpret_cast<const unsigned char*>(tiles);
  const unsigned char* a = bytes + threadIdx.x / 128 * kWgmmaRows * kWgmmaRowBytes;
  const unsigned char* b = bytes + 2 * kWgmmaRows * kWgmmaRowBytes;
  Sum d[kWgmmaColumns / 2] = {};
  for (int64_t i = 0; i < iterations; ++i) {
    hw::wgmma_fence();
#pragma unroll
    for (int step = 0; step < kWgmmaRowBytes; step += kWgmmaStepBytes) {
      const uint64_t of_a = hw::smem_desc(a + step, 0, kAtomBytes, hw::Swizzle::k128);
      const uint64_t of_b = hw::smem_desc(b + step, 0, kAtomBytes, hw::Swizzle::k128);
      if constexpr (std::is_same_v<Sum, float>) {
        hw::wgmma_bf16<kWgmmaColumns>(d, of_a, of_b, true);
      } else {
        hw::wgmma_s8s8<kWgmmaColumns>(d, of_a, of_b, true);
      }
    }
    hw::wgmma_commit();
    hw::wgmma_wait<0>();
    hw::wgmma_hold(d);
  }
  if (threadIdx.x == 0) elements[blockIdx.x] = d[0];
}

template <typename Sum>
void Run(uint32_t ones, const MatrixLoopArgs& args, Stream& stream) {
  const int64_t bytes = hw::SmemPlan().add<uint32_t>(kWords, kAtomBytes).bytes();
  OCTET_LAUNCH(WgmmaLoop<Sum>, dim3(static_cast<unsigned>(args.blocks)), dim3(kMatrixLoopThreads),
               bytes, stream, ones, args.iterations, reinterpret_cast<Sum*>(args.elements));
}

}  // namespace

void MatrixLoopWgmma(const MatrixLoopArgs& args, Stream& stream) {
  if (args.int8) {
    Run<int32_t>(kOnesInt8, args, stream);
  } else {
    Run<float>(kOnesBf16, args, stream);
  }
}

}  // namespace octet::kernels::cuda
