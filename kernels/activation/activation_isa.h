// The same function from each instruction family.
#pragma once

#include <cstdint>

namespace octet::kernels {

struct ActivationBody {
  // y[i] = silu(gate[i]) * up[i]
  void (*silu_mul)(const float* gate, const float* up, float* y, int64_t count);
};
extern const ActivationBody kPlainActivation;
extern const ActivationBody kAvx2Activation;
extern const ActivationBody kAvx512Activation;

}  // namespace octet::kernels
