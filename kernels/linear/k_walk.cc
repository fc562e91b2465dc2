#include "kernels/linear/k_walk.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/linear/cuda8_layout.h"
#include "kernels/linear/segments.h"

namespace octet::kernels {
namespace {

int32_t StepsOf(int64_t inputs) {
  return static_cast<int32_t>((inputs + kStepPositions - 1) / kStepPositions);
}

// Fills what the blocks alone can tell.
void CountEnds(KWalk& walk) {
  walk.whole = true;
  for (BlockCursor block(walk, 0); block.leaf < walk.leaves; block.Next(walk)) {
    walk.ends_max = std::max(walk.ends_max, block.end_count());
    const bool ends_inside = (block.ends & ((1u << (kBlockSteps - 1)) - 1)) != 0;
    if (block.steps != kBlockSteps || ends_inside) walk.whole = false;
  }
}

}  // namespace

KWalk KWalk::Of(const LinearShape& shape) {
  OCTET_CHECK(IsQuantized(shape.format));
  const auto leaves = static_cast<int64_t>(shape.merges.size());
  OCTET_CHECK_LE(leaves, kPartLeavesMax);
  KWalk walk;
  walk.leaves = static_cast<int32_t>(leaves);
  walk.group = static_cast<int32_t>(std::min(shape.group, std::max<int64_t>(shape.inputs, 1)));
  walk.group_steps = StepsOf(walk.group);
  walk.step_bytes = static_cast<int32_t>(Cuda8StepBytes(shape.format));
  walk.scale_bytes = static_cast<int32_t>(Cuda8ScaleBytes(shape));
  for (int64_t i = 0; i < leaves; ++i) {
    KLeaf& leaf = walk.leaf[i];
    const int64_t begin = shape.leaf_bounds[i];
    const int64_t end = shape.leaf_bounds[i + 1];
    const int64_t group_end =
        ((shape.input_begin + begin) / shape.group + 1) * shape.group - shape.input_begin;
    const int64_t head_end = std::min(end, group_end);
    const int64_t rest = end - head_end;
    leaf.block = walk.blocks;
    leaf.segment = walk.segments;
    leaf.step = walk.steps;
    leaf.begin = static_cast<int32_t>(begin);
    leaf.inputs = static_cast<int32_t>(end - begin);
    leaf.head_inputs = static_cast<int32_t>(head_end - begin);
    leaf.head_steps = StepsOf(leaf.head_inputs);
    const int64_t whole_groups = rest / shape.group;
    leaf.steps = leaf.head_steps + static_cast<int32_t>(whole_groups) * walk.group_steps +
                 StepsOf(rest % shape.group);
    walk.segments += 1 + static_cast<int32_t>(whole_groups + (rest % shape.group != 0));
    walk.steps += leaf.steps;
    walk.blocks += (leaf.steps + kBlockSteps - 1) / kBlockSteps;
    const int64_t longest = std::max<int64_t>(leaf.head_inputs, std::min(rest, shape.group));
    OCTET_CHECK_LE(longest, kSegmentInputsMax);
    walk.segment_inputs_max = std::max(walk.segment_inputs_max, static_cast<int32_t>(longest));
  }
  walk.leaf[leaves].block = walk.blocks;
  walk.leaf[leaves].segment = walk.segments;
  walk.leaf[leaves].step = walk.steps;
  CountEnds(walk);
  return walk;
}

}  // namespace octet::kernels
