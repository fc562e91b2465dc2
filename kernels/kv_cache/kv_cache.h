// Quantizes the new keys and values of a step and appends them to the paged cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device/stream.h"
#include "kernels/formats/kv_layout.h"

namespace octet::kernels {

struct AppendKvArgs {
  KvLayout layout;
  std::byte* cache = nullptr;  // one layer: [blocks] of layout.block_bytes()
  const float* k = nullptr;    // [rows, kv_heads * head_dim] f32 after RoPE, row stride kv_stride
  const float* v = nullptr;    // same
  int64_t kv_stride = 0;       // elements
  int64_t rows = 0;
  // [rows] block id * 64 + position inside the block; negative: the row is padding, and skipped.
  const int64_t* slots = nullptr;
  // [kv_heads, 2 (key, value), 2 (scale, zero)] f16 bits: static scales, of int8 alone; or null.
  const uint16_t* static_pairs = nullptr;
};

// Reads 2 * rows * kv_heads * head_dim floats, writes each row once. Rows have distinct slots. CUDA
// has the bits of the CPU; only a NaN in a bf16 cache may be another NaN.
void AppendKv(const AppendKvArgs& args, Stream& stream);
namespace cpu {
void AppendKv(const AppendKvArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void AppendKv(const AppendKvArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
