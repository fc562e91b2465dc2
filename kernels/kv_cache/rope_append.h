// Rope of query and key heads, the scale of queries and AppendKv in one: what a layer does between
// its qkv linear and its attention. On CUDA one kernel, so that rotated keys never go through
// memory as f32.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/device/stream.h"
#include "kernels/formats/kv_layout.h"

namespace octet::kernels {

struct RopeAppendKvArgs {
  KvLayout layout;
  std::byte* cache = nullptr;  // one layer: [blocks] of layout.block_bytes()
  // [rows, (heads + 2 kv_heads) * head_dim] f32: query heads, key heads, value heads. Queries are
  // rotated in place; what is left of the keys is not specified (as they were, or rotated).
  float* qkv = nullptr;
  int64_t stride = 0;              // of qkv, elements
  const float* cos = nullptr;      // [rows, rotary_dim / 2]
  const float* sin = nullptr;      // [rows, rotary_dim / 2]
  const int64_t* slots = nullptr;  // [rows] as AppendKv has them; -1 appends nothing, and whether
                                   // the row's queries are rotated is not specified
  int64_t rows = 0;
  int64_t heads = 0;                   // of this rank; 0 is legal
  int64_t rotary_dim = 0;              // 0: nothing is rotated, and cos and sin are not read
  const float* query_scale = nullptr;  // [rows] f32 on the rotated queries, or null
};
// Bits: those of Rope, then each query times its row's scale, then AppendKv.
void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream);

namespace cpu {
void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream);
}

}  // namespace octet::kernels
