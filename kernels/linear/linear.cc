#include "kernels/linear/linear.h"

#include "base/check.h"
#include "kernels/dispatch.h"
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

void CheckArgs(const LinearArgs& args) {
  OCTET_CHECK(args.shape != nullptr);
  CheckShape(*args.shape);
  OCTET_CHECK_GE(args.rows, 0);
  if (args.bias != nullptr) OCTET_CHECK_EQ(args.shape->root_count(), 1);
  if (args.rows == 0 || args.shape->outputs == 0 || args.shape->inputs == 0) return;
  OCTET_CHECK(args.weights != nullptr && args.x != nullptr && args.out != nullptr);
  OCTET_CHECK(args.workspace != nullptr);
  OCTET_CHECK_GE(args.x_stride, args.shape->inputs);
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

void Linear(const LinearArgs& args, Stream& stream) {
  CheckArgs(args);
  Dispatch(cpu::Linear, cuda::Linear, args, stream);
}

}  // namespace octet::kernels
