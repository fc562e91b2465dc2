// cuda::Linear8: brings the rows to int8 where they are not, chooses the form, and adds up what the
// parts of the inputs left.
#include <algorithm>

#include "base/check.h"
#include "base/device/device_info.h"
#include "kernels/linear/cuda8_layout.h"
#include "kernels/linear/linear8.cuh"
#include "kernels/linear/linear8.h"
#include "kernels/linear/linear_reduce.h"
#include "kernels/linear/quantize_activations.h"

namespace octet::kernels::cuda {
namespace {

// Sums of a segment below this, and above its negative, are short (Linear8Params::long_segments).
constexpr int64_t kShortSumMax = int64_t{1} << 22;

// The rows as int8: those that the caller has, or made of f32 ones in the workspace.
ActivationRows Int8Rows(const LinearArgs& args, const Linear8Plan& plan, Stream& stream) {
  const LinearShape& shape = *args.shape;
  if (args.activations.format == ActivationFormat::kInt8) return args.activations;
  OCTET_CHECK(args.activations.format == ActivationFormat::kF32);
  QuantizeActivationsArgs quantize;
  quantize.shape = &shape;
  quantize.x = static_cast<const float*>(args.activations.values);
  quantize.x_stride = args.activations.stride;
  quantize.rows = args.rows;
  quantize.out = PlaceActivationRows(ActivationExtentOf(shape, ActivationFormat::kInt8), args.rows,
                                     nullptr, args.workspace + plan.activations_at);
  QuantizeActivations(quantize, stream);
  return quantize.out;
}

Linear8Params ParamsOf(const LinearArgs& args, const Linear8Plan& plan, const ActivationRows& x) {
  const LinearShape& shape = *args.shape;
  Linear8Params p = {};
  p.walk = KWalk::Of(shape);
  p.weights = args.weights;
  p.codes = static_cast<const int8_t*>(x.values);
  p.x_scales = x.scales;
  p.x_sums = x.sums;
  const bool direct = plan.parts.parts == 1;
  p.sums = direct ? args.out : reinterpret_cast<float*>(args.workspace + plan.sums_at);
  p.bias = direct ? args.bias : nullptr;
  p.waiting = reinterpret_cast<float*>(args.workspace + plan.waiting_at);
  p.block_stride = x.stride;
  p.panel_bytes = p.walk.panel_bytes();
  p.panels = static_cast<int32_t>((shape.outputs + kCuda8PanelOutputs - 1) / kCuda8PanelOutputs);
  p.padded_rows = static_cast<int32_t>(x.padded_rows());
  p.rows = static_cast<int32_t>(args.rows);
  p.outputs = static_cast<int32_t>(shape.outputs);
  p.token_tiles = plan.token_tiles;
  p.panel_tiles = plan.panel_tiles;
  p.items = static_cast<int32_t>(plan.items());
  p.weight_bytes = kBlockSteps * p.walk.step_bytes + p.walk.ends_max * p.walk.scale_bytes;
  p.f32_scales = shape.scale_format == ScaleFormat::kF32;
  const bool int4 = shape.format == WeightFormat::kInt4;
  const int64_t code_max = shape.asymmetric ? (int4 ? 15 : 255) : 128;  // symmetric int4: 16 * 8
  p.long_segments = p.walk.segment_inputs_max * code_max * 127 >= kShortSumMax;
  p.parts = plan.parts;
  p.few.stage_bytes = plan.few.stage_bytes;
  p.few.levels = plan.few.levels;
  p.few.blocks_max = plan.few.blocks_max;
  p.few.leaves_max = plan.few.leaves_max;
  p.few.ahead = plan.few.ahead;
  p.few.bias = args.bias;
  p.few.out = args.out;
  std::copy_n(plan.left_sum, kPartLeavesMax, p.left_sum);
  std::copy_n(plan.push_slot, kPartLeavesMax, p.push_slot);
  std::copy_n(plan.pop_first, kPartLeavesMax, p.pop_first);
  std::copy_n(plan.pop_slot, kPartLeavesMax, p.pop_slot);
  return p;
}

}  // namespace

void Linear8(const LinearArgs& args, Stream& stream) {
  const LinearShape& shape = *args.shape;
  OCTET_CHECK(shape.layout == WeightLayout::kCuda8);
  OCTET_CHECK(IsQuantized(shape.format));
  if (args.rows == 0 || shape.outputs == 0 || shape.inputs == 0) return;
  const bool clusters = stream.info().has_wgmma();
  Linear8ByPlan(args, Linear8Plan::Of(shape, args.rows, args.activations.format, clusters), stream);
}

void Linear8ByPlan(const LinearArgs& args, const Linear8Plan& plan, Stream& stream) {
  const LinearShape& shape = *args.shape;
  const ActivationRows x = Int8Rows(args, plan, stream);
  OCTET_CHECK_GE(x.padded_rows(), int64_t{plan.token_tiles} * plan.tile_tokens);
  Linear8Params p = ParamsOf(args, plan, x);
  OCTET_CHECK_EQ(x.segments, p.walk.segments);
  OCTET_CHECK_EQ(x.leaves, p.walk.leaves);
  const bool int4 = shape.format == WeightFormat::kInt4;
  if (plan.is_few()) return Linear8FewSm90(p, plan, int4, shape.asymmetric, stream);
  if (stream.info().has_wgmma() && TakesLinear8Sm90(plan, p.walk)) {
    Linear8Sm90(p, plan, int4, shape.asymmetric, stream);
  } else {
    Linear8Mma(p, plan, int4, shape.asymmetric, stream);
  }
  if (plan.parts.parts == 1) return;
  LinearReduceArgs reduce;
  reduce.sums = p.sums;
  reduce.program = plan.parts.rest;
  reduce.rows = args.rows;
  reduce.outputs = shape.outputs;
  reduce.bias = args.bias;
  reduce.out = args.out;
  LinearReduce(reduce, stream);
}

}  // namespace octet::kernels::cuda
