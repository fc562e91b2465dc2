// The steps of rounding_lanes.h for families that have no table of 32: plain C++ and AVX2.
#pragma once

#include "kernels/rounding/rounding_lanes.h"

namespace octet::kernels {
namespace {

struct ClampedSteps {
  static constexpr int kTogether = 2;

  OCTET_INLINE explicit ClampedSteps(float scale) : scale_(Splat(scale)) {}

  OCTET_INLINE F32x16 Back(F32x16 sum) const {
    return (ClampSum(sum, 8.0f) - Splat(kRounder)) * scale_;
  }

  static OCTET_INLINE F32x16 Totals(const F32x16* sums) {
    float totals[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      totals[i] = i < kCandidates ? ReduceSum(sums[i]) : __builtin_inff();
    }
    return LoadLanes(totals);
  }

  F32x16 scale_;
};

}  // namespace
}  // namespace octet::kernels
