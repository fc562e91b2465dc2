// Four sums of a thread at a time.
#pragma once

#include "base/device/primitives.cuh"

namespace octet::kernels::cuda {

OCTET_DEVICE float4 Plus(const float4& a, const float4& b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

}  // namespace octet::kernels::cuda
