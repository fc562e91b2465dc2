// Causal attention over the paged KV cache, one family for prefill, chunked prefill and decode.
//
// Row i of a sequence at absolute position p attends to cache positions [max(0, p + 1 - window),
// p], its own included: the step's keys are appended before. The context is walked in blocks of 64
// and splits of 512 tokens anchored at absolute positions; a split runs an online softmax block by
// block, splits are merged in order. So a row's bits depend on its query and its context alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/device/stream.h"
#include "kernels/formats/kv_layout.h"

namespace octet::kernels {

// Consecutive rows of one sequence.
struct AttentionSequence {
  int64_t row_begin = 0;
  int64_t row_count = 0;
  int64_t first_position = 0;            // absolute position of row_begin
  const int32_t* block_table = nullptr;  // [ceil((first_position + row_count) / 64)] block ids
};

// Query heads [head_begin, head_begin + head_count) of this rank read kv head `kv_head` of this
// rank.
struct HeadGroup {
  int32_t kv_head = 0;
  int32_t head_begin = 0;
  int32_t head_count = 0;
};

struct AttentionArgs {
  KvLayout layout;
  const std::byte* cache = nullptr;  // one layer: [blocks] of layout.block_bytes()
  const float* q = nullptr;          // [rows, heads * head_dim] f32 after RoPE, stride q_stride
  int64_t q_stride = 0;              // elements
  float* out = nullptr;              // [rows, heads * head_dim] f32, stride out_stride
  int64_t out_stride = 0;            // elements
  std::span<const AttentionSequence> sequences;
  std::span<const HeadGroup> groups;  // cover all heads of this rank
  float scale = 1.0f;                 // usually head_dim^-0.5
  int64_t window = 0;                 // sliding window in tokens; 0: full
  std::byte* workspace = nullptr;     // AttentionWorkspaceBytes
};

// Scratch of each thread; `heads` of this rank.
int64_t AttentionWorkspaceBytes(int64_t heads, int64_t head_dim, int threads);

void Attention(const AttentionArgs& args, Stream& stream);
namespace cpu {
void Attention(const AttentionArgs& args, Stream& stream);
}
namespace cuda {
OCTET_CUDA_OP void Attention(const AttentionArgs& args, Stream& stream);
}  // namespace cuda

}  // namespace octet::kernels
