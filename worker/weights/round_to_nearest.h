// Round to nearest (kernels/rounding), one row at a time: float weights in, codes and one scale per
// group out.
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

// values: [SourceColumns(shape, inputs)], all finite. codes: [shape.inputs]. scales:
// [shape.group_count()]. False where a value is too large for any f16 scale.
// REQUIRES: a quantized, symmetric shape with ScaleFormat::kF16.
[[nodiscard]] bool QuantizeRow(const kernels::LinearShape& shape, int64_t inputs,
                               const float* values, uint8_t* codes, float* scales);

}  // namespace octet::worker
