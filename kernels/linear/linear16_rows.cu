#include "kernels/linear/linear16_rows.h"

#include "base/device/primitives.cuh"

namespace octet::kernels::cuda {
namespace {

constexpr int kThreads = 128;

// Where the segments of a leaf lie: the first may be cut short by the leaf's begin, the others are
// groups, the last may be cut short by its end.
struct LeafSegments {
  int32_t begin;   // input
  int32_t inputs;  // of the leaf
  int32_t first;   // inputs of the first segment
  int32_t group;

  OCTET_DEVICE LeafSegments(const Linear16RowsArgs& k, int leaf)
      : begin(k.inputs.leaf_input[leaf]),
        inputs(k.inputs.leaf_input[leaf + 1] - begin),
        first(static_cast<int32_t>(
            min(static_cast<int64_t>(inputs), k.group - (k.input_begin + begin) % k.group))),
        group(static_cast<int32_t>(min(k.group, int64_t{1} << 30))) {}

  // Segment `index` of the leaf: its first input and how many it has.
  OCTET_DEVICE int2 Segment(int index) const {
    const int32_t from = index == 0 ? 0 : first + (index - 1) * group;
    const int32_t count = index == 0 ? first : min(group, inputs - from);
    return make_int2(begin + from, count);
  }
  // The same of a step of 16 inputs; none at all past the leaf's end.
  OCTET_DEVICE int2 Step(int step) const {
    const int32_t first_steps = (first + kCuda16StepInputs - 1) / kCuda16StepInputs;
    const int32_t group_steps = (group + kCuda16StepInputs - 1) / kCuda16StepInputs;
    const int index = step < first_steps ? 0 : 1 + (step - first_steps) / group_steps;
    const int32_t done =
        (index == 0 ? step : (step - first_steps) % group_steps) * kCuda16StepInputs;
    if (index > 0 && first + (index - 1) * group >= inputs) return make_int2(begin, 0);
    const int2 segment = Segment(index);
    return make_int2(segment.x + done, max(0, min(kCuda16StepInputs, segment.y - done)));
  }
};

OCTET_DEVICE uint16_t Rounded(const ActivationRows& rows, int64_t at) {
  if (rows.format == ActivationFormat::kBF16) return static_cast<const uint16_t*>(rows.values)[at];
  return hw::bf16(static_cast<const float*>(rows.values)[at]);
}

// One thread per row and step. Moves rows * inputs * (2 or 4, and 2) bytes.
__global__ void __launch_bounds__(kThreads)
    ByStepsKernel(const OCTET_GRID_CONSTANT Linear16RowsArgs k) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t steps = int64_t{k.inputs.leaf_block[k.inputs.leaves]} * kCuda16BlockSteps;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
#if OCTET_PLANTED_BUG != 4
  if (i >= k.rows * steps) return;
#endif
  const int64_t row = i / steps;
  const auto step = static_cast<int32_t>(i % steps);
  int leaf = 0;
  while (step >= k.inputs.leaf_block[leaf + 1] * kCuda16BlockSteps) ++leaf;
  const int2 inputs =
      LeafSegments(k, leaf).Step(step - k.inputs.leaf_block[leaf] * kCuda16BlockSteps);
  uint16_t* to = k.by_steps + i * kCuda16StepInputs;
  for (int j = 0; j < kCuda16StepInputs; ++j) {
    to[j] = j < inputs.y ? Rounded(k.from, row * k.from.stride + inputs.x + j) : uint16_t{0};
  }
}

// One warp per row and segment: lane l adds inputs l, l + 32, ...; then lanes are added in pairs.
__global__ void __launch_bounds__(kThreads)
    SumsKernel(const OCTET_GRID_CONSTANT Linear16RowsArgs k) {
  hw::let_next_begin();
  hw::wait_for_past();
  const int64_t segments = k.inputs.leaf_segment[k.inputs.leaves];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const bool is_there = i < k.rows * segments;
  const int64_t row = is_there ? i / segments : 0;
  const auto segment = static_cast<int32_t>(is_there ? i % segments : 0);
  int leaf = 0;
  while (segment >= k.inputs.leaf_segment[leaf + 1]) ++leaf;
  const int2 inputs = LeafSegments(k, leaf).Segment(segment - k.inputs.leaf_segment[leaf]);
  float sum = 0;
  for (int j = lane; j < inputs.y; j += 32) {
    sum += hw::float_of_bf16(Rounded(k.from, row * k.from.stride + inputs.x + j));
  }
  for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(~0u, sum, other);
  if (is_there && lane == 0) k.sums[segment * k.sums_stride + row] = sum;
}

dim3 Blocks(int64_t count, int64_t each) {
  return dim3(static_cast<unsigned>((count + each - 1) / each));
}

}  // namespace

void Linear16Rows(const Linear16RowsArgs& args, Stream& stream) {
  const int32_t leaves = args.inputs.leaves;
  if (args.by_steps != nullptr) {
    const int64_t steps = int64_t{args.inputs.leaf_block[leaves]} * kCuda16BlockSteps;
    OCTET_LAUNCH_EARLY(ByStepsKernel, Blocks(args.rows * steps, kThreads), dim3(kThreads), 0,
                       stream, args);
  }
  if (args.sums != nullptr) {
    const int64_t segments = args.inputs.leaf_segment[leaves];
    OCTET_LAUNCH_EARLY(SumsKernel, Blocks(args.rows * segments, kThreads / 32), dim3(kThreads), 0,
                       stream, args);
  }
}

}  // namespace octet::kernels::cuda
