// The walk over segments and leaves that every instruction family shares. Included by each family's
// file and compiled there for that family, hence the unnamed namespace (see panel.h).
#pragma once

#include <cstdint>

#include "kernels/linear/panel.h"

namespace octet::kernels {
namespace {

// Outputs [first, first + width) of the rows of a partial sum.
[[maybe_unused]] inline void ClearSum(float* sum, int64_t rows, int64_t first, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    float* to = sum + row * kPanelOutputs + first;
    for (int64_t i = 0; i < width; ++i) to[i] = 0;
  }
}

[[maybe_unused]] inline void AddSum(float* sum, const float* right, int64_t rows, int64_t first,
                                    int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    float* to = sum + row * kPanelOutputs + first;
    const float* from = right + row * kPanelOutputs + first;
    for (int64_t i = 0; i < width; ++i) to[i] += from[i];
  }
}

// Where the sum of one segment goes: to = (leaf so far, +0 if there is none) + segment, and at the
// end of a leaf that has a left neighbour to join, neighbour = neighbour + leaf at once.
struct LeafStep {
  float* leaf = nullptr;  // [rows][kPanelOutputs]
  bool first = false;     // the leaf holds nothing yet
  float* left = nullptr;  // the partial sum to join, or null
};

// accumulate(segment, index, step) does one step. Only outputs [first, first + width) are touched.
template <typename Accumulate>
inline void SumLeaves(const PanelArgs& args, int64_t first, int64_t width, float* slots,
                      const Accumulate& accumulate) {
  float* leaf = slots;
  bool fresh = true;
  for (int64_t index = 0; index < args.segment_count; ++index) {
    const Segment& segment = args.segments[index];
    accumulate(segment, index,
               LeafStep{leaf, fresh, segment.merges > 0 ? leaf - args.slot_floats : nullptr});
    fresh = segment.merges >= 0;
    if (!fresh) continue;
    if (segment.merges > 0) leaf -= args.slot_floats;
    for (int32_t merge = 1; merge < segment.merges; ++merge) {
      const float* right = leaf;
      leaf -= args.slot_floats;
      AddSum(leaf, right, args.block.rows, first, width);
    }
    leaf += args.slot_floats;
  }
}

// Copies the roots to the output, adding the bias.
[[maybe_unused]] inline void StoreRoots(const PanelArgs& args, const float* slots) {
  for (int64_t root = 0; root < args.roots; ++root) {
    for (int64_t row = 0; row < args.block.rows; ++row) {
      const float* from = slots + root * args.slot_floats + row * kPanelOutputs;
      float* to = args.out + root * args.out_root_stride + row * args.out_row_stride;
      if (args.bias != nullptr) {
        for (int64_t i = 0; i < args.outputs; ++i) to[i] = from[i] + args.bias[i];
      } else {
        __builtin_memcpy(to, from, static_cast<size_t>(args.outputs) * sizeof(float));
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
