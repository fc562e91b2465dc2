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
  input.extent = kernels::ActivationExtentOf(shape, rows_format);
  return input;
}

int64_t LinearInput::values_stride() const {
  const bool is_plain = bytes == nullptr || extent.format != ActivationFormat::kF32;
  return is_plain ? extent.inputs : kernels::ActivationStride(extent.format, extent.inputs);
}

int64_t LinearInput::RowsBytes(int64_t rows) const {
  return kernels::ActivationRowsBytes(extent, rows);
}

kernels::ActivationRows LinearInput::Rows(int64_t rows) const {
  if (bytes == nullptr) return {};
  return kernels::PlaceActivationRows(extent, rows, segments, bytes);
}

}  // namespace octet::worker
