#include "worker/weights/round_to_nearest.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/rounding/rounding.h"

namespace octet::worker {

ColumnSpan SourceColumns(const kernels::LinearShape& shape, int64_t inputs) {
  const ColumnSpan own = {shape.input_begin, shape.input_begin + shape.inputs};
  if (!kernels::IsQuantized(shape.format)) return own;
  const int64_t group_end = (own.end + shape.group - 1) / shape.group * shape.group;
  return {own.begin / shape.group * shape.group, std::min(group_end, inputs)};
}

bool QuantizeRow(const kernels::LinearShape& shape, int64_t inputs, const float* values,
                 uint8_t* codes, float* scales) {
  OCTET_CHECK(kernels::IsQuantized(shape.format) && !shape.asymmetric);
  OCTET_CHECK(shape.scale_format == kernels::ScaleFormat::kF16);
  const bool int4 = shape.format == kernels::WeightFormat::kInt4;
  const ColumnSpan span = SourceColumns(shape, inputs);
  const int64_t own_end = shape.input_begin + shape.inputs;
  for (int64_t begin = span.begin; begin < span.end; begin += shape.group) {
    const int64_t end = std::min(begin + shape.group, span.end);
    const float* group = values + (begin - span.begin);
    const float scale = int4 ? kernels::Int4GroupScale(group, end - begin)
                             : kernels::Int8GroupScale(group, end - begin);
    if (scale == 0.0f) return false;
    *scales++ = scale;
    const int64_t kept_begin = std::max(begin, shape.input_begin);
    const int64_t kept_end = std::min(end, own_end);
    const auto round = int4 ? kernels::RoundToInt4 : kernels::RoundToInt8;
    round(group + (kept_begin - begin), kept_end - kept_begin, scale,
          codes + (kept_begin - shape.input_begin));
  }
  return true;
}

}  // namespace octet::worker
