// Every family against a plain product in double precision, within a bound that follows from the
// roundings of the definition (kernels/linear/panel.h). Knows nothing of segments' order or bits.
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/linear/linear.h"
#include "tests/kernels/linear/linear_cases.h"
#include "tests/kernels/linear/linear_reference.h"

namespace octet::kernels {
namespace {

constexpr double kHalfUlp = 0x1p-24;

struct Weight {
  double value = 0;
  double magnitude = 0;  // of code times scale, and of the offset
};

Weight WeightAt(const Problem& p, int64_t output, int64_t k) {
  const LinearShape& shape = p.shape;
  if (!IsQuantized(shape.format)) {
    const double value = ReferenceWeight(shape, p.weights, output, k);
    return {value, std::abs(value)};
  }
  const int64_t group = (shape.input_begin + k) / shape.group - shape.group_begin();
  const int64_t scale_at = output * shape.group_count() + group;
  const int zero = shape.asymmetric ? 0 : shape.format == WeightFormat::kInt4 ? 8 : 128;
  const double part =
      double{p.weights.scales[scale_at]} * (p.weights.codes[output * shape.inputs + k] - zero);
  const double offset = shape.asymmetric ? p.weights.offsets[scale_at] : 0.0;
  return {part + offset, std::abs(part) + std::abs(offset)};
}

// How far each activation of a row may be from what the op multiplies: nothing, half an ulp of
// bf16, or half a step of its segment's scale, to which rounding x * (127 / amax) adds three half
// ulps.
std::vector<double> ActivationErrors(const Problem& p, int64_t row, ActivationFormat activation) {
  const float* x = p.x.data() + row * p.shape.inputs;
  std::vector<double> errors(p.shape.inputs, 0.0);
  if (activation == ActivationFormat::kF32) return errors;
  if (activation == ActivationFormat::kBF16 || !IsQuantized(p.shape.format)) {
    for (int64_t k = 0; k < p.shape.inputs; ++k) errors[k] = std::abs(x[k]) * 0x1p-8 / 2;
    return errors;
  }
  const std::vector<int64_t>& leaves = p.shape.leaf_bounds;
  for (int64_t begin = 0; begin < p.shape.inputs;) {
    int64_t end = begin + 1;
    while (end < p.shape.inputs && (p.shape.input_begin + end) % p.shape.group != 0 &&
           !std::binary_search(leaves.begin(), leaves.end(), end)) {
      ++end;
    }
    double amax = 0;
    for (int64_t k = begin; k < end; ++k) amax = std::max(amax, double{std::abs(x[k])});
    for (int64_t k = begin; k < end; ++k) errors[k] = amax / 127 * (0.5 + 127 * 3 * kHalfUlp);
    begin = end;
  }
  return errors;
}

// A weight passes two roundings, its product one, and every addition of its leaf and of the leaves
// one each: at most inputs of the longest leaf + leaves. With int8 activations, where a segment
// adds once (twice if there are offsets), conversions and scales add four: fewer than with floats,
// but for the shortest leaves. So, over the terms w x with the magnitudes of their parts,
//   |error| <= sum |w| |error of x| + (longest leaf + leaves + 8) half ulps of (sum |w x| +
//   |bias|).
void ExpectWithinBound(const Problem& p) {
  const LinearShape& shape = p.shape;
  const Buffer packed = Pack(shape, p.weights);
  int64_t longest = 0;
  for (size_t i = 1; i < shape.leaf_bounds.size(); ++i) {
    longest = std::max(longest, shape.leaf_bounds[i] - shape.leaf_bounds[i - 1]);
  }
  const auto roundings = static_cast<double>(longest + std::ssize(shape.merges) + 8);
  const int64_t count = p.rows * shape.outputs;
  for (const ActivationFormat activation : kActivations) {
    std::vector<double> exact(count), bound(count);
    for (int64_t row = 0; row < p.rows; ++row) {
      const std::vector<double> errors = ActivationErrors(p, row, activation);
      for (int64_t output = 0; output < shape.outputs; ++output) {
        double sum = p.bias.empty() ? 0.0 : p.bias[output];
        double magnitude = std::abs(sum);
        double from_x = 0;
        for (int64_t k = 0; k < shape.inputs; ++k) {
          const Weight w = WeightAt(p, output, k);
          const double x = p.x[row * shape.inputs + k];
          sum += w.value * x;
          magnitude += w.magnitude * (std::abs(x) + errors[k]);
          from_x += std::abs(w.value) * errors[k];
        }
        exact[row * shape.outputs + output] = sum;
        bound[row * shape.outputs + output] = from_x + roundings * kHalfUlp * magnitude;
      }
    }
    for (const Isa isa : Isas()) {
      const WithIsa with(isa);
      const std::vector<float> out = RunLinear({shape, packed, p.x, p.rows, activation, 1, p.bias});
      int64_t wrong = 0;
      for (int64_t i = 0; i < count; ++i) {
        double sum = 0;  // of the roots, which other ranks' would join
        for (int64_t root = 0; root < shape.root_count(); ++root) sum += out[root * count + i];
        wrong += !(std::abs(sum - exact[i]) <= bound[i]);  // a NaN is wrong
      }
      EXPECT_EQ(wrong, 0) << Describe(shape, activation, isa) << " from input " << shape.input_begin
                          << ", " << p.rows << " rows";
    }
  }
}

Problem Make(const LinearShape& shape, int64_t rows, std::mt19937& random) {
  Problem p;
  p.shape = shape;
  p.rows = rows;
  p.weights = RandomWeights(shape, random);
  p.x = RandomFloats(rows * shape.inputs, 1.0f, random);
  if (shape.root_count() == 1) p.bias = RandomFloats(shape.outputs, 1.0f, random);
  return p;
}

// Outputs that are no multiple of a panel or of a vector.
int64_t OddOutputs(std::mt19937& random) {
  const int64_t outputs = 1 + static_cast<int64_t>(random() % 110);
  return outputs % 16 == 0 ? outputs + 1 : outputs;
}

int64_t SomeRows(std::mt19937& random) { return 1 + static_cast<int64_t>(random() % 10); }

// Inputs of several leaves that end in a short group.
TEST(LinearBounds, WholeLinears) {
  std::mt19937 random(41);
  for (const WeightFormat format : kFormats) {
    for (const int64_t group : {32, 64, 128}) {
      for (const bool asymmetric : {false, true}) {
        if (!IsQuantized(format) && (asymmetric || group != 32)) continue;
        for (const int64_t inputs : {24, 144, 1000, 1304}) {
          LinearShape shape = WholeShape(SumTree::OverInputs(inputs), format, OddOutputs(random),
                                         group, asymmetric);
          shape.scale_format = random() % 2 == 0 ? ScaleFormat::kF32 : ScaleFormat::kF16;
          ExpectWithinBound(Make(shape, SomeRows(random), random));
        }
      }
    }
  }
}

// Shards of a row-parallel linear that begin, and end, inside a group.
TEST(LinearBounds, ShardsInsideGroups) {
  std::mt19937 random(42);
  const SumTree trees[] = {SumTree::OverHeads(8, 2, 80), SumTree::OverHeads(12, 4, 48),
                           SumTree::OverInputs(1848)};
  for (const SumTree& tree : trees) {
    for (const WeightFormat format : kFormats) {
      for (const int64_t group : {32, 64, 128}) {
        const bool asymmetric = random() % 2 == 0;
        const int64_t begin = 1 + static_cast<int64_t>(random() % (tree.leaf_count() - 1));
        const int64_t end =
            begin + 1 + static_cast<int64_t>(random() % (tree.leaf_count() - begin));
        const LinearShape whole = WholeShape(tree, format, OddOutputs(random), group, asymmetric);
        ExpectWithinBound(Make(WithLeaves(whole, tree, {begin, end}), SomeRows(random), random));
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
