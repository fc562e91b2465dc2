#include "kernels/kv_cache/kv_cache.h"
#include "kernels/kv_cache/rope_append.h"
#include "kernels/rope/rope.h"

namespace octet::kernels::cpu {
namespace {

void Guard(const RopeAppendKvArgs& args, int64_t row) {
  const int64_t q_width = args.heads * args.layout.head_dim;
  const int64_t kv_width = args.layout.kv_heads * args.layout.head_dim;
  const float* factor = args.key_guard;
  const float* k_taken = factor + q_width + kv_width;
  float* q = args.qkv + row * args.stride;
  float* k = q + q_width;
  for (int64_t i = 0; i < q_width; ++i) q[i] *= factor[i];
  for (int64_t i = 0; i < kv_width; ++i) k[i] = (k[i] - k_taken[i]) * factor[q_width + i];
}

void ScaleQueries(const RopeAppendKvArgs& args, Stream& stream) {
  const int64_t width = args.heads * args.layout.head_dim;
  stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* q = args.qkv + row * args.stride;
      for (int64_t i = 0; i < width; ++i) q[i] *= args.query_scale[row];
    }
  });
}

}  // namespace

void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream) {
  const KvLayout& layout = args.layout;
  float* k = args.qkv + args.heads * layout.head_dim;
  if (args.rotary_dim > 0) {
    Rope({.x = args.qkv,
          .x_stride = args.stride,
          .cos = args.cos,
          .sin = args.sin,
          .rows = args.rows,
          .heads = args.heads + layout.kv_heads,
          .head_dim = layout.head_dim,
          .rotary_dim = args.rotary_dim},
         stream);
  }
  if (args.key_guard != nullptr) {
    stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) Guard(args, row);
    });
  }
  if (args.query_scale != nullptr) ScaleQueries(args, stream);
  AppendKv({.layout = layout,
            .cache = args.cache,
            .k = k,
            .v = k + layout.kv_heads * layout.head_dim,
            .kv_stride = args.stride,
            .rows = args.rows,
            .slots = args.slots,
            .static_pairs = args.static_pairs},
           stream);
}

}  // namespace octet::kernels::cpu
