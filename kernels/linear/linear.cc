#include "kernels/linear/linear.h"

#include "base/check.h"
#include "kernels/dispatch.h"
#include "kernels/linear/linear16_plan.h"
#include "kernels/linear/linear8_plan.h"
#include "kernels/linear/panel.h"

namespace octet::kernels {
namespace {

void CheckShape(const LinearShape& shape) {
  OCTET_CHECK_GE(shape.outputs, 0);
  OCTET_CHECK_GE(shape.inputs, 0);
  OCTET_CHECK_GE(shape.input_begin, 0);
  if (IsQuantized(shape.format)) OCTET_CHECK_GT(shape.group, 0);
  OCTET_CHECK_EQ(shape.leaf_bounds.size(), shape.merges.size() + 1);
  OCTET_CHECK_EQ(shape.leaf_bounds.front(), 0);
  OCTET_CHECK_EQ(shape.leaf_bounds.back(), shape.inputs);
  int64_t slots = 0;
  for (size_t leaf = 0; leaf < shape.merges.size(); ++leaf) {
    OCTET_CHECK_LT(shape.leaf_bounds[leaf], shape.leaf_bounds[leaf + 1]);
    ++slots;
    OCTET_CHECK_LE(slots, kSlotsMax);
    OCTET_CHECK_GE(shape.merges[leaf], 0);
    OCTET_CHECK_LT(shape.merges[leaf], slots);
    slots -= shape.merges[leaf];
  }
}

void CheckRows(const ActivationRows& rows, int64_t count, int64_t inputs) {
  OCTET_CHECK(!rows.empty());
  if (rows.format == ActivationFormat::kInt8) {
    OCTET_CHECK_EQ(rows.stride % kBlockPositions, 0);
    OCTET_CHECK_GE(rows.padded_rows(), count);
    OCTET_CHECK(rows.scales != nullptr && rows.sums != nullptr);
  } else {
    OCTET_CHECK_GE(rows.stride, inputs);
  }
  OCTET_CHECK_EQ(rows.stride * ActivationBytes(rows.format) % kActivationRowAlignment, 0);
  OCTET_CHECK_EQ(reinterpret_cast<uintptr_t>(rows.values) % kActivationRowAlignment, 0u);
}

void CheckArgs(const LinearArgs& args) {
  OCTET_CHECK(args.shape != nullptr);
  CheckShape(*args.shape);
  OCTET_CHECK_GE(args.rows, 0);
  if (args.bias != nullptr) OCTET_CHECK_EQ(args.shape->root_count(), 1);
  if (args.rows == 0 || args.shape->outputs == 0 || args.shape->inputs == 0) return;
  OCTET_CHECK(args.weights != nullptr && args.out != nullptr);
  OCTET_CHECK(args.workspace != nullptr);
  if (args.shape->layout == WeightLayout::kCpuPanels) {
    OCTET_CHECK(args.x != nullptr);
    OCTET_CHECK_GE(args.x_stride, args.shape->inputs);
  } else {
    CheckRows(args.activations, args.rows, args.shape->inputs);
  }
  OCTET_CHECK_EQ(reinterpret_cast<uintptr_t>(args.weights) % 64, 0u);
  OCTET_CHECK_EQ(reinterpret_cast<uintptr_t>(args.workspace) % 64, 0u);
}

}  // namespace

int64_t LinearShape::root_count() const {
  int64_t roots = static_cast<int64_t>(merges.size());
  for (const int32_t count : merges) roots -= count;
  return roots;
}

int64_t LinearShape::group_begin() const { return input_begin / group; }

int64_t LinearShape::group_count() const {
  if (inputs == 0) return 0;
  return (input_begin + inputs - 1) / group - group_begin() + 1;
}

int64_t LinearWorkspaceBytes(const LinearShape& shape, ActivationFormat activation, int64_t rows) {
  // The device's form of a mode: float weights are multiplied with bf16 in the int8 mode too.
  const bool is_int8 = activation == ActivationFormat::kInt8 && IsQuantized(shape.format);
  return LinearWorkspaceBytes(shape, activation, rows,
                              is_int8 ? ActivationFormat::kInt8 : ActivationFormat::kBF16);
}

int64_t LinearWorkspaceBytes(const LinearShape& shape, ActivationFormat activation, int64_t rows,
                             ActivationFormat rows_format) {
  CheckShape(shape);
  switch (shape.layout) {
    case WeightLayout::kCpuPanels:
      return cpu::LinearWorkspaceBytes(shape, activation, rows);
    case WeightLayout::kCuda16:
      return Linear16WorkspaceBytes(shape, rows, rows_format);
    case WeightLayout::kCuda8:
      return Linear8WorkspaceBytes(shape, rows, rows_format);
  }
  OCTET_CHECK_EQ(static_cast<int>(shape.layout), -1);
  return 0;
}

void Linear(const LinearArgs& args, Stream& stream) {
  CheckArgs(args);
  OCTET_CHECK_EQ(stream.device() == Device::kCpu, args.shape->layout == WeightLayout::kCpuPanels);
  Dispatch(cpu::Linear, cuda::Linear, args, stream);
}

}  // namespace octet::kernels
