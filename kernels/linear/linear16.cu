// The linear with bf16 activations on a GPU: lays out the workspace, prepares the rows where it has
// to, launches the kernel of the plan, and adds what its parts leave.
//
// Workspace: x by steps | sums of x | partial sums | spilled sums (linear16_plan.h).
#include "base/check.h"
#include "base/device/device_info.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear16.cuh"
#include "kernels/linear/linear16_launch.h"
#include "kernels/linear/linear16_planned.h"
#include "kernels/linear/linear16_rows.h"
#include "kernels/linear/linear_reduce.h"

namespace octet::kernels::cuda {
namespace {

struct Workspace {
  uint16_t* x;
  float* x_sums;
  float* partials;
  float* spill;

  Workspace(const Linear16Plan& plan, std::byte* base) {
    x = reinterpret_cast<uint16_t*>(base);
    x_sums = reinterpret_cast<float*>(base + plan.x_bytes);
    partials = reinterpret_cast<float*>(base + plan.x_bytes + plan.x_sums_bytes);
    spill = reinterpret_cast<float*>(base + plan.x_bytes + plan.x_sums_bytes + plan.partial_bytes);
  }
};

void PrepareRows(const LinearArgs& args, const Cuda16Layout& layout, const Linear16Plan& plan,
                 const Workspace& workspace, Stream& stream) {
  Linear16RowsArgs rows;
  rows.from = args.activations;
  rows.rows = args.rows;
  rows.group = IsQuantized(args.shape->format) ? args.shape->group : int64_t{1} << 40;
  rows.input_begin = args.shape->input_begin;
  rows.inputs = layout.inputs;
  rows.by_steps = plan.x_bytes > 0 ? workspace.x : nullptr;
  const bool sums_itself = plan.tile.warps > 0 && plan.few.whole;
  rows.sums = plan.x_sums_bytes > 0 && !sums_itself ? workspace.x_sums : nullptr;
  rows.sums_stride = plan.x_sums_stride;
  Linear16Rows(rows, stream);
}

// Whether the kernel adds its parts, given counters: there are enough of them.
bool AddsItsParts(const Linear16Plan& plan) {
  return plan.items / plan.parts.parts * (IsWide(plan.tile.name) ? WideArrivals(plan.tile) : 1) <=
         kLinearArrivals;
}

Linear16Kernel MakeKernel(const LinearArgs& args, const Cuda16Layout& layout,
                          const Linear16Plan& plan, const Workspace& workspace) {
  Linear16Kernel k = {};
  k.weights = args.weights;
  const bool placed = plan.x_bytes > 0;
  k.x_by_steps = placed && !IsWide(plan.tile.name);
  k.x = placed ? workspace.x : static_cast<const uint16_t*>(args.activations.values);
  k.x_stride = placed ? layout.blocks() * kCuda16BlockInputs : args.activations.stride;
  k.x_sums = workspace.x_sums;
  k.x_sums_stride = plan.x_sums_stride;
  k.bias = args.bias;
  k.out = args.out;
  k.partials = workspace.partials;
  k.arrivals = AddsItsParts(plan) ? args.arrivals : nullptr;
  k.spill = workspace.spill;
  k.panel_bytes = layout.panel_bytes;
  k.outputs = args.shape->outputs;
  k.rows = args.rows;
  k.panels = static_cast<int32_t>(layout.panels);
  k.code_bytes = layout.code_bytes;
  k.stage_bytes[0] = layout.stage_bytes[0];
  k.stage_bytes[1] = layout.stage_bytes[1];
  k.ring_bytes = static_cast<int32_t>(plan.stage_bytes);
  k.output_tiles = static_cast<int32_t>(plan.output_tiles);
  k.row_tiles = static_cast<int32_t>(plan.row_tiles);
  k.items = static_cast<int32_t>(plan.items);
  k.shared_levels = plan.shared_levels;
  k.spill_levels = plan.spill_levels;
  k.asymmetric = IsQuantized(args.shape->format) && args.shape->asymmetric;
  k.scales_f32 = args.shape->scale_format == ScaleFormat::kF32;
  k.few = plan.few;
  k.parts = plan.parts;
  k.inputs = layout.inputs;
  return k;
}

void Launch(WeightFormat format, MatrixFamily family, const Linear16Plan& plan,
            const Linear16Kernel& k, Stream& stream) {
  const bool wgmma = family == MatrixFamily::kWgmma;
  switch (format) {
    case WeightFormat::kInt4:
      if (IsStream(plan.tile.name)) return LaunchLinear16StreamInt4(plan, k, stream);
      if (plan.tile.warps > 0) return LaunchLinear16FewInt4(plan, k, stream);
      if (IsWide(plan.tile.name)) return LaunchLinear16WideInt4(plan, k, stream);
      return wgmma ? LaunchLinear16WgmmaInt4(plan, k, stream)
                   : LaunchLinear16MmaInt4(plan, k, stream);
    case WeightFormat::kInt8:
      if (plan.tile.warps > 0) return LaunchLinear16FewInt8(plan, k, stream);
      if (IsWide(plan.tile.name)) return LaunchLinear16WideInt8(plan, k, stream);
      return wgmma ? LaunchLinear16WgmmaInt8(plan, k, stream)
                   : LaunchLinear16MmaInt8(plan, k, stream);
    default:
      return wgmma ? LaunchLinear16WgmmaFloat(format, plan, k, stream)
                   : LaunchLinear16MmaFloat(format, plan, k, stream);
  }
}

}  // namespace

void Linear16ByPlan(const LinearArgs& args, const Cuda16Layout& layout, const Linear16Plan& plan,
                    MatrixFamily family, Stream& stream) {
  const LinearShape& shape = *args.shape;
  const Workspace workspace(plan, args.workspace);
  PrepareRows(args, layout, plan, workspace, stream);
  const Linear16Kernel k = MakeKernel(args, layout, plan, workspace);
  Launch(shape.format, family, plan, k, stream);
  if (plan.parts.parts == 1 || plan.tile.warps > 0 || k.arrivals != nullptr) return;
  LinearReduceArgs reduce;
  reduce.sums = workspace.partials;
  reduce.program = plan.parts.rest;
  reduce.rows = args.rows;
  reduce.outputs = shape.outputs;
  reduce.bias = args.bias;
  reduce.out = args.out;
  LinearReduce(reduce, stream);
}

void Linear16(const LinearArgs& args, Stream& stream) {
  const LinearShape& shape = *args.shape;
  if (args.rows == 0 || shape.outputs == 0 || shape.inputs == 0) return;
  OCTET_CHECK(args.activations.format != ActivationFormat::kInt8);
  const MatrixFamily family = stream.info().has_wgmma() ? MatrixFamily::kWgmma : MatrixFamily::kMma;
  const PlannedLinear16 planned = PlannedBefore(shape, args.rows, args.activations.format, family);
  Linear16ByPlan(args, planned.layout, planned.plan, family, stream);
}

}  // namespace octet::kernels::cuda
