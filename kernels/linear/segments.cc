#include "kernels/linear/segments.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/check.h"

namespace octet::kernels {
namespace {

// Bytes of one output's codes or values of so many inputs.
int64_t CodeBytes(WeightFormat format, int64_t inputs) {
  if (format == WeightFormat::kInt4) return inputs / 2;
  return format == WeightFormat::kInt8 ? inputs : inputs * ValueBytes(format);
}

template <typename Visit>
SegmentCount Walk(const LinearShape& shape, const Visit& visit) {
  const bool quantized = IsQuantized(shape.format);
  const auto leaves = static_cast<int64_t>(shape.merges.size());
  const int64_t scale_bytes =
      (shape.scale_format == ScaleFormat::kF32 ? 4 : 2) * (shape.asymmetric ? 2 : 1);
  // Counted on, as a call walks several times and divisions are slow.
  int64_t group = 0;
  int64_t group_end = quantized ? (shape.group_begin() + 1) * shape.group - shape.input_begin : 0;
  SegmentCount count;
  Segment segment;
  segment.group = quantized ? -1 : 0;
  for (int64_t leaf = 0; leaf < leaves; ++leaf) {
    const int64_t leaf_end = shape.leaf_bounds[leaf + 1];
    for (int64_t begin = shape.leaf_bounds[leaf]; begin < leaf_end;) {
      int64_t end = leaf_end;
      if (quantized) {
        if (begin == group_end) {
          ++group;
          group_end += shape.group;
        }
        end = std::min(end, group_end);
        if (group != segment.group) {
          segment.group = static_cast<int32_t>(group);
          segment.scales_at = static_cast<int32_t>(count.bytes_per_output);
          count.bytes_per_output += scale_bytes;
        }
      }
      segment.begin = static_cast<int32_t>(begin);
      segment.inputs = static_cast<int32_t>(end - begin);
      segment.padded_begin = static_cast<int32_t>(count.padded_inputs);
      segment.tile_begin = static_cast<int32_t>(count.tiles);
      segment.codes_at = static_cast<int32_t>(count.bytes_per_output);
      segment.merges = end == leaf_end ? shape.merges[leaf] : -1;
      visit(count.segments, segment);
      const int64_t padded = quantized ? AlignUp(end - begin, kChunkInputs) : end - begin;
      ++count.segments;
      count.padded_inputs += padded;
      count.tiles += (end - begin + kTileInputs - 1) / kTileInputs;
      count.bytes_per_output += CodeBytes(shape.format, padded);
      begin = end;
    }
  }
  return count;
}

}  // namespace

SegmentCount CountSegments(const LinearShape& shape) {
  return Walk(shape, [&](int64_t, const Segment& segment) {
    if (IsQuantized(shape.format)) OCTET_CHECK_LE(segment.inputs, kSegmentInputsMax);
  });
}

void BuildSegments(const LinearShape& shape, Segment* segments) {
  Walk(shape, [&](int64_t index, const Segment& segment) { segments[index] = segment; });
}

std::vector<int32_t> ActivationSegments(const LinearShape& shape) {
  std::vector<int32_t> table = {0};
  std::vector<int32_t> positions;
  std::vector<int32_t> leaves = {0};
  int64_t position = 0;
  Walk(shape, [&](int64_t index, const Segment& segment) {
    table.push_back(segment.begin + segment.inputs);
    positions.push_back(static_cast<int32_t>(position));
    position += AlignUp(segment.inputs, kStepPositions);
    if (segment.merges < 0) return;
    leaves.push_back(static_cast<int32_t>(index + 1));
    position = AlignUp(position, kBlockPositions);
  });
  table.insert(table.end(), positions.begin(), positions.end());
  table.insert(table.end(), leaves.begin(), leaves.end());
  return table;
}

ActivationExtent ActivationExtentOf(const LinearShape& shape, ActivationFormat format) {
  ActivationExtent extent = {format, shape.inputs};
  if (format != ActivationFormat::kInt8 || shape.inputs == 0) return extent;
  extent.inputs = 0;
  int64_t of_leaf = 0;
  extent.segments = Walk(shape, [&](int64_t, const Segment& segment) {
                      of_leaf += AlignUp(segment.inputs, kStepPositions);
                      if (segment.merges < 0) return;
                      extent.inputs += AlignUp(of_leaf, kBlockPositions);
                      ++extent.leaves;
                      of_leaf = 0;
                    }).segments;
  return extent;
}

}  // namespace octet::kernels
