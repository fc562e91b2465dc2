// What a linear on a device reads: rows of activations in the format of the activation mode,
// written by whichever op comes before it (norm, silu, attention), so that no separate conversion
// runs.
//
//   kF32    values are f32; a linear in the bf16 mode rounds them into its workspace first
//   kBF16   values are bf16, rounded to nearest even from f32
//   kInt8   values are int8 codes q; x ~ q * scale, with one scale for a row's inputs in
//           [segment_bounds[s], segment_bounds[s + 1]). panel.h has the definition of q and scale;
//           a scale that is NaN marks a segment that held an infinity or NaN.
//
// Segments are those of the reading linear (segments.h): no group and no leaf boundary cuts one.
// Linears that read the same rows have equal segments, or are given rows of their own.
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

struct ActivationRows {
  ActivationFormat format = ActivationFormat::kF32;
  void* values = nullptr;  // [rows, stride], the first `inputs` of each row are written
  int64_t stride = 0;      // elements; stride * ActivationBytes(format) is a multiple of 16

  // Only kInt8:
  float* scales = nullptr;                  // [rows, segments] amax / 127 of each segment
  int32_t* sums = nullptr;                  // [rows, segments] sum of the segment's codes
  const int32_t* segment_bounds = nullptr;  // [segments + 1] from 0 to `inputs`
  int64_t segments = 0;

  // A linear ignores rows that hold nothing.
  bool empty() const { return values == nullptr; }
};

// Elements from one row to the next.
constexpr int64_t ActivationStride(ActivationFormat format, int64_t inputs) {
  const int64_t elements = kActivationRowAlignment / ActivationBytes(format);
  return (inputs + elements - 1) / elements * elements;
}

// Bytes that the parts of `rows` rows take, one after the other, each aligned to 64: values, then
// for kInt8 scales and sums. The bounds of the segments are not among them: they are uploaded once.
constexpr int64_t ActivationRowsBytes(ActivationFormat format, int64_t inputs, int64_t segments,
                                      int64_t rows) {
  constexpr int64_t kAlignment = 64;
  const auto align = [](int64_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  const int64_t values = align(rows * ActivationStride(format, inputs) * ActivationBytes(format));
  return format == ActivationFormat::kInt8 ? values + 2 * align(rows * segments * 4) : values;
}

// The view of rows placed at `base` (ActivationRowsBytes, 64-byte aligned) in that order.
inline ActivationRows PlaceActivationRows(ActivationFormat format, int64_t inputs,
                                          const int32_t* segment_bounds, int64_t segments,
                                          int64_t rows, std::byte* base) {
  ActivationRows placed;
  placed.format = format;
  placed.values = base;
  placed.stride = ActivationStride(format, inputs);
  if (format != ActivationFormat::kInt8) return placed;
  const int64_t all = ActivationRowsBytes(format, inputs, segments, rows);
  const int64_t values = ActivationRowsBytes(format, inputs, 0, rows);
  placed.scales = reinterpret_cast<float*>(base + values);
  placed.sums = reinterpret_cast<int32_t*>(base + values + (all - values) / 2);
  placed.segment_bounds = segment_bounds;
  placed.segments = segments;
  return placed;
}

}  // namespace octet::kernels
