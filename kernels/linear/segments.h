// How the inputs of a linear are cut for arithmetic. A segment is a maximal run of local inputs
// that neither a leaf boundary nor a group boundary cuts: all of its inputs share one weight scale
// per output and, for int8 activations, one activation scale per row.
//
// In quantized formats a segment is padded to whole chunks of kChunkInputs, with zeros in both
// operands; the table below says where it begins with and without the padding. The table is
// rebuilt in the workspace of each call, so that a step allocates nothing.
#pragma once

#include <cstdint>

#include "kernels/linear/linear.h"

namespace octet::kernels {

inline constexpr int64_t kChunkInputs = 8;  // inputs that a packed chunk of codes holds
inline constexpr int64_t kTileInputs = 64;  // inputs that the CPU's tile unit takes at a time
// sum(code * q) over one segment must fit in int32: 65536 * 255 * 127 < 2^31.
inline constexpr int64_t kSegmentInputsMax = 65536;

struct Segment {
  int32_t begin = 0;         // first local input
  int32_t inputs = 0;        // at least 1
  int32_t padded_begin = 0;  // first input counted with the padding of the segments before
  int32_t tile_begin = 0;    // first tile; a segment has whole ones
  int32_t group = 0;         // local index of its group; 0 in float formats
  // Bytes per output from the panel's begin, see packing.h: times the panel's width, they are where
  // the scales of its group and its own codes or values begin.
  int32_t scales_at = 0;
  int32_t codes_at = 0;
  int32_t merges = -1;  // -1: the leaf goes on; else its leaf ends here, then merge so often
};

struct SegmentCount {
  int64_t segments = 0;
  int64_t padded_inputs = 0;
  int64_t tiles = 0;
  int64_t bytes_per_output = 0;  // of codes or values, scales and offsets
};

constexpr int64_t ValueBytes(WeightFormat format) { return format == WeightFormat::kF32 ? 4 : 2; }

SegmentCount CountSegments(const LinearShape& shape);

// Fills `segments` (CountSegments(shape).segments entries).
void BuildSegments(const LinearShape& shape, Segment* segments);

}  // namespace octet::kernels
