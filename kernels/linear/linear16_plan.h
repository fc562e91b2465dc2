// How a linear with bf16 activations runs on a GPU: which tile, into how many parts the leaves are
// dealt, and what it needs in its workspace. Nothing here changes a bit of the result.
//
// Pure and on the host. The choice is made for a nominal device of each instruction family, so that
// the workspace is a function of the shape and the rows alone.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/linear/cuda16_layout.h"
#include "kernels/linear/few_deal.h"
#include "kernels/linear/leaf_parts.h"
#include "kernels/linear/linear.h"

namespace octet::kernels {

enum class MatrixFamily : uint8_t { kMma, kWgmma };

// The .cu files instantiate kernels by these names.
enum class Linear16TileName : uint8_t {
  k64x8,
  k128x16,
  k64x32,
  k128x32,
  k256x32,
  k128x64,
  k256x64,
  k256x128,
  kFew8,  // of linear16_few.cuh
  kFew16,
  kStream8,  // of linear16_stream.cuh
  kStream16,
  kStream8Sides,
  kStream16Sides,
  kWide16,  // of linear16_wide.cuh
  kWide32,
  kWide64,
  kWide128,
};

// A kernel that takes regular shapes only: FitsWide() in linear16_plan.cc.
constexpr bool IsWide(Linear16TileName name) { return name >= Linear16TileName::kWide16; }
// linear16_stream.cuh's: FitsStream() there.
constexpr bool IsStream(Linear16TileName name) {
  return name >= Linear16TileName::kStream8 && name <= Linear16TileName::kStream16Sides;
}

// Of those, where two warps share a panel's outputs.
constexpr bool HasSides(Linear16TileName name) {
  return name >= Linear16TileName::kStream8Sides && IsStream(name);
}

struct Linear16Tile {
  Linear16TileName name = Linear16TileName::k64x8;
  int32_t outputs = 0;
  int32_t tokens = 0;
  int32_t stages = 0;    // of the ring in shared memory; kWide, kFew: they have their own
  int32_t resident = 0;  // blocks that one multiprocessor holds at once
  int32_t in_turn = 1;   // panels of one warpgroup, one after the other
  int32_t warps = 0;  // that a block of linear16_{few,stream}.cuh is dealt to, at most; 0: others'
  int32_t split = 1;  // of them, those that share a panel
};

// Counters of a tile of linear16_wide.cuh: each warp, of 16 outputs, has one.
constexpr int64_t WideArrivals(const Linear16Tile& tile) { return tile.outputs / 16; }

inline constexpr int64_t kLinear16GridMax = 1024;   // blocks of a launch; each does many tiles
inline constexpr int64_t kLinear16SpillGrid = 160;  // the same where sums of leaves are spilled
inline constexpr int64_t kLinear16PartialBytesMax = int64_t{32} << 20;  // else there is one part

// Warps of a tile's that linear16_few.cuh has at most: it needs more registers where blocks are not
// whole segments.
constexpr int32_t FewWarpsMax(int32_t warps, bool whole) { return whole || warps < 8 ? warps : 8; }

// What linear16_few.cuh needs to know beside its tile.
struct Linear16Few {
  FewNeeds needs;
  FewDeal deal;             // by the device, when launched
  int32_t stage_bytes = 0;  // from one stage of a ring to the next
  int32_t x_stride = 0;     // bytes from one token to the next
  int32_t tokens = 0;       // that are kept
  int32_t segments = 0;     // the most of one part; asymmetric only
  int32_t levels = 0;       // of sums of a panel that wait in shared memory
  int32_t ahead = 0;        // bytes that a warp asks for in L2, at the beginning
  bool whole = false;       // every block of inputs is a segment, with f16 scales
};

struct Linear16Plan {
  Linear16Tile tile;
  Linear16Few few;
  LeafParts parts;
  int64_t output_tiles = 0;
  int64_t row_tiles = 0;
  int64_t items = 0;  // tiles times parts
  int64_t grid_max = 0;
  int64_t stage_bytes = 0;  // of the ring
  int32_t shared_levels = 0;
  int32_t spill_levels = 0;
  // Parts of the workspace, in this order, each a multiple of 64 bytes.
  int64_t x_bytes = 0;        // activations laid out by steps
  int64_t x_sums_bytes = 0;   // [segments, x_sums_stride] f32
  int64_t partial_bytes = 0;  // [sums, rows, outputs] f32, or whole tiles; with several parts
  int64_t spill_bytes = 0;    // [grid_max, spill_levels, tile] f32
  int64_t x_sums_stride = 0;

  int64_t workspace_bytes() const { return x_bytes + x_sums_bytes + partial_bytes + spill_bytes; }
};

// Bytes from one stage of the ring to the next (linear16.cuh has what lies where).
constexpr int64_t Linear16StageBytes(const int32_t (&stage_bytes)[2], const int32_t (&slots)[2],
                                     bool asymmetric, int64_t panels, int64_t tokens) {
  const int64_t weights = stage_bytes[0] > stage_bytes[1] ? stage_bytes[0] : stage_bytes[1];
  const int64_t sums = asymmetric ? (slots[0] > slots[1] ? slots[0] : slots[1]) * tokens * 4 : 0;
  return (tokens * 128 + panels * weights + sums + 1023) / 1024 * 1024;
}

// The tiles that there are kernels for.
std::span<const Linear16Tile> Linear16Tiles(WeightFormat format, MatrixFamily family);

// With that tile and at most so many parts, or the fewest that the tile can do with; no
// items where it cannot take the shape. REQUIRES:
// rows, outputs and inputs are not 0.
Linear16Plan PlanLinear16With(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                              ActivationFormat rows_format, MatrixFamily family,
                              const Linear16Tile& tile, int64_t parts);

// With the tile and the parts that look best.
Linear16Plan PlanLinear16(const LinearShape& shape, const Cuda16Layout& layout, int64_t rows,
                          ActivationFormat rows_format, MatrixFamily family);

// The most that any number of rows up to `rows` needs, with either family.
int64_t Linear16WorkspaceBytes(const LinearShape& shape, int64_t rows,
                               ActivationFormat rows_format);

}  // namespace octet::kernels
