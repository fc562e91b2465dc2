// How the inputs of a linear with int8 activations are walked on a GPU: leaf after leaf, in blocks
// of up to four steps of 32 positions (activation_rows.h). A segment is a run of whole steps; the
// last step of one is followed by its epilogue. No block holds two leaves.
//
// Plain numbers that go to kernels by value; the same walk says where packed weights lie.
#pragma once

#include <cstdint>

#include "kernels/linear/activation_rows.h"
#include "kernels/linear/leaf_parts.h"
#include "kernels/linear/linear.h"

namespace octet::kernels {

inline constexpr int32_t kBlockSteps = kBlockPositions / kStepPositions;

struct KLeaf {
  int32_t block = 0;        // its first block, segment and step, counted over all leaves
  int32_t segment = 0;      //
  int32_t step = 0;         //
  int32_t steps = 0;        // of the whole leaf
  int32_t head_steps = 0;   // of its first segment
  int32_t begin = 0;        // first input
  int32_t inputs = 0;       // of the whole leaf
  int32_t head_inputs = 0;  // of its first segment
};

struct KWalk {
  int32_t leaves = 0;
  int32_t blocks = 0;
  int32_t segments = 0;
  int32_t steps = 0;
  int32_t group = 0;        // inputs of every segment but the first and the last of a leaf
  int32_t group_steps = 0;  //
  int32_t step_bytes = 0;   // of the codes of a panel
  int32_t scale_bytes = 0;  // of a panel's scales and offsets of one segment
  int32_t ends_max = 0;     // the most segments that end in one block
  int32_t segment_inputs_max = 0;
  bool whole = false;              // all blocks have four steps, and segments end with blocks only
  KLeaf leaf[kPartLeavesMax + 1];  // the last one only says where the others end

  // REQUIRES: a quantized format, at most kPartLeavesMax leaves.
  static KWalk Of(const LinearShape& shape);
  int64_t panel_bytes() const {
    return int64_t{steps} * step_bytes + int64_t{segments} * scale_bytes;
  }
};

// Goes over the blocks of a run of leaves.
struct BlockCursor {
  int32_t leaf;
  int32_t step;     // first step of the block, counted in its leaf
  int32_t left;     // steps that the current segment still has, this block's included
  int32_t segment;  // the current one, counted over all leaves
  int32_t at;       // where the block begins in a panel, bytes
  int32_t steps;    // of this block
  uint32_t ends;    // bit i: a segment ends with step i of this block
  int32_t left_after;

  constexpr BlockCursor(const KWalk& walk, int32_t first_leaf)
      : leaf(first_leaf), step(0), left(0), segment(0), at(0), steps(0), ends(0), left_after(0) {
    segment = walk.leaf[leaf].segment;
    at = walk.leaf[leaf].step * walk.step_bytes + segment * walk.scale_bytes;
    left = walk.leaf[leaf].head_steps;
    Look(walk);
  }

  constexpr bool ends_leaf(const KWalk& walk) const {
    return step + kBlockSteps >= walk.leaf[leaf].steps;
  }
  constexpr int32_t end_count() const {
    int32_t count = 0;
    for (uint32_t rest = ends; rest != 0; rest &= rest - 1) ++count;
    return count;
  }
  constexpr int32_t code_bytes(const KWalk& walk) const { return steps * walk.step_bytes; }
  constexpr int32_t bytes(const KWalk& walk) const {
    return code_bytes(walk) + end_count() * walk.scale_bytes;
  }

  // REQUIRES: not past the last leaf. After the last block of the last leaf nothing is defined but
  // `leaf`.
  constexpr void Next(const KWalk& walk) {
    const int32_t count = end_count();
    at += steps * walk.step_bytes + count * walk.scale_bytes;
    segment += count;
    left = left_after;
    step += kBlockSteps;
    if (step >= walk.leaf[leaf].steps) {
      ++leaf;
      step = 0;
      if (leaf >= walk.leaves) return;
      left = walk.leaf[leaf].head_steps;
    }
    Look(walk);
  }

 private:
  constexpr void Look(const KWalk& walk) {
    const int32_t rest = walk.leaf[leaf].steps - step;
    steps = rest < kBlockSteps ? rest : kBlockSteps;
    if (left >= steps) {  // no end but the last step's
      const bool ended = left == steps || rest == steps;
      ends = ended ? 1u << (steps - 1) : 0;
      left_after = ended ? walk.group_steps : left - steps;
      return;
    }
    ends = 0;
    left_after = left;
    for (int32_t i = 0; i < steps; ++i) {
      if (--left_after > 0 && i + 1 < rest) continue;
      ends |= 1u << i;
      left_after = walk.group_steps;
    }
  }
};

// What is to be known of a block while it is multiplied, in one word.
struct BlockWord {
  uint32_t bits;

  static constexpr BlockWord Of(const KWalk& walk, const BlockCursor& block) {
    const uint32_t leaf = block.ends_leaf(walk) ? static_cast<uint32_t>(block.leaf) : 0xff;
    return {static_cast<uint32_t>(block.steps) | block.ends << 4 | leaf << 8};
  }
  constexpr int32_t steps() const { return static_cast<int32_t>(bits & 15); }
  constexpr uint32_t ends() const { return bits >> 4 & 15; }
  constexpr bool ends_leaf() const { return bits >> 8 != 0xff; }
  constexpr int32_t leaf() const { return static_cast<int32_t>(bits >> 8); }  // that ends
};

// Where one segment lies.
struct SegmentSpan {
  int32_t begin;     // first input
  int32_t end;       // past the last
  int32_t position;  // of the first input
};

// REQUIRES: the segment is of this leaf.
constexpr SegmentSpan SpanOfSegment(const KWalk& walk, int32_t leaf, int32_t segment) {
  const KLeaf& l = walk.leaf[leaf];
  const int32_t index = segment - l.segment;
  const int32_t leaf_end = l.begin + l.inputs;
  const int32_t first_position = l.block * static_cast<int32_t>(kBlockPositions);
  if (index == 0) return {l.begin, l.begin + l.head_inputs, first_position};
  const int32_t begin = l.begin + l.head_inputs + (index - 1) * walk.group;
  const int32_t end = begin + walk.group < leaf_end ? begin + walk.group : leaf_end;
  const int32_t steps = l.head_steps + (index - 1) * walk.group_steps;
  return {begin, end, first_position + steps * static_cast<int32_t>(kStepPositions)};
}
constexpr SegmentSpan SpanOfSegment(const KWalk& walk, int32_t segment) {
  int32_t leaf = 0;
  while (leaf + 1 < walk.leaves && walk.leaf[leaf + 1].segment <= segment) ++leaf;
  return SpanOfSegment(walk, leaf, segment);
}

}  // namespace octet::kernels
