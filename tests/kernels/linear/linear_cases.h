// Made-up linears for the tests: shapes, seeded weights and activations, packing and running them.
#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/sum_tree.h"
#include "kernels/linear/linear.h"
#include "tests/kernels/random.h"

namespace octet::kernels {

inline constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kF16,
                                            WeightFormat::kBF16, WeightFormat::kInt8,
                                            WeightFormat::kInt4};
inline constexpr ActivationFormat kActivations[] = {ActivationFormat::kF32, ActivationFormat::kBF16,
                                                    ActivationFormat::kInt8};

using test::SameBits;
using WithIsa = test::IsaScope;
inline std::vector<Isa> Isas() { return test::AvailableIsas(); }

// The leaves of `range` of a linear over `tree`, which is `shape` but for inputs, leaves, merges.
inline LinearShape WithLeaves(LinearShape shape, const SumTree& tree, LeafRange range) {
  shape.input_begin = tree.bounds()[range.begin];
  shape.inputs = tree.bounds()[range.end] - shape.input_begin;
  shape.leaf_bounds.clear();
  for (int64_t leaf = range.begin; leaf <= range.end; ++leaf) {
    shape.leaf_bounds.push_back(tree.bounds()[leaf] - shape.input_begin);
  }
  shape.merges = tree.MergesWithin(range);
  return shape;
}

inline LinearShape WholeShape(const SumTree& tree, WeightFormat format, int64_t outputs,
                              int64_t group, bool asymmetric = false) {
  LinearShape shape;
  shape.format = format;
  shape.outputs = outputs;
  shape.group = group;
  shape.asymmetric = asymmetric && IsQuantized(format);
  return WithLeaves(shape, tree, {0, tree.leaf_count()});
}

inline std::vector<float> RandomFloats(int64_t count, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<float> ExactInF16(std::vector<float> values) {
  for (float& value : values) value = F16ToFloat(FloatToF16(value));
  return values;
}

inline NeutralRows RandomWeights(const LinearShape& shape, std::mt19937& random) {
  NeutralRows weights;
  weights.rows = shape.outputs;
  const int64_t count = shape.outputs * shape.inputs;
  if (IsQuantized(shape.format)) {
    const int64_t scales = shape.outputs * shape.group_count();
    weights.codes.resize(count);
    for (uint8_t& code : weights.codes) {
      code = random() & (shape.format == WeightFormat::kInt4 ? 15 : 255);
    }
    weights.scales = RandomFloats(scales, 0.01f, random);
    if (shape.asymmetric) weights.offsets = RandomFloats(scales, 0.05f, random);
    if (shape.scale_format == ScaleFormat::kF16) {
      weights.scales = ExactInF16(weights.scales);
      weights.offsets = ExactInF16(weights.offsets);
    }
    return weights;
  }
  const int64_t bytes = shape.format == WeightFormat::kF32 ? 4 : 2;
  const std::vector<float> values = RandomFloats(count, 0.05f, random);
  weights.values.resize(count * bytes);
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t half =
        shape.format == WeightFormat::kF16 ? FloatToF16(values[i]) : FloatToBF16(values[i]);
    const void* from = bytes == 4 ? static_cast<const void*>(&values[i]) : &half;
    std::memcpy(weights.values.data() + i * bytes, from, bytes);
  }
  return weights;
}

// Rows [begin, end) and local inputs of `part` out of `whole`, whose shape is `shape`.
inline NeutralRows Slice(const NeutralRows& whole, const LinearShape& shape, int64_t begin,
                         int64_t end, const LinearShape& part) {
  NeutralRows rows;
  rows.rows = end - begin;
  const int64_t bytes = shape.format == WeightFormat::kF32 ? 4 : 2;
  const auto take = [](const auto& from, auto& to, int64_t at, int64_t count) {
    to.insert(to.end(), from.begin() + at, from.begin() + at + count);
  };
  for (int64_t row = begin; row < end; ++row) {
    const int64_t at = row * shape.inputs + part.input_begin - shape.input_begin;
    if (!IsQuantized(shape.format)) {
      take(whole.values, rows.values, at * bytes, part.inputs * bytes);
      continue;
    }
    const int64_t group_at = row * shape.group_count() + part.group_begin() - shape.group_begin();
    take(whole.codes, rows.codes, at, part.inputs);
    take(whole.scales, rows.scales, group_at, part.group_count());
    if (shape.asymmetric) take(whole.offsets, rows.offsets, group_at, part.group_count());
  }
  return rows;
}

// The inputs of `part` of each row of x, which has those of `shape`.
inline std::vector<float> InputsOf(const std::vector<float>& x, const LinearShape& shape,
                                   const LinearShape& part) {
  std::vector<float> own;
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(shape.inputs)) {
    const auto from = x.begin() + static_cast<int64_t>(row) + part.input_begin - shape.input_begin;
    own.insert(own.end(), from, from + part.inputs);
  }
  return own;
}

inline Buffer Pack(const LinearShape& shape, const NeutralRows& weights) {
  Buffer packed(PackedLinearBytes(shape));
  PackLinearRows(shape, 0, weights, packed.data());
  return packed;
}

// A linear, its inputs and its bias, which may be empty.
struct Problem {
  LinearShape shape;
  NeutralRows weights;
  std::vector<float> x;
  std::vector<float> bias;
  int64_t rows = 0;
};

struct RunArgs {
  const LinearShape& shape;
  const Buffer& packed;
  const std::vector<float>& x;  // [rows, inputs]
  int64_t rows;
  ActivationFormat activation;
  int threads = 1;
  const std::vector<float>& bias = {};
};

// [roots, rows, outputs]. The workspace is filled with noise first and watched past its end.
inline std::vector<float> RunLinear(const RunArgs& run) {
  const int64_t bytes = LinearWorkspaceBytes(run.shape, run.activation, run.rows);
  Buffer workspace(bytes + 64);
  std::memset(workspace.data(), 0xa5, workspace.bytes());
  std::vector<float> out(run.shape.root_count() * run.rows * run.shape.outputs, -1e30f);
  ThreadPool pool(run.threads);
  Stream stream(&pool);
  LinearArgs args;
  args.shape = &run.shape;
  args.weights = run.packed.data();
  args.x = run.x.data();
  args.x_stride = run.shape.inputs;
  args.rows = run.rows;
  args.bias = run.bias.empty() ? nullptr : run.bias.data();
  args.out = out.data();
  args.activation = run.activation;
  args.workspace = workspace.data();
  args.next = {args.shape, args.weights};  // a hint, which may not change a bit
  Linear(args, stream);
  for (int64_t i = bytes; i < workspace.bytes(); ++i) {
    OCTET_CHECK_EQ(static_cast<int>(workspace.data()[i]), 0xa5);
  }
  return out;
}

// Adds the ranks' roots [roots][count] in the tree's order, as comm does.
inline std::vector<float> AddAcross(const std::vector<float>& roots, int64_t count,
                                    const std::vector<int32_t>& merges) {
  std::vector<std::vector<float>> stack;
  for (size_t root = 0; root < merges.size(); ++root) {
    const auto begin = roots.begin() + static_cast<int64_t>(root) * count;
    stack.emplace_back(begin, begin + count);
    for (int32_t merge = 0; merge < merges[root]; ++merge) {
      const std::vector<float> right = std::move(stack.back());
      stack.pop_back();
      for (int64_t i = 0; i < count; ++i) stack.back()[i] += right[i];
    }
  }
  OCTET_CHECK_EQ(stack.size(), 1u);
  return stack.front();
}

// Deals the leaves of a linear over `tree` to so many ranks, and adds up what run(part, its
// weights, its inputs) gives for each: [rows, outputs].
template <typename Run>
std::vector<float> SumOverRanks(const SumTree& tree, const LinearShape& shape,
                                const NeutralRows& weights, const std::vector<float>& x,
                                int64_t ranks, const Run& run) {
  const std::vector<int64_t> bounds = DealUnits(tree.leaf_count(), ranks, false);
  std::vector<LeafRange> ranges;
  std::vector<float> roots;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    ranges.push_back({bounds[rank], bounds[rank + 1]});
    const LinearShape part = WithLeaves(shape, tree, ranges.back());
    OCTET_CHECK_EQ(part.root_count(), static_cast<int64_t>(tree.Roots(ranges.back()).size()));
    const std::vector<float> out =
        run(part, Slice(weights, shape, 0, shape.outputs, part), InputsOf(x, shape, part));
    roots.insert(roots.end(), out.begin(), out.end());
  }
  const int64_t rows = static_cast<int64_t>(x.size()) / shape.inputs;
  return AddAcross(roots, rows * shape.outputs, tree.MergesAcross(ranges));
}

inline std::string Describe(const LinearShape& shape, ActivationFormat activation, Isa isa) {
  constexpr const char* kFormatNames[] = {"f32", "f16", "bf16", "int8", "int4"};
  constexpr const char* kActivationNames[] = {"f32", "bf16", "int8"};
  return std::string(kFormatNames[static_cast<int>(shape.format)]) +
         (shape.asymmetric ? " asymmetric" : "") + " g" + std::to_string(shape.group) + " x " +
         kActivationNames[static_cast<int>(activation)] + " " + std::to_string(shape.outputs) +
         "x" + std::to_string(shape.inputs) + " " + std::string(IsaName(isa));
}

}  // namespace octet::kernels
