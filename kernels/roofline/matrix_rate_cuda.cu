// The matrix loop by mma.sync: every warp holds its operands, all ones, in registers, and adds to
// eight products in turn. Bytes moved: 4 a block.
#include "base/device/primitives.cuh"
#include "kernels/roofline/matrix_rate.h"
#include "kernels/roofline/matrix_tiles.h"

namespace octet::kernels::cuda {
namespace {

constexpr uint32_t kOnesBf16 = 0x3F803F80u;
constexpr uint32_t kOnesInt8 = 0x01010101u;

template <typename Sum>
__global__ void __launch_bounds__(kMatrixLoopThreads)
    MmaLoop(uint32_t ones, int64_t iterations, Sum* elements) {
  const uint32_t a[4] = {ones, ones, ones, ones};
  const uint32_t b[2] = {ones, ones};
  Sum d[kMmaTilesOfWarp][4] = {};
  for (int64_t i = 0; i < iterations; ++i) {
#pragma unroll
    for (int tile = 0; tile < kMmaTilesOfWarp; ++tile) {
      if constexpr (std::is_same_v<Sum, float>) {
        hw::mma_m16n8k16_bf16(d[tile], a, b);
      } else {
        hw::mma_m16n8k32_s8s8(d[tile], a, b);
      }
    }
  }
  Sum sum = d[0][0];
#pragma unroll
  for (int tile = 1; tile < kMmaTilesOfWarp; ++tile) sum = max(sum, d[tile][3]);
  if (threadIdx.x == 0) elements[blockIdx.x] = sum;
}

}  // namespace

void MatrixLoopMma(const MatrixLoopArgs& args, Stream& stream) {
  const dim3 grid(static_cast<unsigned>(args.blocks));
  const dim3 block(kMatrixLoopThreads);
  if (args.int8) {
    OCTET_LAUNCH(MmaLoop<int32_t>, grid, block, 0, stream, kOnesInt8, args.iterations,
                 reinterpret_cast<int32_t*>(args.elements));
  } else {
    OCTET_LAUNCH(MmaLoop<float>, grid, block, 0, stream, kOnesBf16, args.iterations, args.elements);
  }
}

}  // namespace octet::kernels::cuda
