#include "kernels/kv_cache/kv_cache.h"
#include "kernels/kv_cache/rope_append.h"
#include "kernels/rope/rope.h"

namespace octet::kernels::cpu {

void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream) {
  const KvLayout& layout = args.layout;
  float* k = args.qkv + args.heads * layout.head_dim;
  Rope({.x = args.qkv,
        .x_stride = args.stride,
        .cos = args.cos,
        .sin = args.sin,
        .rows = args.rows,
        .heads = args.heads + layout.kv_heads,
        .head_dim = layout.head_dim,
        .rotary_dim = args.rotary_dim},
       stream);
  AppendKv({.layout = layout,
            .cache = args.cache,
            .k = k,
            .v = k + layout.kv_heads * layout.head_dim,
            .kv_stride = args.stride,
            .rows = args.rows,
            .slots = args.slots},
           stream);
}

}  // namespace octet::kernels::cpu
