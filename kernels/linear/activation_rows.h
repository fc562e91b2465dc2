// What a linear on a device reads: rows of activations in the format of the activation mode,
// written by whichever op comes before it (norm, silu, attention), so that no separate conversion
// runs.
//
//   kF32    values are f32; a linear in the bf16 mode rounds them into its workspace first
//   kBF16   values are bf16, rounded to nearest even from f32
//   kInt8   values are int8 codes q; x ~ q * scale, with one scale for a row's inputs in a leaf.
//           linear8_definition.h has the definition of q and scale; a scale that is NaN marks a
//           leaf that held an infinity or NaN.
//
// Leaves and segments are those of the reading linear (segments.h): no group and no leaf boundary
// cuts a segment. Linears that read the same rows have equal ones, or are given rows of their own.
//
// Int8 codes do not lie row after row, but as the matrix instructions want them. Each input has a
// position: segments are padded to steps of 32 positions, with codes of 0, and leaves to blocks of
// 128, whose bytes past the last step hold anything. A block is [padded rows][128 bytes], and in
// the 128 bytes of row r the 16-byte chunk c lies at chunk c ^ (r % 8), so that any 8 rows that
// begin at a multiple of 8 are one swizzled tile of shared memory (k128 of hw::Swizzle), and any
// rows of a block one contiguous copy. Rows are padded to PaddedActivationRows; the rows of the
// padding hold anything.
//
// A view owns nothing. All pointers are of the device that computes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octet::kernels {

enum class ActivationFormat : uint8_t { kF32, kBF16, kInt8 };

constexpr int64_t ActivationBytes(ActivationFormat format) {
  return format == ActivationFormat::kF32 ? 4 : format == ActivationFormat::kBF16 ? 2 : 1;
}

inline constexpr int64_t kActivationRowAlignment = 16;  // bytes: one asynchronous copy
inline constexpr int64_t kStepPositions = 32;           // what an int8 matrix instruction takes
inline constexpr int64_t kBlockPositions = 128;

// The rows that int8 activations are padded to: whole tiles of the kernel that takes so many.
constexpr int64_t PaddedActivationRows(int64_t rows) {
  int64_t tile = 8;
  while (tile < rows && tile < 128) tile *= 2;
  return (rows + tile - 1) / tile * tile;
}

struct ActivationRows {
  ActivationFormat format = ActivationFormat::kF32;
  void* values = nullptr;  // [rows, stride], the first `inputs` of each row are written
  int64_t stride = 0;      // elements; stride * ActivationBytes(format) is a multiple of 16.
                           // kInt8: from one block to the next, 128 * padded rows

  // Only kInt8. The table of segments is uploaded once (ActivationSegments of linear.h).
  float* scales = nullptr;                  // [leaves, padded rows] amax / 127 of each leaf
  float* sums = nullptr;                    // [segments, padded rows] float(sum of codes)
  const int32_t* segment_bounds = nullptr;  // [segments + 1] inputs, from 0; then the position of
                                            // each segment's first input, [segments]; then the
                                            // first segment of each leaf, [leaves + 1]
  int64_t segments = 0;
  int64_t leaves = 0;

  // A linear ignores rows that hold nothing.
  bool empty() const { return values == nullptr; }

  // Only kInt8.
  constexpr int64_t padded_rows() const { return stride / kBlockPositions; }
  constexpr const int32_t* segment_positions() const { return segment_bounds + segments + 1; }
  constexpr const int32_t* leaf_segments() const { return segment_positions() + segments; }
  constexpr int8_t* code(int64_t row, int64_t position) const {
    const int64_t chunk = (position % kBlockPositions / 16) ^ (row % 8);
    return static_cast<int8_t*>(values) + position / kBlockPositions * stride +
           row * kBlockPositions + chunk * 16 + position % 16;
  }
};

// Elements from one row to the next; kInt8: from one block to the next.
constexpr int64_t ActivationStride(ActivationFormat format, int64_t inputs, int64_t rows = 1) {
  if (format == ActivationFormat::kInt8) return kBlockPositions * PaddedActivationRows(rows);
  const int64_t elements = kActivationRowAlignment / ActivationBytes(format);
  return (inputs + elements - 1) / elements * elements;
}

// What the rows of one linear hold each (ActivationExtentOf of linear.h).
struct ActivationExtent {
  ActivationFormat format = ActivationFormat::kF32;
  int64_t inputs = 0;    // kInt8: positions, whole blocks
  int64_t segments = 0;  // kInt8
  int64_t leaves = 0;    // kInt8
};

// Bytes that the parts of `rows` rows take, one after the other, each aligned to 64: values, then
// for kInt8 scales and sums. The table of segments is not among them.
constexpr int64_t ActivationRowsBytes(const ActivationExtent& extent, int64_t rows) {
  constexpr int64_t kAlignment = 64;
  const auto align = [](int64_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  const int64_t stride = ActivationStride(extent.format, extent.inputs, rows);
  if (extent.format != ActivationFormat::kInt8) {
    return align(rows * stride * ActivationBytes(extent.format));
  }
  const int64_t floats_bytes = PaddedActivationRows(rows) * 4;
  return align(extent.inputs / kBlockPositions * stride) + align(extent.leaves * floats_bytes) +
         align(extent.segments * floats_bytes);
}

// The view of rows placed at `base` (ActivationRowsBytes, 64-byte aligned) in that order.
inline ActivationRows PlaceActivationRows(const ActivationExtent& extent, int64_t rows,
                                          const int32_t* segment_bounds, std::byte* base) {
  ActivationRows placed;
  placed.format = extent.format;
  placed.values = base;
  placed.stride = ActivationStride(extent.format, extent.inputs, rows);
  if (extent.format != ActivationFormat::kInt8) return placed;
  ActivationExtent before = extent;
  before.segments = 0;
  placed.sums = reinterpret_cast<float*>(base + ActivationRowsBytes(before, rows));
  before.leaves = 0;
  placed.scales = reinterpret_cast<float*>(base + ActivationRowsBytes(before, rows));
  placed.segment_bounds = segment_bounds;
  placed.segments = extent.segments;
  placed.leaves = extent.leaves;
  return placed;
}

}  // namespace octet::kernels
