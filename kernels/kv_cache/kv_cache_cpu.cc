#include <cstring>

#include "base/dtype.h"
#include "kernels/isa.h"
#include "kernels/kv_cache/kv_cache.h"
#include "kernels/kv_cache/kv_cache_isa.h"
#include "kernels/kv_cache/kv_cache_lanes.h"

namespace octet::kernels::cpu {
namespace {

void StoreBF16(const float* values, int64_t count, std::byte* out) {
  auto* bits = reinterpret_cast<uint16_t*>(out);
  for (int64_t i = 0; i < count; ++i) bits[i] = FloatToBF16(values[i]);
}

// `scales` holds [64, 2] f16: scale, zero.
void StoreInt8(const float* values, int64_t count, std::byte* codes, std::byte* scales,
               bool avx512) {
  auto* out = reinterpret_cast<int8_t*>(codes);
  auto* pair = reinterpret_cast<uint16_t*>(scales);
  avx512 ? avx512::QuantizeVector(values, count, out, &pair[0], &pair[1])
         : QuantizeVector(values, count, out, &pair[0], &pair[1]);
}

void AppendRow(const AppendKvArgs& args, int64_t row, bool avx512) {
  const KvLayout& layout = args.layout;
  const int64_t dim = layout.head_dim;
  const int64_t token = args.slots[row] % kKvBlockTokens;
  std::byte* block = args.cache + args.slots[row] / kKvBlockTokens * layout.block_bytes();
  const int64_t data_at = token * dim * layout.element_bytes();
  const int64_t scale_at = token * 2 * static_cast<int64_t>(sizeof(uint16_t));
  for (int64_t head = 0; head < layout.kv_heads; ++head) {
    const float* k = args.k + row * args.kv_stride + head * dim;
    const float* v = args.v + row * args.kv_stride + head * dim;
    std::byte* k_data = block + layout.k_data(head) + data_at;
    std::byte* v_data = block + layout.v_data(head) + data_at;
    if (layout.format == KvFormat::kBF16) {
      StoreBF16(k, dim, k_data);
      StoreBF16(v, dim, v_data);
    } else {
      StoreInt8(k, dim, k_data, block + layout.k_scale(head) + scale_at, avx512);
      StoreInt8(v, dim, v_data, block + layout.v_scale(head) + scale_at, avx512);
    }
  }
}

}  // namespace

void AppendKv(const AppendKvArgs& args, Stream& stream) {
  const bool avx512 = ActiveIsa() == Isa::kAvx512Vnni;
  stream.pool().ParallelFor(args.rows, 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) AppendRow(args, row, avx512);
  });
}

}  // namespace octet::kernels::cpu
