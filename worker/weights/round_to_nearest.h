// Round to nearest, one row at a time: float weights in, codes and one scale per group out.
//
// int8: scale = absmax / 127. int4: of twelve candidates the one with the least squared error, the
// first of equals: absmax / 7, and the extreme value / -8 (so that the extreme itself gets code 0,
// which has no counterpart on the other side; the scale is then negative for a positive extreme),
// each clipped by 1.00, 0.95, ... 0.75.
//
// Scales are rounded to f16 first and codes are made with the rounded scale. Below 2^-14, where f16
// has fewer bits, scales round up, to 2^-24 at least, so that no code saturates; the error is then
// at most half a scale as ever, and a group of zeros stays exact.
//
// A scale depends on its whole group as the unsharded tensor has it, also where a shard ends inside
// the group: every shard gets the codes and scales of the whole, bit for bit.
#pragma once

#include <cstdint>

#include "kernels/linear/linear.h"

namespace octet::worker {

// Columns of an unsharded matrix.
struct ColumnSpan {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t count() const { return end - begin; }
};

// The columns that decide the weights of `shape`: its own, and for quantized formats those of the
// groups that they belong to. `inputs` is the unsharded width.
ColumnSpan SourceColumns(const kernels::LinearShape& shape, int64_t inputs);

// `scale` as an f16 holds it, see above; 0 where it is beyond 65504 in magnitude.
float NarrowScale(float scale);

// values: [SourceColumns(shape, inputs)], all finite. codes: [shape.inputs]. scales:
// [shape.group_count()]. False where a value is too large for any f16 scale.
// REQUIRES: a quantized, symmetric shape with ScaleFormat::kF16.
[[nodiscard]] bool QuantizeRow(const kernels::LinearShape& shape, int64_t inputs,
                               const float* values, uint8_t* codes, float* scales);

}  // namespace octet::worker
