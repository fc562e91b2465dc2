// The packed form of a linear's weights on the CPU.
//
// Outputs are cut into panels of 48; the last panel holds the rest, rounded up to 16 (its width is
// 16, 32 or 48). Panels follow each other, each a multiple of 64 bytes:
//
//   quantized:  for each group
//                 scales   [width] f16 or f32
//                 offsets  [width] in the same format, if asymmetric
//                 codes    [chunks of the group's segments] of `width` outputs x 8 inputs
//   float:      values  [inputs][width] in the format's own bits
//
// so that a thread reads a panel from front to back as one stream (with the scales of a panel in a
// place of their own, one row ran at 0.70 of the read bandwidth; see README.md).
//
// An int4 chunk is [width][4 bytes]: byte j of an output holds the code of input j in its low
// nibble and of input 4 + j in its high nibble, so that one 64-byte load gives 16 outputs x 8
// inputs, and one shift and two masks make it the unsigned operand of two vpdpbusd.
// An int8 chunk is [2][width][4 bytes]: inputs 0..3, then inputs 4..7.
//
// Segments (segments.h) are padded to whole chunks, so that a chunk never spans two scales. Codes
// of padded inputs, and scales, offsets and values of padded outputs, are zero.
#pragma once

#include <cstdint>

#include "kernels/linear/linear.h"

namespace octet::kernels {

inline constexpr int64_t kPanelOutputs = 48;
inline constexpr int64_t kVectorOutputs = 16;  // outputs are padded to this

// Where the panels of a shape lie. What lies where in a panel is in the segments' table.
struct PanelLayout {
  int64_t outputs = 0;
  int64_t panel_count = 0;
  int64_t bytes_per_output = 0;

  static PanelLayout Of(const LinearShape& shape);
  int64_t width(int64_t panel) const;
  int64_t begin_bytes(int64_t panel) const { return panel * panel_bytes(kPanelOutputs); }
  int64_t panel_bytes(int64_t width) const;
  int64_t bytes() const;  // of all panels
};

}  // namespace octet::kernels
