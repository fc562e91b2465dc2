// What the instruction families implement: preparing a block of rows, and the arithmetic of one
// panel (packing.h) times one block. Knows nothing of threads, nor of the other panels and blocks.
//
// The definition, in float32, every operation rounded by itself unless it says fused:
//
//   kInt8   per row and segment: amax = max |x|; q = round_to_even(x * (127 / amax)),
//           x_scale = amax / 127. An amax below 2^-100 counts as 0: q = 0, x_scale = 0. An
//           infinite or NaN amax gives q = 0, x_scale = NaN, which reaches every output.
//           symmetric:   leaf += float(sum((code - 2^(bits-1)) * q)) * (w_scale * x_scale)
//           asymmetric:  leaf += float(sum(code * q)) * (w_scale * x_scale), then
//                        leaf += w_offset * (x_scale * float(sum(q)))
//           segments ascending, integer sums exact. Every family gives the same bits.
//   floats  w = w_scale * float(code - 2^(bits-1)), or w_scale * float(code) + w_offset, or the
//           value itself; leaf += w * x, inputs ascending. AVX2 and AVX-512 fuse this last multiply
//           and add and agree; the portable family does not, so its bits differ.
//
// A leaf starts from +0. Leaves are then added by the postorder program, left + right.
//
// Nothing here, and nothing that an *_avx2.cc or *_avx512.cc file includes, may define an inline
// function that is used there with external linkage: the linker could pick that copy for everyone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear/linear.h"
#include "kernels/linear/packing.h"
#include "kernels/linear/segments.h"

namespace octet::kernels {

inline constexpr int64_t kBlockRows = 8;  // rows that share a pass over a panel
inline constexpr int64_t kSlotFloats = kBlockRows * kPanelOutputs;  // one partial sum of a block
inline constexpr int64_t kSlotsMax = 32;                            // partial sums held at once
// With int8 activations more rows share a pass: on AVX2, where so many are prepared at a time, and
// on AVX-512.
inline constexpr int64_t kAvx2TileRows = 4;
inline constexpr int64_t kAvx2SumRows = 64;
inline constexpr int64_t kAvx512SumRows = 64;
// Rows of a block that takes two panels at a time, where int8 activations are multiplied.
inline constexpr int64_t kPairRowsMax = 2;      // AVX-512
inline constexpr int64_t kAvx2PairRowsMax = 1;  // AVX2
inline constexpr float kAmaxMin = 0x1p-100f;

// The tile unit multiplies kTileRows rows by kTileInputs (segments.h) at a time.
inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileBytes = kTileRows * kTileInputs;
inline constexpr int64_t kTileBlockRows = 128;  // rows that share a pass over a panel
inline constexpr int64_t kTileSlotFloats = kTileBlockRows * kPanelOutputs;

// One block of rows, prepared. `rows` <= kBlockRows is also the stride below. (Int8: a block of
// AVX2 has kAvx2TileRows; there and on AVX-512 those that follow each other are multiplied as one
// block of all their rows.) Int8 activations use codes, scales and sums; the others use values.
struct RowBlock {
  int64_t rows = 0;
  int8_t* codes = nullptr;  // [padded_inputs / 4][rows][4]; padded inputs are 0
  float* scales = nullptr;  // [segments][rows] x_scale
  int32_t* sums = nullptr;  // [segments][rows] symmetric: -2^(bits-1) * sum(q), what the int32
                            // accumulator starts from; asymmetric: x_scale * float(sum(q)), bits
  float* values = nullptr;  // [inputs][rows]
};

// For the tile unit `rows` is not a stride; bands follow each other:
//   codes  [bands][tiles of all segments][kTileRows][kTileInputs], 0 where there is no input or row
//   scales [bands][segments][kTileRows]
//   sums   [bands][segments][kTileRows] x_scale * float(sum(q)), bits; not read if symmetric

// Scales and rounds segments [begin, end) of a block to int8.
struct QuantizeArgs {
  const float* x = nullptr;  // [block.rows, inputs]
  int64_t x_stride = 0;
  const Segment* segments = nullptr;
  int64_t begin = 0;
  int64_t end = 0;
  int32_t code_offset = 0;  // symmetric: -2^(bits-1); asymmetric: 0
  RowBlock block;
};

struct PanelArgs {
  WeightFormat format = WeightFormat::kBF16;
  bool asymmetric = false;
  ScaleFormat scale_format = ScaleFormat::kF16;
  bool int8_activations = false;
  int64_t width = 0;  // 16, 32 or 48
  const std::byte* panel = nullptr;
  // Where not 0, another panel of kPanelOutputs lies that far behind, to be multiplied at the same
  // time; its outputs follow. Int8 activations, at most kPairRowsMax or kAvx2PairRowsMax rows.
  int64_t pair_bytes = 0;
  const Segment* segments = nullptr;
  int64_t segment_count = 0;
  RowBlock block;
  // Root i of row r of output o goes to out[i * out_root_stride + r * out_row_stride + o].
  float* out = nullptr;
  int64_t outputs = 0;  // at most width, or twice that of a pair
  int64_t out_row_stride = 0;
  int64_t out_root_stride = 0;
  int64_t roots = 0;
  const float* bias = nullptr;  // [outputs] or null
  int64_t slot_floats = kSlotFloats;
  bool staged_prefetch = false;  // memory has to be asked for codes, see linear_cpu_avx512.cc
};

// `slots` has room for the deepest stack of the program, slot_floats each, and is aligned to 64
// bytes; its content on entry does not matter.
using QuantizeFunction = void (*)(const QuantizeArgs& args);
using SumPanelFunction = void (*)(const PanelArgs& args, float* slots);

void QuantizePlain(const QuantizeArgs& args);
void SumPanelPlain(const PanelArgs& args, float* slots);
#if defined(__x86_64__)
void QuantizeAvx2(const QuantizeArgs& args);
void SumPanelAvx2(const PanelArgs& args, float* slots);
void QuantizeAvx512(const QuantizeArgs& args);
void SumPanelAvx512(const PanelArgs& args, float* slots);
// Int8 activations on the tile unit: a block is up to kTileBlockRows rows in bands of kTileRows,
// and QuantizeAmx lays out one band. A thread configures its tiles before SumPanelAmx, and releases
// them when it has no more panels, so that a switch of threads need not save them.
void ConfigureTiles();
void ReleaseTiles();
void QuantizeAmx(const QuantizeArgs& args);
void SumPanelAmx(const PanelArgs& args, float* slots);
#endif

}  // namespace octet::kernels
