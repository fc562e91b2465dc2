// The postorder program of a SumTree (base/sum_tree.h) in the registers of one thread: partial sums
// are taken in order, and after each the two topmost are added as often as the program says. The
// order of the additions is the program's, so that bits are the same wherever the sum is made.
#pragma once

#include "base/device/primitives.cuh"

namespace octet {

// Neighbouring elements, each summed by itself.
template <int kWidth>
struct Floats {
  float values[kWidth];

  // REQUIRES: `from` is aligned to the width.
  static OCTET_DEVICE Floats Load(const float* from) {
    Floats loaded;
    if constexpr (kWidth == 4) {
      const float4 four = *reinterpret_cast<const float4*>(from);
      loaded.values[0] = four.x;
      loaded.values[1] = four.y;
      loaded.values[2] = four.z;
      loaded.values[3] = four.w;
    } else {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) loaded.values[k] = from[k];
    }
    return loaded;
  }
  OCTET_DEVICE void Store(float* to) const {
    if constexpr (kWidth == 4) {
      *reinterpret_cast<float4*>(to) = make_float4(values[0], values[1], values[2], values[3]);
    } else {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) to[k] = values[k];
    }
  }
};

// At most kDepth partial sums. The topmost is always in the same registers and the others move, as
// registers can not be chosen by a number known at run time alone.
template <int kWidth, int kDepth>
class SumStack {
 public:
  // Takes the next partial sum, then merges `merges` times.
  OCTET_DEVICE void Take(const Floats<kWidth>& next, int merges) {
#pragma unroll
    for (int i = kDepth - 1; i > 0; --i) sums_[i] = sums_[i - 1];
    sums_[0] = next;
    for (int merge = 0; merge < merges; ++merge) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) sums_[0].values[k] = sums_[1].values[k] + sums_[0].values[k];
#pragma unroll
      for (int i = 1; i < kDepth - 1; ++i) sums_[i] = sums_[i + 1];
    }
  }
  OCTET_DEVICE const Floats<kWidth>& top() const { return sums_[0]; }

 private:
  Floats<kWidth> sums_[kDepth] = {};
};

}  // namespace octet
