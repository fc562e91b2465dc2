#include "base/device/primitives.cuh"
#include "tests/base/device/conformance.h"

namespace octet::conformance {
namespace {

constexpr int kRowBytes = 128;  // of K: four instructions
constexpr int kSteps = 4;
constexpr int kStepBytes = 32;

// Where the byte (row, column) of a dense [rows, 128] matrix lies in a tile: with the swizzle of
// 128 bytes, or as cores of 8 rows x 16 bytes, those along K after one another.
__device__ int TileOffset(bool swizzled, int row, int column) {
  if (swizzled) return row * kRowBytes + (column ^ (row % 8) * 16);
  return row / 8 * (8 * kRowBytes) + column / 16 * 128 + row % 8 * 16 + column % 16;
}

__device__ void FillTile(uint8_t* tile, const uint8_t* dense, int rows, bool swizzled) {
  for (int i = static_cast<int>(threadIdx.x) * 4; i < rows * kRowBytes; i += 128 * 4) {
    *reinterpret_cast<uint32_t*>(tile + TileOffset(swizzled, i / kRowBytes, i % kRowBytes)) =
        *reinterpret_cast<const uint32_t*>(dense + i);
  }
}

__device__ uint64_t TileDesc(const uint8_t* tile, bool swizzled, int step) {
  if (swizzled) return hw::smem_desc(tile + step * kStepBytes, 16, 1024, hw::Swizzle::k128);
  return hw::smem_desc(tile + step * 256, 128, 1024, hw::Swizzle::kNone);
}

template <Product kProduct, int kN, typename A, typename Sum>
__device__ void MultiplyStep(Sum (&d)[kN / 2], const A& a, uint64_t b) {
  if constexpr (kProduct == Product::kBF16) hw::wgmma_bf16<kN>(d, a, b, true);
  if constexpr (kProduct == Product::kS8S8) hw::wgmma_s8s8<kN>(d, a, b, true);
  if constexpr (kProduct == Product::kU8S8) hw::wgmma_u8s8<kN>(d, a, b, true);
  if constexpr (kProduct == Product::kS8U8) hw::wgmma_s8u8<kN>(d, a, b, true);
}

template <Product kProduct, int kN, OperandA kOperandA, bool kSwizzled, typename Sum>
__global__ void __launch_bounds__(128, 1)
    MultiplyWarpgroupKernel(const uint8_t* a, const uint8_t* b, Sum* d) {
  hw::Smem shared;
  uint8_t* tile_a = shared.take<uint8_t>(64 * kRowBytes, 1024);
  uint8_t* tile_b = shared.take<uint8_t>(kN * kRowBytes, 1024);
  FillTile(tile_a, a, 64, kSwizzled);
  FillTile(tile_b, b, kN, kSwizzled);
  hw::fence_proxy_async();
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const int row = static_cast<int>(threadIdx.x) / 32 * 16 + g;
  Sum sums[kN / 2];
  for (int i = 0; i < kN / 2; ++i)
    sums[i] = d[(row + 8 * (i / 2 % 2)) * kN + 8 * (i / 4) + 2 * t + i % 2];
  uint32_t fragments[kSteps][4];
  for (int step = 0; step < kSteps; ++step) {
    for (int i = 0; i < 4; ++i) {
      fragments[step][i] = *reinterpret_cast<const uint32_t*>(
          a + (row + 8 * (i % 2)) * kRowBytes + step * kStepBytes + 4 * t + 16 * (i / 2));
    }
  }
  hw::wgmma_fence();
  for (int step = 0; step < kSteps; ++step) {
    const uint64_t desc_b = TileDesc(tile_b, kSwizzled, step);
    if constexpr (kOperandA == OperandA::kRegisters) {
      MultiplyStep<kProduct, kN>(sums, fragments[step], desc_b);
    } else {
      MultiplyStep<kProduct, kN>(sums, TileDesc(tile_a, kSwizzled, step), desc_b);
    }
  }
  hw::wgmma_commit();
  hw::wgmma_wait<0>();
  for (int i = 0; i < kN / 2; ++i)
    d[(row + 8 * (i / 2 % 2)) * kN + 8 * (i / 4) + 2 * t + i % 2] = sums[i];
}

template <Product kProduct, int kN, OperandA kOperandA, bool kSwizzled>
void LaunchWarpgroup(const void* a, const void* b, void* d, Stream& stream) {
  using Sum = std::conditional_t<kProduct == Product::kBF16, float, int32_t>;
  const int64_t bytes =
      hw::SmemPlan().add<uint8_t>(64 * kRowBytes, 1024).add<uint8_t>(kN * kRowBytes, 1024).bytes();
  OCTET_LAUNCH(MultiplyWarpgroupKernel<kProduct, kN, kOperandA, kSwizzled, Sum>, 1, 128, bytes,
               stream, static_cast<const uint8_t*>(a), static_cast<const uint8_t*>(b),
               static_cast<Sum*>(d));
}

template <Product kProduct, int kN>
void ChooseOperands(const WarpgroupProduct& shape, const void* a, const void* b, void* d,
                    Stream& stream) {
  if (shape.a == OperandA::kRegisters && shape.swizzled)
    return LaunchWarpgroup<kProduct, kN, OperandA::kRegisters, true>(a, b, d, stream);
  if (shape.a == OperandA::kRegisters)
    return LaunchWarpgroup<kProduct, kN, OperandA::kRegisters, false>(a, b, d, stream);
  if (shape.swizzled)
    return LaunchWarpgroup<kProduct, kN, OperandA::kShared, true>(a, b, d, stream);
  LaunchWarpgroup<kProduct, kN, OperandA::kShared, false>(a, b, d, stream);
}

template <Product kProduct>
void ChooseColumns(const WarpgroupProduct& shape, const void* a, const void* b, void* d,
                   Stream& stream) {
  switch (shape.columns) {
    case 8:
      return ChooseOperands<kProduct, 8>(shape, a, b, d, stream);
    case 24:
      return ChooseOperands<kProduct, 24>(shape, a, b, d, stream);
    case 64:
      return ChooseOperands<kProduct, 64>(shape, a, b, d, stream);
    default:
      OCTET_CHECK_EQ(shape.columns, 256);
      return ChooseOperands<kProduct, 256>(shape, a, b, d, stream);
  }
}

constexpr int kStages = 2;
constexpr int kStageWords = 256;

// Warp 0 fills, warp 1 reads: each stage has a barrier that says full and one that says empty.
__global__ void BulkRingKernel(const uint32_t* in, uint32_t* out, int rounds) {
  hw::Smem shared;
  auto* full = shared.take<uint64_t>(kStages);
  auto* empty = shared.take<uint64_t>(kStages);
  auto* stages = shared.take<uint32_t>(kStages * kStageWords, 128);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      hw::mbar_init(full + s, 1);
      hw::mbar_init(empty + s, 1);
    }
    hw::fence_mbar_init();
  }
  __syncthreads();
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int round = 0; round < rounds; ++round) {
    const int s = round % kStages;
    const auto parity = static_cast<uint32_t>(round / kStages % 2);
    uint32_t* stage = stages + s * kStageWords;
    if (warp == 0 && lane == 0) {
      hw::mbar_wait(empty + s, parity ^ 1);  // the phase before the first counts as over
      hw::mbar_arrive_expect_tx(full + s, kStageWords * sizeof(uint32_t));
      hw::bulk_load(stage, in + round * kStageWords, kStageWords * 2, full + s);
      hw::bulk_load(stage + kStageWords / 2, in + round * kStageWords + kStageWords / 2,
                    kStageWords * 2, full + s, hw::evict_first());
    }
    if (warp == 1) {
      hw::mbar_wait(full + s, parity);
      for (uint32_t i = lane; i < kStageWords; i += 32) out[round * kStageWords + i] = stage[i] + 1;
      __syncwarp();
      if (lane == 0) hw::mbar_arrive(empty + s);
    }
  }
}

__global__ void TensorBoxKernel(const OCTET_GRID_CONSTANT hw::TensorMap map, int input, int row,
                                uint16_t* out) {
  hw::Smem shared;
  auto* box = shared.take<uint16_t>(kBoxRows * hw::kTensorBoxInputs, 1024);
  auto* full = shared.take<uint64_t>(1);
  if (threadIdx.x == 0) {
    hw::mbar_init(full, 1);
    hw::fence_mbar_init();
    hw::mbar_arrive_expect_tx(full, kBoxRows * hw::kTensorBoxInputs * 2);
    hw::tensor_load(box, map, input, row, full);
  }
  __syncthreads();
  hw::mbar_wait(full, 0);
  for (int i = static_cast<int>(threadIdx.x); i < kBoxRows * hw::kTensorBoxInputs; i += 64) {
    out[i] = box[i];
  }
}

// Blocks of a cluster read what their neighbours wrote, twice.
__global__ void ClustersKernel(uint32_t* out) {
  hw::wait_for_past();
  uint32_t* row = out + blockIdx.y * gridDim.x * 32;
  const uint32_t thread = threadIdx.x;
  for (uint32_t round = 1; round <= 2; ++round) {
    const uint32_t own = row[blockIdx.x * 32 + thread];
    hw::cluster_sync();
    row[blockIdx.x * 32 + thread] = own + round * (blockIdx.x + 1);
    hw::cluster_sync();
    uint32_t sum = 0;
    for (uint32_t b = 0; b < gridDim.x; ++b) sum += row[b * 32 + thread];
    hw::cluster_sync();
    row[blockIdx.x * 32 + thread] = sum;
  }
}

}  // namespace

void Clusters(uint32_t* out, Stream& stream) {
  OCTET_LAUNCH_CLUSTERS(ClustersKernel, dim3(4, 3), 32, 0, stream, out);
}

void LoadTensorBox(const TensorBoxPlace& at, const uint16_t* in, uint16_t* out, Stream& stream) {
  const hw::TensorMap map = hw::MakeTensorMap(in, at.rows, at.inputs, at.stride, kBoxRows);
  const int64_t bytes =
      hw::SmemPlan().add<uint16_t>(kBoxRows * hw::kTensorBoxInputs, 1024).add<uint64_t>(1).bytes();
  OCTET_LAUNCH(TensorBoxKernel, 1, 64, bytes, stream, map, at.input, at.row, out);
}

void MultiplyWarpgroup(const WarpgroupProduct& shape, const void* a, const void* b, void* d,
                       Stream& stream) {
  switch (shape.product) {
    case Product::kBF16:
      return ChooseColumns<Product::kBF16>(shape, a, b, d, stream);
    case Product::kS8S8:
      return ChooseOperands<Product::kS8S8, 64>(shape, a, b, d, stream);
    case Product::kU8S8:
      return ChooseOperands<Product::kU8S8, 64>(shape, a, b, d, stream);
    default:
      return ChooseOperands<Product::kS8U8, 64>(shape, a, b, d, stream);
  }
}

void BulkRing(const uint32_t* in, uint32_t* out, int rounds, Stream& stream) {
  const int64_t bytes = hw::SmemPlan()
                            .add<uint64_t>(kStages)
                            .add<uint64_t>(kStages)
                            .add<uint32_t>(kStages * kStageWords, 128)
                            .bytes();
  OCTET_LAUNCH(BulkRingKernel, 1, 64, bytes, stream, in, out, rounds);
}

}  // namespace octet::conformance
