#include "kernels/linear/linear16_planned.h"

#include <map>
#include <tuple>
#include <vector>

namespace octet::kernels {
namespace {

constexpr size_t kShapesMax = 256;  // then all are forgotten: a model has a handful
constexpr size_t kPlansMax = 4096;  // of one shape

// All of a shape that a layout or a plan depends on.
auto KeyOf(const LinearShape& s) {
  return std::tie(s.format, s.outputs, s.inputs, s.input_begin, s.group, s.asymmetric,
                  s.scale_format, s.layout, s.leaf_bounds, s.merges);
}
struct ShapeLess {
  bool operator()(const LinearShape& a, const LinearShape& b) const { return KeyOf(a) < KeyOf(b); }
};

struct PlansOfShape {
  Cuda16Layout layout;
  std::map<std::tuple<int64_t, ActivationFormat, MatrixFamily>, Linear16Plan> plans;
};

}  // namespace

PlannedLinear16 PlannedBefore(const LinearShape& shape, int64_t rows, ActivationFormat rows_format,
                              MatrixFamily family) {
  thread_local std::map<LinearShape, PlansOfShape, ShapeLess> shapes;
  auto found = shapes.find(shape);
  if (found == shapes.end()) {
    if (shapes.size() == kShapesMax) shapes.clear();
    found = shapes.emplace(shape, PlansOfShape{Cuda16Layout::Of(shape), {}}).first;
  }
  PlansOfShape& of_shape = found->second;
  const std::tuple key = {rows, rows_format, family};
  auto plan = of_shape.plans.find(key);
  if (plan == of_shape.plans.end()) {
    if (of_shape.plans.size() == kPlansMax) of_shape.plans.clear();
    plan =
        of_shape.plans.emplace(key, PlanLinear16(shape, of_shape.layout, rows, rows_format, family))
            .first;
  }
  return {of_shape.layout, plan->second};
}

}  // namespace octet::kernels
