// The same functions from each instruction family, bit for bit the scalar definitions of
// kernels/formats/kv_layout.h.
#pragma once

#include <cstdint>

namespace octet::kernels {

struct KvCacheBody {
  // `given`: the pair of static scales, or null.
  void (*quantize_int8)(const float* values, int64_t head_dim, const uint16_t* given, int8_t* codes,
                        uint16_t* pair);
  void (*quantize_int4)(const float* values, int64_t head_dim, uint8_t* codes, uint16_t* pairs);
};
extern const KvCacheBody kPlainKvCache;
extern const KvCacheBody kAvx2KvCache;
extern const KvCacheBody kAvx512KvCache;

}  // namespace octet::kernels
