#include "kernels/activation/activation_isa.h"
#include "kernels/activation/activation_lanes.h"

namespace octet::kernels::avx512 {

void SiluMulSpan(const float* gate, const float* up, float* y, int64_t count) {
  kernels::SiluMulSpan(gate, up, y, count);
}

}  // namespace octet::kernels::avx512
