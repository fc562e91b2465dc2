// The same function from each instruction family.
#pragma once

#include <cstdint>

namespace octet::kernels::avx512 {

// Bit for bit QuantizeKvVector of kernels/formats/kv_layout.h.
void QuantizeVector(const float* values, int64_t head_dim, int8_t* codes, uint16_t* scale,
                    uint16_t* zero);

}  // namespace octet::kernels::avx512
