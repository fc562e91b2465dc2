#include "worker/model/linear_input.h"

#include "base/check.h"

namespace octet::worker {

using kernels::ActivationFormat;

ActivationFormat RowsFormat(const kernels::LinearShape& shape) {
  return shape.layout == kernels::WeightLayout::kCuda8 ? ActivationFormat::kInt8
                                                       : ActivationFormat::kBF16;
}

LinearInput LinearInput::Of(const kernels::LinearShape& shape, ActivationFormat rows_format) {
  LinearInput input;
  input.format = rows_format;
  input.inputs = shape.inputs;
  if (rows_format != ActivationFormat::kInt8 || shape.inputs == 0) return input;
  input.inputs = kernels::ActivationPositions(shape);
  input.segment_count = kernels::ActivationSegmentCount(shape);
  return input;
}

int64_t LinearInput::values_stride() const {
  const bool is_plain = bytes == nullptr || format != ActivationFormat::kF32;
  return is_plain ? inputs : kernels::ActivationStride(format, inputs);
}

int64_t LinearInput::RowsBytes(int64_t rows) const {
  return kernels::ActivationRowsBytes(format, inputs, segment_count, rows);
}

kernels::ActivationRows LinearInput::Rows(int64_t rows) const {
  if (bytes == nullptr) return {};
  return kernels::PlaceActivationRows(format, inputs, segments, segment_count, rows, bytes);
}

}  // namespace octet::worker
