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

// A token's codes in the order of fours, to a part's data.
void StoreKeyFours(const int8_t* codes, int64_t dim, int64_t token, std::byte* data) {
  for (int64_t c = 0; c < dim; ++c) {
    data[(c / 4 * kKvBlockTokens + token) * 4 + c % 4] = static_cast<std::byte>(codes[c] + 128);
  }
}
void StoreValueFours(const int8_t* codes, int64_t dim, int64_t token, std::byte* data) {
  std::byte* to = data + token / 4 * dim * 4 + token % 4;
  for (int64_t c = 0; c < dim; ++c) to[c * 4] = static_cast<std::byte>(codes[c]);
}

// A token's key or value: `data` and `scales` are the head's part of a block, `given` a static pair
// or null.
void StoreVector(const KvLayout& layout, const KvCacheBody& body, const float* values,
                 const uint16_t* given, bool is_key, int64_t token, std::byte* data,
                 std::byte* scales) {
  const int64_t dim = layout.head_dim;
  auto* pairs = reinterpret_cast<uint16_t*>(scales) + token * layout.scale_groups() * 2;
  std::byte* const row = data + token * layout.vector_bytes();
  switch (layout.format) {
    case KvFormat::kBF16:
      return StoreBF16(values, dim, row);
    case KvFormat::kInt4:
      return body.quantize_int4(values, dim, reinterpret_cast<uint8_t*>(row), pairs);
    case KvFormat::kInt8:
      if (layout.order == KvOrder::kRows) {
        return body.quantize_int8(values, dim, given, reinterpret_cast<int8_t*>(row), pairs);
      }
      int8_t codes[kKvInt8DimMax];
      body.quantize_int8(values, dim, given, codes, pairs);
      return is_key ? StoreKeyFours(codes, dim, token, data)
                    : StoreValueFours(codes, dim, token, data);
  }
}

void AppendRow(const AppendKvArgs& args, const KvCacheBody& body, int64_t row) {
  const KvLayout& layout = args.layout;
  const int64_t dim = layout.head_dim;
  if (args.slots[row] < 0) return;
  const int64_t token = args.slots[row] % kKvBlockTokens;
  std::byte* block = args.cache + args.slots[row] / kKvBlockTokens * layout.block_bytes();
  for (int64_t head = 0; head < layout.kv_heads; ++head) {
    const float* k = args.k + row * args.kv_stride + head * dim;
    const float* v = args.v + row * args.kv_stride + head * dim;
    const uint16_t* k_given = args.static_pairs != nullptr ? args.static_pairs + 4 * head : nullptr;
    const uint16_t* v_given = k_given != nullptr ? k_given + 2 : nullptr;
    StoreVector(layout, body, k, k_given, true, token, block + layout.k_data(head),
                block + layout.k_scale(head));
    StoreVector(layout, body, v, v_given, false, token, block + layout.v_data(head),
                block + layout.v_scale(head));
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
