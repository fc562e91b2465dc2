// The walk over a block's rows and segments that scales them to int8, shared by the vector
// families. Included by each family's file and compiled there for that family, hence the unnamed
// namespace (see panel.h).
#pragma once

#include <cstdint>

#include "kernels/linear/panel.h"

namespace octet::kernels {
namespace {

struct RowScale {
  float scale;    // amax / 127
  float inverse;  // 127 / amax
};

// Of the bits of the largest magnitude, which those of a NaN exceed.
inline RowScale RowScaleOf(uint32_t bits) {
  if (bits >= 0x7f800000u) return {__builtin_nanf(""), 0};
  float value;
  __builtin_memcpy(&value, &bits, 4);
  if (value < kAmaxMin) return {0, 0};
  return {value / 127.0f, 127.0f / value};
}

// scale_of(x, inputs) gives a RowScale; quantize(x, segment, inverse, rows, to) writes one row's
// codes of one segment and returns their sum.
template <typename ScaleOf, typename Quantize>
inline void QuantizeRows(const QuantizeArgs& args, const ScaleOf& scale_of,
                         const Quantize& quantize) {
  const int64_t rows = args.block.rows;
  for (int64_t index = args.begin; index < args.end; ++index) {
    const Segment& segment = args.segments[index];
    for (int64_t row = 0; row < rows; ++row) {
      const float* x = args.x + row * args.x_stride + segment.begin;
      const RowScale scale = scale_of(x, segment.inputs);
      int8_t* to = args.block.codes + segment.padded_begin * rows + row * 4;
      const int32_t sum = quantize(x, segment, scale.inverse, rows, to);
      const float x_sum = scale.scale * static_cast<float>(sum);
      int32_t start = args.code_offset * sum;
      if (args.code_offset == 0) __builtin_memcpy(&start, &x_sum, 4);
      args.block.scales[index * rows + row] = scale.scale;
      args.block.sums[index * rows + row] = start;
    }
  }
}

}  // namespace
}  // namespace octet::kernels
