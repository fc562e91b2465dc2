// The packed form of quantized weights for int8 activations on CUDA (WeightLayout::kCuda8): the
// codes lie as the lanes of a warp hold them when they are operand A of an 8-bit m16n8k32 or
// m64nNk32, so that a lane's codes of a step are one load, and a block of a panel is one copy.
//
// Outputs are cut into panels of 64, the last one padded. A panel is its blocks (k_walk.h), one
// after the other; a block is
//
//   codes    [steps][4 tiles of 16 outputs][32 lanes][8 bytes of int4 | 16 bytes of int8]
//   for each segment that ends in the block:
//     scales   [64] f16 or f32
//     offsets  [64] in the same format, if asymmetric
//
// A lane 4g + t of a tile has outputs g and g + 8 and inputs 4t + j and 16 + 4t + j of the step, j
// in 0..3. int4: byte j of its word h (h = 0, 1) has output g + 8h: input 4t + j in the low nibble,
// input 16 + 4t + j in the high one. int8: byte j of its word 2i + h has output g + 8h, input
// 16i + 4t + j.
//
// Asymmetric codes are stored as they are and multiplied as u8; symmetric ones less 2^(bits-1), in
// two's complement, and multiplied as s8. The codes of padding are 0, the scales of padded outputs
// too.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear/linear.h"

namespace octet::kernels {

inline constexpr int64_t kCuda8PanelOutputs = 64;
inline constexpr int64_t kCuda8TileOutputs = 16;

// Of a panel's codes of one step.
constexpr int64_t Cuda8StepBytes(WeightFormat format) {
  return kCuda8PanelOutputs * (format == WeightFormat::kInt4 ? 16 : 32);
}
// Of a panel's scales and offsets of one segment.
constexpr int64_t Cuda8ScaleBytes(const LinearShape& shape) {
  return kCuda8PanelOutputs * (shape.scale_format == ScaleFormat::kF32 ? 4 : 2) *
         (shape.asymmetric ? 2 : 1);
}

// PackedLinearBytes and PackLinearRows of this layout.
int64_t Cuda8Bytes(const LinearShape& shape);
void PackCuda8Rows(const LinearShape& shape, int64_t row_begin, const NeutralRows& rows,
                   std::byte* packed);

}  // namespace octet::kernels
