#include "base/device/primitives.cuh"
#include "tests/base/device/conformance.h"

namespace octet::conformance {
namespace {

// Four chunks of 256 words by 64 threads: full copies in two groups, then masked ones, then words.
__global__ void AsyncCopiesKernel(const uint32_t* in, uint32_t* out) {
  hw::Smem shared;
  auto* stage = shared.take<uint32_t>(1024, 128);
  const uint32_t i = threadIdx.x;
  hw::cp_async16(stage + 4 * i, in + 4 * i);
  hw::cp_async_commit();
  hw::cp_async16(stage + 256 + 4 * i, in + 256 + 4 * i);
  hw::cp_async_commit();
  hw::cp_async16(stage + 512 + 4 * i, in + 512 + 4 * i, i % 3 != 0);
  for (uint32_t k = 0; k < 4; ++k)
    hw::cp_async4(stage + 768 + 64 * k + i, in + 768 + 64 * k + i, i % 5 != 0);
  hw::cp_async_commit();
  hw::cp_async_wait<2>();
  __syncthreads();
  for (uint32_t k = 0; k < 4; ++k) out[64 * k + i] = stage[64 * k + i];
  hw::cp_async_wait<0>();
  __syncthreads();
  for (uint32_t k = 4; k < 16; ++k) out[64 * k + i] = stage[64 * k + i];
}

__global__ void LoadMatricesKernel(const uint16_t* rows, uint32_t* out) {
  OCTET_SHARED(uint16_t[4 * 64], tile);
  const uint32_t lane = threadIdx.x;
  for (uint32_t k = 0; k < 8; ++k) tile[8 * lane + k] = rows[8 * lane + k];
  __syncwarp();
  uint32_t r[4];
  uint32_t pair[2];
  uint32_t* mine = out + 4 * lane;
  hw::ldmatrix_x4(r, tile + 8 * lane);
  for (int k = 0; k < 4; ++k) mine[k] = r[k];
  hw::ldmatrix_x4_trans(r, tile + 8 * lane);
  for (int k = 0; k < 4; ++k) mine[128 + k] = r[k];
  // Lanes 16..31 name rows that are not used.
  hw::ldmatrix_x2(pair, tile + 8 * (lane % 16));
  for (int k = 0; k < 2; ++k) mine[256 + k] = pair[k];
  hw::ldmatrix_x2_trans(pair, tile + 8 * (lane % 16));
  for (int k = 0; k < 2; ++k) mine[384 + k] = pair[k];
  // From registers: the first two matrices once more.
  hw::ldmatrix_x4(r, tile + 8 * lane);
  for (int k = 0; k < 2; ++k) mine[384 + 2 + k] = hw::movmatrix_trans(r[k]);
}

// Gathers fragments from dense matrices by the layouts of the PTX ISA.
template <Product kProduct, typename Sum>
__global__ void MultiplyWarpKernel(const uint8_t* a, const uint8_t* b, Sum* d) {
  constexpr int kRowBytes = 32;  // 16 elements of 16 bits, 32 of 8
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto word = [](const uint8_t* row, int column) {
    return *reinterpret_cast<const uint32_t*>(row + column);
  };
  const uint32_t fragment_a[4] = {
      word(a + g * kRowBytes, 4 * t), word(a + (g + 8) * kRowBytes, 4 * t),
      word(a + g * kRowBytes, 4 * t + 16), word(a + (g + 8) * kRowBytes, 4 * t + 16)};
  const uint32_t fragment_b[2] = {word(b + g * kRowBytes, 4 * t),
                                  word(b + g * kRowBytes, 4 * t + 16)};
  Sum* top = d + g * 8 + 2 * t;
  Sum* bottom = d + (g + 8) * 8 + 2 * t;
  Sum sums[4] = {top[0], top[1], bottom[0], bottom[1]};
  if constexpr (kProduct == Product::kBF16) hw::mma_m16n8k16_bf16(sums, fragment_a, fragment_b);
  if constexpr (kProduct == Product::kF16) hw::mma_m16n8k16_f16(sums, fragment_a, fragment_b);
  if constexpr (kProduct == Product::kS8S8) hw::mma_m16n8k32_s8s8(sums, fragment_a, fragment_b);
  if constexpr (kProduct == Product::kU8S8) hw::mma_m16n8k32_u8s8(sums, fragment_a, fragment_b);
  if constexpr (kProduct == Product::kS8U8) hw::mma_m16n8k32_s8u8(sums, fragment_a, fragment_b);
  top[0] = sums[0];
  top[1] = sums[1];
  bottom[0] = sums[2];
  bottom[1] = sums[3];
}

template <Product kProduct, typename Sum>
void LaunchMultiply(const void* a, const void* b, void* d, Stream& stream) {
  OCTET_LAUNCH(MultiplyWarpKernel<kProduct, Sum>, 1, 32, 0, stream, static_cast<const uint8_t*>(a),
               static_cast<const uint8_t*>(b), static_cast<Sum*>(d));
}

}  // namespace

void AsyncCopies(const uint32_t* in, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(AsyncCopiesKernel, 1, 64, 4096, stream, in, out);
}

void LoadMatrices(const uint16_t* rows, uint32_t* out, Stream& stream) {
  OCTET_LAUNCH(LoadMatricesKernel, 1, 32, 0, stream, rows, out);
}

void MultiplyWarp(Product product, const void* a, const void* b, void* d, Stream& stream) {
  switch (product) {
    case Product::kBF16:
      return LaunchMultiply<Product::kBF16, float>(a, b, d, stream);
    case Product::kF16:
      return LaunchMultiply<Product::kF16, float>(a, b, d, stream);
    case Product::kS8S8:
      return LaunchMultiply<Product::kS8S8, int32_t>(a, b, d, stream);
    case Product::kU8S8:
      return LaunchMultiply<Product::kU8S8, int32_t>(a, b, d, stream);
    case Product::kS8U8:
      return LaunchMultiply<Product::kS8U8, int32_t>(a, b, d, stream);
  }
}

}  // namespace octet::conformance
