// The packed form of a linear's weights on CUDA for bf16 activations (WeightLayout::kCuda16), one
// form for mma.sync and for wgmma: both take a weight fragment of 16 outputs x 16 inputs in the
// same registers, so a lane finds what it needs of 64 inputs with 16-byte loads, in fragment order.
//
//   panel   64 outputs; panels follow each other, the last is padded with zeros
//   block   128 inputs of one leaf; a panel's blocks follow each other, leaf after leaf, each leaf
//           padded to whole blocks, so that a run of leaves is one stream of bytes
//   stage   half a block: 4 slabs of codes, then the scales of the segments that end in this half
//             scales   [slots of this half][64] f16 or f32
//             offsets  [slots of this half][64] in the same format, if asymmetric
//   slab    16 outputs x 64 inputs = 4 steps of 16 inputs, as [16-byte parts][32 lanes][16 bytes]
//
// A step belongs to one segment (segments.h): segments are padded to whole steps. Lane l of a slab
// holds outputs 2 (l / 4) + h, h = 0, 1, and inputs 2 (l % 4) + 8 k + e of a step, e, k = 0, 1:
// words a[h + 2k] of a fragment, element e in its low or high half. So that rows can be packed by
// several threads, no two outputs share a byte.
//
//   int4     part 0: word s is step s; a[h + 2k], e is nibble 2h + k + 4e
//   int8     part p: words 2 (s % 2) + k of steps s = 2p, 2p + 1; a[h + 2k], e is byte h + 2e
//   16 bits  part s: word h + 2k, e is its half
//   f32      part 2s + k: word 2h + e
//
// How many scales a half has room for is the most that any block needs there (group 128: none and
// one), so that the place of every stage follows from its number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/linear/leaf_parts.h"
#include "kernels/linear/linear.h"

namespace octet::kernels {

inline constexpr int kCuda16PanelOutputs = 64;
inline constexpr int kCuda16SlabOutputs = 16;
inline constexpr int kCuda16StepInputs = 16;
inline constexpr int kCuda16StageInputs = 64;
inline constexpr int kCuda16BlockInputs = 128;
inline constexpr int kCuda16StageSteps = kCuda16StageInputs / kCuda16StepInputs;
inline constexpr int kCuda16BlockSteps = kCuda16BlockInputs / kCuda16StepInputs;
inline constexpr int kCuda16BlocksMax = 512;  // of one panel: 65536 inputs

// Bytes of a lane's fragment of one step.
constexpr int Cuda16LaneBytes(WeightFormat format) {
  return format == WeightFormat::kInt4   ? 4
         : format == WeightFormat::kInt8 ? 8
         : format == WeightFormat::kF32  ? 32
                                         : 16;
}

// Bytes of a panel's codes of one stage.
constexpr int Cuda16CodeBytes(WeightFormat format) {
  return kCuda16PanelOutputs / kCuda16SlabOutputs * 32 * kCuda16StageSteps *
         Cuda16LaneBytes(format);
}

constexpr int Cuda16ScaleBytes(ScaleFormat format) { return format == ScaleFormat::kF32 ? 4 : 2; }

// What kernels need to know of a shape's inputs; goes to them by value.
struct Cuda16Inputs {
  int32_t leaves = 0;
  uint16_t leaf_block[kPartLeavesMax + 1] = {};   // first block of each leaf; [leaves] is the count
  int32_t leaf_input[kPartLeavesMax + 1] = {};    // first input of each leaf
  int32_t leaf_segment[kPartLeavesMax + 1] = {};  // first segment of each leaf
  int32_t slots[2] = {};                          // scales in each half of a block
  uint8_t segment_ends[kCuda16BlocksMax] = {};    // bit s: step s of the block ends a segment
};

// A run of at most 16 inputs.
struct Cuda16Step {
  int32_t input = 0;
  int32_t inputs = 0;  // 0: padding of the leaf
  int32_t group = 0;
  int32_t slot = -1;  // where its half has the scale of the segment that ends here; -1: none does
};

struct Cuda16Layout {
  Cuda16Inputs inputs;
  std::vector<Cuda16Step> steps;  // [blocks * 8]
  // Steps follow each other without gaps inside a leaf, at multiples of 8 inputs: activations can
  // be read where they lie. Otherwise they are first laid out in the order of the steps.
  bool in_place = true;
  int64_t panels = 0;
  int32_t code_bytes = 0;       // of one stage
  int32_t stage_bytes[2] = {};  // of the halves of a block
  int64_t panel_bytes = 0;

  static Cuda16Layout Of(const LinearShape& shape);
  int64_t blocks() const { return static_cast<int64_t>(steps.size()) / kCuda16BlockSteps; }
  int64_t block_bytes() const { return stage_bytes[0] + stage_bytes[1]; }
};

int64_t Cuda16Bytes(const LinearShape& shape);

// As PackLinearRows.
void PackCuda16Rows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                    std::byte* packed);

}  // namespace octet::kernels
