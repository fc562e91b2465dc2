// The same function from each instruction family.
#pragma once

#include <cstdint>

namespace octet::kernels::avx512 {

// y[i] = silu(gate[i]) * up[i]
void SiluMulSpan(const float* gate, const float* up, float* y, int64_t count);

}  // namespace octet::kernels::avx512
