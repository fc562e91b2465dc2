// The body of SiluMul in sixteen lanes, compiled once per instruction family (lanes.h).
#pragma once

#include "kernels/activation/activation_isa.h"
#include "kernels/lanes.h"

namespace octet::kernels {
namespace {

OCTET_INLINE F32x16 SiluMulLanes(F32x16 gate, F32x16 up) {
  return gate / (Splat(1.0f) + Exp(Splat(0.0f) - gate)) * up;
}

void SiluMulSpan(const float* gate, const float* up, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    StoreLanes(y + i, SiluMulLanes(LoadLanes(gate + i), LoadLanes(up + i)));
  }
  if (i < count) {
    const int64_t rest = count - i;
    StoreFirst(y + i, rest, SiluMulLanes(LoadFirst(gate + i, rest), LoadFirst(up + i, rest)));
  }
}

constexpr ActivationBody kBody = {SiluMulSpan};

}  // namespace
}  // namespace octet::kernels
