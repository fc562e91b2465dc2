#include "kernels/kv_cache/kv_cache_isa.h"
#include "kernels/kv_cache/kv_cache_lanes.h"

namespace octet::kernels::avx512 {

void QuantizeVector(const float* values, int64_t head_dim, int8_t* codes, uint16_t* scale,
                    uint16_t* zero) {
  kernels::QuantizeVector(values, head_dim, codes, scale, zero);
}

}  // namespace octet::kernels::avx512
