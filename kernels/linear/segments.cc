#include "kernels/linear/segments.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/check.h"

namespace octet::kernels {
namespace {

template <typename Visit>
SegmentCount Walk(const LinearShape& shape, const Visit& visit) {
  const bool quantized = IsQuantized(shape.format);
  const int64_t leaves = static_cast<int64_t>(shape.merges.size());
  SegmentCount count;
  for (int64_t leaf = 0; leaf < leaves; ++leaf) {
    const int64_t leaf_end = shape.leaf_bounds[leaf + 1];
    for (int64_t begin = shape.leaf_bounds[leaf]; begin < leaf_end;) {
      int64_t end = leaf_end;
      int64_t group = 0;
      if (quantized) {
        const int64_t unsharded_group = (shape.input_begin + begin) / shape.group;
        end = std::min(end, (unsharded_group + 1) * shape.group - shape.input_begin);
        group = unsharded_group - shape.group_begin();
      }
      Segment segment;
      segment.begin = static_cast<int32_t>(begin);
      segment.inputs = static_cast<int32_t>(end - begin);
      segment.padded_begin = static_cast<int32_t>(count.padded_inputs);
      segment.group = static_cast<int32_t>(group);
      segment.merges = end == leaf_end ? shape.merges[leaf] : -1;
      visit(count.segments, segment);
      ++count.segments;
      count.padded_inputs += quantized ? AlignUp(end - begin, kChunkInputs) : end - begin;
      begin = end;
    }
  }
  return count;
}

}  // namespace

SegmentCount CountSegments(const LinearShape& shape) {
  return Walk(shape, [](int64_t, const Segment& segment) {
    OCTET_CHECK_LE(segment.inputs, kSegmentInputsMax);
  });
}

void BuildSegments(const LinearShape& shape, Segment* segments) {
  Walk(shape, [&](int64_t index, const Segment& segment) { segments[index] = segment; });
}

}  // namespace octet::kernels
