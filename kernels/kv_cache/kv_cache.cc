#include "kernels/kv_cache/kv_cache.h"

#include "kernels/dispatch.h"

namespace octet::kernels {

void AppendKv(const AppendKvArgs& args, Stream& stream) {
  const KvLayout& layout = args.layout;
  OCTET_CHECK_GE(args.rows, 0);
  OCTET_CHECK_GE(layout.kv_heads, 0);
  if (args.rows == 0 || layout.kv_heads == 0) return;
  OCTET_CHECK_GT(layout.head_dim, 0);
  OCTET_CHECK(KvFormatHolds(layout.format, layout.head_dim));
  OCTET_CHECK_GE(args.kv_stride, layout.kv_heads * layout.head_dim);
  OCTET_CHECK(args.cache != nullptr && args.k != nullptr && args.v != nullptr);
  OCTET_CHECK(args.slots != nullptr);
  OCTET_CHECK(args.static_pairs == nullptr || layout.format == KvFormat::kInt8);
  OCTET_CHECK(KvOrderSuits(layout, stream.device() == Device::kCuda));
  Dispatch(cpu::AppendKv, cuda::AppendKv, args, stream);
}

}  // namespace octet::kernels
