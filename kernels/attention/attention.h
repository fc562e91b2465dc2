// Causal attention over the paged KV cache, one family for prefill, chunked prefill and decode.
//
// Row i of a sequence at absolute position p attends to cache positions [max(0, p + 1 - window),
// p], its own included: the step's keys are appended before. The context is walked in blocks of 64
// and splits of 512 tokens anchored at absolute positions; a split runs an online softmax block by
// block, splits are merged in order. So a row's bits depend on its query and its context alone.
//
// Bytes read: each block of a kv head once for a tile of rows (64 vectors of a row and a query head
// on a device, 32 on the CPU), so once for a decode row. Operations: 4 head_dim for each key that a
// vector sees. Errors: README.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/device/stream.h"
#include "kernels/attention/attention_plan.h"
#include "kernels/formats/kv_layout.h"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels {

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
  std::byte* workspace = nullptr;     // AttentionWorkspaceBytes; on a device see below

  // On a device, whose memory all pointers are of. The spans above stay empty there: what to do
  // comes from the plan, so that a recorded launch serves any lengths; `workspace` is
  // AttentionDevicePlan::workspace_bytes(), zeroed once, and returns to zeros where it must.
  AttentionDevicePlan plan;
  const int32_t* block_tables = nullptr;  // AttentionSequence::table_offset counts from here
  // Where not empty, f32 or bf16 rows [rows, heads * head_dim] that are written instead of `out`.
  ActivationRows y;
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
