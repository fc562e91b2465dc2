#include "base/dtype.h"
#include "kernels/isa.h"
#include "kernels/kv_cache/kv_cache.h"
#include "kernels/kv_cache/kv_cache_isa.h"

namespace octet::kernels::cpu {
namespace {

void StoreBF16(const float* values, int64_t count, std::byte* out) {
  auto* bits = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < count; ++i) bits[i] = FloatToBF16(values[i]);
}

// One token's vector; `scales` is where its pairs of scale and zero go, `given` a static pair or
// null.
void StoreVector(const KvLayout& layout, const KvCacheBody& body, const float* values,
                 const uint16_t* given, std::byte* data, std::byte* scales) {
  const int64_t dim = layout.head_dim;
  auto* pairs = reinterpret_cast<uint16_t*>(scales);
  switch (layout.format) {
    case KvFormat::kBF16:
      return StoreBF16(values, dim, data);
    case KvFormat::kInt8:
      return body.quantize_int8(values, dim, given, reinterpret_cast<int8_t*>(data), pairs);
    case KvFormat::kInt4:
      return body.quantize_int4(values, dim, reinterpret_cast<uint8_t*>(data), pairs);
  }
}

void AppendRow(const AppendKvArgs& args, const KvCacheBody& body, int64_t row) {
  const KvLayout& layout = args.layout;
  const int64_t dim = layout.head_dim;
  if (args.slots[row] < 0) return;
  const int64_t token = args.slots[row] % kKvBlockTokens;
  std::byte* block = args.cache + args.slots[row] / kKvBlockTokens * layout.block_bytes();
  const int64_t data_at = token * layout.vector_bytes();
  const int64_t scale_at =
      token * layout.scale_groups() * 2 * static_cast<int64_t>(sizeof(uint16_t));
  for (int64_t head = 0; head < layout.kv_heads; ++head) {
    const float* k = args.k + row * args.kv_stride + head * dim;
    const float* v = args.v + row * args.kv_stride + head * dim;
    const uint16_t* k_given = args.static_pairs != nullptr ? args.static_pairs + 4 * head : nullptr;
    const uint16_t* v_given = k_given != nullptr ? k_given + 2 : nullptr;
    StoreVector(layout, body, k, k_given, block + layout.k_data(head) + data_at,
                block + layout.k_scale(head) + scale_at);
    StoreVector(layout, body, v, v_given, block + layout.v_data(head) + data_at,
                block + layout.v_scale(head) + scale_at);
  }
}

}  // namespace

void AppendKv(const AppendKvArgs& args, Stream& stream) {
  const KvCacheBody& body = OfActiveIsa(kPlainKvCache, kAvx2KvCache, kAvx512KvCache);
  stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) AppendRow(args, body, row);
  });
}

}  // namespace octet::kernels::cpu
