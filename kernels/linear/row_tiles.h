// The rows of a block that lie in tiles, the last one of fewer, for the families that multiply many
// tiles by a segment of a panel while its codes are near. Compiled into each, hence the unnamed
// namespace (see panel.h).
#pragma once

#include <cstdint>

#include "kernels/linear/leaf_sum.h"

namespace octet::kernels {
namespace {

// One segment of the rows that are left, of int8 activations. What belongs to a tile is as far from
// the next one's as the *_step says.
struct RowTiles {
  int64_t rows = 0;
  int64_t first_input = 0;    // of the segment, counted with padding
  int64_t index = 0;          // of the segment
  const int8_t* q = nullptr;  // [tiles], each [padded inputs / 4][rows of the tile][4]
  int64_t q_step = 0;
  const float* x_scale = nullptr;  // [tiles], each [segments][rows of the tile]
  const int32_t* x_sum = nullptr;  // the same
  int64_t x_step = 0;
  LeafStep to;
  int64_t leaf_step = 0;

  inline RowTiles(const PanelArgs& args, int64_t tile_rows) {
    const Segment& last = args.segments[args.segment_count - 1];
    rows = args.block.rows;
    q = args.block.codes;
    q_step = (last.padded_begin + ChunksOf(last) * kChunkInputs) * tile_rows;
    x_scale = args.block.scales;
    x_sum = args.block.sums;
    x_step = args.segment_count * tile_rows;
    leaf_step = tile_rows * kPanelOutputs;
  }

  inline void SetSegment(const Segment& segment, int64_t at) {
    first_input = segment.padded_begin;
    index = at;
  }

  inline void ToNextTile() {
    q += q_step;
    x_scale += x_step;
    x_sum += x_step;
    to = to.From(leaf_step);
  }
};

}  // namespace
}  // namespace octet::kernels
