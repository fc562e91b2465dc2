// What one linear reads: f32 rows on the CPU; on a device rows in the format of its weights'
// layout, written by the op before it. The formats of both are a function of the linear's shape, so
// that whoever writes and whoever reads agree without knowing the device.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear/linear.h"

namespace octet::worker {

struct LinearInput {
  float* values = nullptr;            // [rows, inputs] f32, or null where it is not kept
  std::byte* bytes = nullptr;         // of ActivationRows; null where there are none
  kernels::ActivationExtent extent;   // of a row of them
  const int32_t* segments = nullptr;  // int8: ActivationSegments, where the linear runs

  // The rows of a step of `rows` rows, or empty.
  kernels::ActivationRows Rows(int64_t rows) const;
  // f32 rows for whoever writes no others.
  float* ValuesUnlessRows() const { return bytes == nullptr ? values : nullptr; }

  // Elements from one f32 row to the next: those of ActivationRows where `bytes` are f32.
  int64_t values_stride() const;

  // The input of a linear of this shape; `rows_format` is what is written for it.
  static LinearInput Of(const kernels::LinearShape& shape, kernels::ActivationFormat rows_format);
  // Bytes of ActivationRows for up to `rows` rows.
  int64_t RowsBytes(int64_t rows) const;
};

// The format in which a linear of this layout reads its rows without a conversion.
kernels::ActivationFormat RowsFormat(const kernels::LinearShape& shape);

}  // namespace octet::worker
