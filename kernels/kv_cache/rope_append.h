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
  int64_t heads = 0;       // of this rank; 0 is legal
  int64_t rotary_dim = 0;  // 0: nothing is rotated, and cos and sin are not read
  // As AppendKv has them, or null.
  const uint16_t* static_pairs = nullptr;
  // Null, or [(heads + 2 kv_heads) * head_dim] f32 in the places of a row of qkv: what rotated
  // queries and keys are multiplied with, and in place of the values what is taken from rotated
  // keys before. Attention is the same where a query's factor is the inverse of its key's: what is
  // taken adds one number to all scores of a query.
  const float* key_guard = nullptr;
  const float* query_scale = nullptr;  // [rows] f32 on the rotated queries, or null
};
// Bits: those of Rope, then the guard (a difference, a product), then each query times its row's
// scale, then AppendKv.
void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream);

namespace cpu {
void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream);
}

}  // namespace octet::kernels
