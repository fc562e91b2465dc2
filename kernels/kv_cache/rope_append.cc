#include "kernels/kv_cache/rope_append.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void RopeAppendKv(const RopeAppendKvArgs& args, Stream& stream) {
  const KvLayout& layout = args.layout;
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GE(args.heads, 0);
  OCTET_CHECK_GE(layout.kv_heads, 0);
  if (args.rows == 0 || args.heads + layout.kv_heads == 0) return;
  OCTET_CHECK_GT(layout.head_dim, 0);
  OCTET_CHECK(KvFormatHolds(layout.format, layout.head_dim));
  OCTET_CHECK_GE(args.rotary_dim, 0);
  OCTET_CHECK_EQ(args.rotary_dim % 2, 0);
  OCTET_CHECK_LE(args.rotary_dim, layout.head_dim);
  OCTET_CHECK_GE(args.stride, (args.heads + 2 * layout.kv_heads) * layout.head_dim);
  OCTET_CHECK(args.qkv != nullptr);
  OCTET_CHECK(args.rotary_dim == 0 || (args.cos != nullptr && args.sin != nullptr));
  OCTET_CHECK(args.slots != nullptr && (args.cache != nullptr || layout.kv_heads == 0));
  OCTET_CHECK(KvOrderSuits(layout, stream.device() == Device::kCuda));
  OCTET_CHECK(args.static_pairs == nullptr || layout.format == KvFormat::kInt8);
  Dispatch(cpu::RopeAppendKv, cuda::RopeAppendKv, args, stream);
}

}  // namespace octet::kernels
