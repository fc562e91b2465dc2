// The walk over segments and leaves that every instruction family shares. Included by each family's
// file and compiled there for that family, hence the unnamed namespace (see panel.h).
#pragma once

#include <cstdint>

#include "kernels/linear/panel.h"

namespace octet::kernels {
namespace {

// accumulate(segment, index, leaf) adds one segment to `leaf` [rows][kPanelOutputs]. Only outputs
// [first, first + width) are touched.
template <typename Accumulate>
inline void SumLeaves(const PanelArgs& args, int64_t first, int64_t width, float* slots,
                      const Accumulate& accumulate) {
  const int64_t rows = args.block.rows;
  float* leaf = slots;
  bool fresh = true;
  for (int64_t index = 0; index < args.segment_count; ++index) {
    const Segment& segment = args.segments[index];
    for (int64_t row = 0; fresh && row < rows; ++row) {
      float* to = leaf + row * kPanelOutputs + first;
      for (int64_t i = 0; i < width; ++i) to[i] = 0;
    }
    accumulate(segment, index, leaf);
    fresh = segment.merges >= 0;
    if (!fresh) continue;
    for (int32_t merge = 0; merge < segment.merges; ++merge) {
      const float* right = leaf;
      leaf -= kSlotFloats;
      for (int64_t row = 0; row < rows; ++row) {
        float* to = leaf + row * kPanelOutputs + first;
        const float* from = right + row * kPanelOutputs + first;
        for (int64_t i = 0; i < width; ++i) to[i] += from[i];
      }
    }
    leaf += kSlotFloats;
  }
}

}  // namespace
}  // namespace octet::kernels
