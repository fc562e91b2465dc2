// Problems for the linear with bf16 activations on a device, and what their outputs may be.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/kernels/linear/linear_cuda_cases.h"
#include "tests/kernels/linear/linear_reference.h"

namespace octet::kernels {

inline Problem RandomProblem(LinearShape shape, int64_t rows, std::mt19937& random) {
  Problem p;
  p.shape = OnCuda16(std::move(shape));
  p.weights = RandomWeights(p.shape, random);
  p.x = RandomFloats(rows * p.shape.inputs, 1.0f, random);
  p.rows = rows;
  if (p.shape.root_count() == 1) p.bias = RandomFloats(p.shape.outputs, 0.1f, random);
  return p;
}

inline std::vector<float> OnDevice(const Problem& p) {
  return RunOnCuda({.shape = p.shape,
                    .packed = Pack(p.shape, p.weights),
                    .x = p.x,
                    .rows = p.rows,
                    .bias = p.bias});
}

// Of one root: the sum, and the sum of magnitudes that roundings are relative to.
struct Exact {
  double value = 0;
  double magnitude = 0;
};

inline Exact ExactSum(const Problem& p, int64_t row, int64_t output) {
  const LinearShape& shape = p.shape;
  const double middle = shape.format == WeightFormat::kInt4 ? 8 : 128;
  Exact exact;
  for (int64_t k = 0; k < shape.inputs; ++k) {
    const double x = BF16ToFloat(FloatToBF16(p.x[row * shape.inputs + k]));
    if (!IsQuantized(shape.format)) {
      const double product = x * ReferenceWeight(shape, p.weights, output, k);
      exact.value += product;
      exact.magnitude += std::abs(product);
      continue;
    }
    const int64_t group = (shape.input_begin + k) / shape.group - shape.group_begin();
    const int64_t at = output * shape.group_count() + group;
    const double scale = p.weights.scales[at];
    const double scaled = scale * (p.weights.codes[output * shape.inputs + k] - middle);
    // offset + middle * scale is rounded too, relative to its parts.
    const double offset = shape.asymmetric ? p.weights.offsets[at] : 0.0;
    const double middles = shape.asymmetric ? middle * scale : 0.0;
    exact.value += x * (scaled + middles + offset);
    exact.magnitude += std::abs(x) * (std::abs(scaled) + std::abs(middles) + std::abs(offset));
  }
  return exact;
}

// A value passes through at most one rounding per input of its leaf (an emulated matrix instruction
// rounds each of its 16 sums; a real one fewer times, but may cut instead of rounding: hence a
// whole ulp), two per segment, and the tree's.
inline double Bound(const LinearShape& shape, double magnitude) {
  int64_t leaf_inputs = 0;
  for (size_t leaf = 0; leaf < shape.merges.size(); ++leaf) {
    leaf_inputs = std::max(leaf_inputs, shape.leaf_bounds[leaf + 1] - shape.leaf_bounds[leaf]);
  }
  return static_cast<double>(3 * leaf_inputs + 40) * 0x1p-23 * magnitude + 1e-30;
}

// Of one root.
inline void ExpectWithinBound(const Problem& p, const std::vector<float>& out) {
  ASSERT_EQ(p.shape.root_count(), 1);
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t output = 0; output < p.shape.outputs; ++output) {
      const Exact exact = ExactSum(p, row, output);
      const double bias = p.bias.empty() ? 0 : p.bias[output];
      const double error = std::abs(out[row * p.shape.outputs + output] - (exact.value + bias));
      ASSERT_LE(error, Bound(p.shape, exact.magnitude + std::abs(bias)))
          << Describe(p.shape, ActivationFormat::kBF16, Isa::kPlain) << " row " << row << " output "
          << output;
    }
  }
}

}  // namespace octet::kernels
