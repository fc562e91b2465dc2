// What an op checks that writes plain f32, ActivationRows, or both. Included by op.cc files.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "base/device/stream.h"
#include "kernels/linear/activation_rows.h"

namespace octet::kernels {

inline void CheckResults(const float* y, const ActivationRows& out, int64_t rows, int64_t width,
                         const Stream& stream) {
  OCTET_CHECK(y != nullptr || !out.empty());
  if (out.empty()) return;
  OCTET_CHECK(stream.device() == Device::kCuda);
  OCTET_CHECK_EQ(out.stride * ActivationBytes(out.format) % kActivationRowAlignment, 0);
  if (out.format != ActivationFormat::kInt8) {
    OCTET_CHECK_GE(out.stride, width);
    return;
  }
  OCTET_CHECK_GE(out.padded_rows(), rows);
  OCTET_CHECK_GT(out.leaves, 0);
  OCTET_CHECK_GE(out.segments, out.leaves);
  OCTET_CHECK(out.scales != nullptr && out.sums != nullptr && out.segment_bounds != nullptr);
}

}  // namespace octet::kernels
