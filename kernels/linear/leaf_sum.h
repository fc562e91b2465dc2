// The walk over segments and leaves that every instruction family shares. Included by each family's
// file and compiled there for that family, hence the unnamed namespace (see panel.h).
#pragma once

#include <cstdint>

#include "kernels/linear/panel.h"

namespace octet::kernels {
namespace {

constexpr int64_t ChunksOf(const Segment& segment) {
  return (segment.inputs + kChunkInputs - 1) / kChunkInputs;
}

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
    float* __restrict to = sum + row * kPanelOutputs + first;
    const float* __restrict from = right + row * kPanelOutputs + first;
    for (int64_t i = 0; i < width; ++i) to[i] += from[i];
  }
}

// Where the sum of one segment goes: to = (leaf so far, +0 if there is none) + segment, and at the
// end of a leaf that has a left neighbour to join, neighbour = neighbour + leaf at once. What is
// joined then joins `joins` more neighbours, each to the left of the last.
struct LeafStep {
  float* leaf = nullptr;  // [rows][kPanelOutputs]
  bool first = false;     // the leaf holds nothing yet
  float* left = nullptr;  // the partial sum to join, or null
  int32_t joins = 0;

  // `floats` behind, in all of the sums.
  inline LeafStep From(int64_t floats) const {
    return {leaf + floats, first, left == nullptr ? nullptr : left + floats, joins};
  }
};

// Gives the steps of segments, which are asked for in ascending order.
class LeafWalk {
 public:
  LeafWalk(float* slots, int64_t slot_floats) : leaf_(slots), slot_floats_(slot_floats) {}

  inline LeafStep Next(const Segment& segment) {
    const int32_t merges = segment.merges;
    const LeafStep step = {leaf_, fresh_, merges > 0 ? leaf_ - slot_floats_ : nullptr,
                           merges > 1 ? merges - 1 : 0};
    fresh_ = merges >= 0;
    if (fresh_) leaf_ += slot_floats_ * (1 - merges);
    return step;
  }

 private:
  float* leaf_;
  const int64_t slot_floats_;
  bool fresh_ = true;
};

[[maybe_unused]] inline void PrefetchToWrite(const float* p) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*p));  // GCC would only ask to read
#else
  __builtin_prefetch(p, 1);
#endif
}

// Asks for the lines that StoreRoots will write, for some rows beside each of the last segments:
// the rows of an output are far apart, and stores that all miss would hold up what comes next.
[[maybe_unused]] inline void PrefetchRoots(const PanelArgs& args, int64_t index) {
  constexpr int64_t kRowsMin = 8, kSegments = 8, kLine = 16;
  const int64_t rows = args.block.rows;
  const int64_t parts = args.segment_count < kSegments ? args.segment_count : kSegments;
  const int64_t part = index - (args.segment_count - parts);
  if (rows < kRowsMin || part < 0) return;
  for (int64_t root = 0; root < args.roots; ++root) {
    for (int64_t row = part * rows / parts; row < (part + 1) * rows / parts; ++row) {
      const float* to = args.out + root * args.out_root_stride + row * args.out_row_stride;
      for (int64_t i = 0; i < args.outputs; i += kLine) PrefetchToWrite(to + i);
    }
  }
}

// accumulate(segment, index, step) does one step. Only outputs [first, first + width) are touched.
template <typename Accumulate>
inline void SumLeaves(const PanelArgs& args, int64_t first, int64_t width, float* slots,
                      const Accumulate& accumulate) {
  LeafWalk walk(slots, args.slot_floats);
  for (int64_t index = 0; index < args.segment_count; ++index) {
    const Segment& segment = args.segments[index];
    const LeafStep step = walk.Next(segment);
    PrefetchRoots(args, index);
    accumulate(segment, index, step);
    float* to = step.left;
    for (int32_t join = 0; join < step.joins; ++join, to -= args.slot_floats) {
      AddSum(to - args.slot_floats, to, args.block.rows, first, width);
    }
  }
}

// Of a pair of panels, the second one. Sums hold the rows of the first, then those of the second.
[[maybe_unused]] inline PanelArgs SecondOfPair(const PanelArgs& args) {
  PanelArgs second = args;
  second.pair_bytes = 0;
  second.panel += args.pair_bytes;
  second.out += kPanelOutputs;
  second.outputs -= kPanelOutputs;
  if (args.bias != nullptr) second.bias += kPanelOutputs;
  return second;
}

[[maybe_unused]] inline void StoreRootsOfPanel(const PanelArgs& args, const float* slots) {
  for (int64_t root = 0; root < args.roots; ++root) {
    for (int64_t row = 0; row < args.block.rows; ++row) {
      const float* from = slots + root * args.slot_floats + row * kPanelOutputs;
      float* to = args.out + root * args.out_root_stride + row * args.out_row_stride;
      if (args.bias != nullptr) {
        for (int64_t i = 0; i < args.outputs; ++i) to[i] = from[i] + args.bias[i];
      } else if (args.outputs == kPanelOutputs) {  // a length known to the compiler
        __builtin_memcpy(to, from, kPanelOutputs * sizeof(float));
      } else {
        __builtin_memcpy(to, from, static_cast<size_t>(args.outputs) * sizeof(float));
      }
    }
  }
}

// Copies the roots to the output, adding the bias.
[[maybe_unused]] inline void StoreRoots(const PanelArgs& args, const float* slots) {
  if (args.pair_bytes == 0) return StoreRootsOfPanel(args, slots);
  PanelArgs first = args;
  first.outputs = kPanelOutputs;
  StoreRootsOfPanel(first, slots);
  StoreRootsOfPanel(SecondOfPair(args), slots + args.block.rows * kPanelOutputs);
}

}  // namespace
}  // namespace octet::kernels
