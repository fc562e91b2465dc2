// Running a linear on a device, emulated or not, over the cases of linear_cases.h.
#pragma once

#include <optional>
#include <vector>

#include "base/dtype.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear16_launch.h"
#include "kernels/linear/linear16_plan.h"
#include "tests/kernels/linear/linear_cases.h"
#include "tests/support/test_device.h"

namespace octet::kernels {

inline MatrixFamily DeviceFamily() {
  return octet::test::TestGpu()->info().has_wgmma() ? MatrixFamily::kWgmma : MatrixFamily::kMma;
}

// A shape in the layout of the device's bf16 mode.
inline LinearShape OnCuda16(LinearShape shape) {
  shape.layout = WeightLayout::kCuda16;
  return shape;
}

// x [rows, inputs] as activation rows of `format` (kF32 or kBF16); what lies between two rows is
// NaN.
struct DeviceRows {
  DeviceBuffer values;
  ActivationRows rows;

  DeviceRows(const std::vector<float>& x, int64_t count, int64_t inputs, ActivationFormat format,
             Stream& stream) {
    rows.format = format;
    rows.stride = ActivationStride(format, inputs) + kActivationRowAlignment;
    const int64_t bytes = ActivationBytes(format);
    std::vector<uint8_t> placed(count * rows.stride * bytes, 0xFF);
    for (int64_t i = 0; i < count * inputs; ++i) {
      const uint16_t rounded = FloatToBF16(x[i]);
      const void* from = bytes == 2 ? static_cast<const void*>(&rounded) : &x[i];
      std::memcpy(placed.data() + (i / inputs * rows.stride + i % inputs) * bytes, from, bytes);
    }
    values = octet::test::ToDevice(placed, stream);
    rows.values = values.data();
  }
};

struct CudaTile {
  Linear16Tile tile;
  int64_t parts = 1;
  bool arrivals = true;  // else another launch adds the parts
};

struct CudaRun {
  const LinearShape& shape;  // kCuda16
  const Buffer& packed;
  const std::vector<float>& x;  // [rows, inputs]
  int64_t rows = 0;
  ActivationFormat rows_format = ActivationFormat::kBF16;
  std::vector<float> bias = {};
  std::optional<CudaTile> with = {};  // else what the plan chooses
};

// [roots, rows, outputs]. Workspace and output are NaN at first.
inline std::vector<float> RunOnCuda(const CudaRun& run) {
  Stream& stream = octet::test::TestGpu()->stream();
  const std::vector<std::byte> packed(run.packed.data(), run.packed.data() + run.packed.bytes());
  const DeviceBuffer weights = octet::test::ToDevice(packed, stream);
  const DeviceRows x(run.x, run.rows, run.shape.inputs, run.rows_format, stream);
  const DeviceBuffer bias = octet::test::ToDevice(run.bias, stream);
  const DeviceBuffer out = octet::test::ToDevice(
      std::vector<float>(run.shape.root_count() * run.rows * run.shape.outputs, NAN), stream);
  LinearArgs args;
  args.shape = &run.shape;
  args.weights = weights.data();
  args.activations = x.rows;
  args.rows = run.rows;
  args.bias = run.bias.empty() ? nullptr : bias.as<float>();
  args.out = out.as<float>();
  args.activation = ActivationFormat::kBF16;
  const DeviceBuffer arrivals =
      octet::test::ToDevice(std::vector<uint32_t>(kLinearArrivals, 0), stream);
  if (!run.with.has_value() || run.with->arrivals) args.arrivals = arrivals.as<uint32_t>();
  const auto allocate = [](int64_t bytes) {
    return DeviceBuffer::Allocate(std::max<int64_t>(bytes, 64)).value();
  };
  if (run.with.has_value()) {
    const Cuda16Layout layout = Cuda16Layout::Of(run.shape);
    const Linear16Plan plan = PlanLinear16With(run.shape, layout, run.rows, run.rows_format,
                                               DeviceFamily(), run.with->tile, run.with->parts);
    const DeviceBuffer workspace = allocate(plan.workspace_bytes());
    args.workspace = workspace.data();
    cuda::Linear16ByPlan(args, layout, plan, DeviceFamily(), stream);
    Synchronize(stream);
  } else {
    const DeviceBuffer workspace =
        allocate(LinearWorkspaceBytes(run.shape, args.activation, run.rows, run.rows_format));
    args.workspace = workspace.data();
    Linear(args, stream);
    Synchronize(stream);
  }
  for (const uint32_t count : octet::test::ToHost<uint32_t>(arrivals, stream))
    OCTET_CHECK_EQ(count, 0u);
  return octet::test::ToHost<float>(out, stream);
}

}  // namespace octet::kernels
