#include "tests/kernels/linear/linear_reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "kernels/linear/linear8_definition.h"

namespace octet::kernels {
namespace {

int64_t GroupOf(const LinearShape& shape, int64_t input) {
  return (shape.input_begin + input) / shape.group - shape.group_begin();
}

// Whether a segment begins at local input k.
bool BeginsSegment(const LinearShape& shape, int64_t k) {
  return (shape.input_begin + k) % shape.group == 0 ||
         std::count(shape.leaf_bounds.begin(), shape.leaf_bounds.end(), k) != 0;
}

// One segment of one row and output with int8 activations, added to `leaf`.
float AddSegment(const LinearShape& shape, const NeutralRows& weights, const float* x,
                 int64_t output, int64_t begin, int64_t end, float leaf) {
  float amax = 0;
  for (int64_t k = begin; k < end; ++k) amax = std::max(amax, std::fabs(x[k]));
  const int64_t scale_at = output * shape.group_count() + GroupOf(shape, begin);
  const int64_t zero = shape.asymmetric ? 0 : shape.format == WeightFormat::kInt4 ? 8 : 128;
  const float x_scale = amax / 127.0f;
  int64_t dot = 0;
  int64_t q_sum = 0;
  for (int64_t k = begin; k < end; ++k) {
    const auto q = amax == 0 ? 0 : static_cast<int64_t>(std::nearbyint(x[k] * (127.0f / amax)));
    dot += (weights.codes[output * shape.inputs + k] - zero) * q;
    q_sum += q;
  }
  leaf += static_cast<float>(dot) * (weights.scales[scale_at] * x_scale);
  if (shape.asymmetric) leaf += weights.offsets[scale_at] * (x_scale * static_cast<float>(q_sum));
  return leaf;
}

// One row's inputs of a leaf as a device with int8 activations has them.
struct Int8Leaf {
  float scale = 0;
  std::vector<int64_t> q;
};

Int8Leaf QuantizeLeaf(const float* x, int64_t inputs) {
  const bool finite = std::all_of(x, x + inputs, [](float value) { return std::isfinite(value); });
  if (!finite) return {std::nanf(""), std::vector<int64_t>(inputs, 0)};
  float amax = 0;
  for (int64_t i = 0; i < inputs; ++i) amax = std::max(amax, std::fabs(x[i]));
  if (amax < kLeafAmaxMin) return {0, std::vector<int64_t>(inputs, 0)};
  Int8Leaf leaf = {amax / 127.0f, {}};
  const float inverse = 127.0f / amax;
  for (int64_t i = 0; i < inputs; ++i) {
    leaf.q.push_back(static_cast<int64_t>(std::nearbyint(x[i] * inverse)));
  }
  return leaf;
}

float DeviceLeaf(const LinearShape& shape, const NeutralRows& weights, const float* x,
                 int64_t output, int64_t leaf_begin, int64_t leaf_end) {
  const Int8Leaf own = QuantizeLeaf(x + leaf_begin, leaf_end - leaf_begin);
  const int64_t zero = shape.asymmetric ? 0 : shape.format == WeightFormat::kInt4 ? 8 : 128;
  float leaf = 0;
  int64_t dot = 0;
  int64_t q_sum = 0;
  for (int64_t k = leaf_begin; k < leaf_end; ++k) {
    const int64_t q = own.q[k - leaf_begin];
    dot += (weights.codes[output * shape.inputs + k] - zero) * q;
    q_sum += q;
    if (!BeginsSegment(shape, k + 1)) continue;
    const int64_t at = output * shape.group_count() + GroupOf(shape, k);
    leaf = std::fma(weights.scales[at], static_cast<float>(dot), leaf);
    if (shape.asymmetric) leaf = std::fma(weights.offsets[at], static_cast<float>(q_sum), leaf);
    dot = q_sum = 0;
  }
  return std::fma(leaf, own.scale, 0.0f);
}

float Leaf(const LinearShape& shape, const NeutralRows& weights, const float* x, int64_t output,
           int64_t leaf_index, ActivationFormat activation, Isa isa) {
  const int64_t leaf_begin = shape.leaf_bounds[leaf_index];
  const int64_t leaf_end = shape.leaf_bounds[leaf_index + 1];
  float leaf = 0;
  if (activation == ActivationFormat::kInt8 && shape.layout == WeightLayout::kCuda8) {
    return DeviceLeaf(shape, weights, x, output, leaf_begin, leaf_end);
  }
  if (activation == ActivationFormat::kInt8 && IsQuantized(shape.format)) {
    for (int64_t begin = leaf_begin; begin < leaf_end;) {
      int64_t end = begin + 1;
      while (!BeginsSegment(shape, end) && end < leaf_end) ++end;
      leaf = AddSegment(shape, weights, x, output, begin, end, leaf);
      begin = end;
    }
    return leaf;
  }
  for (int64_t k = leaf_begin; k < leaf_end; ++k) {
    const bool exact = activation == ActivationFormat::kF32;
    const float value = exact ? x[k] : BF16ToFloat(FloatToBF16(x[k]));
    const float weight = ReferenceWeight(shape, weights, output, k);
    leaf = isa == Isa::kPlain ? leaf + weight * value : std::fma(weight, value, leaf);
  }
  return leaf;
}

}  // namespace

float ReferenceWeight(const LinearShape& shape, const NeutralRows& weights, int64_t output,
                      int64_t input) {
  const int64_t at = output * shape.inputs + input;
  if (IsQuantized(shape.format)) {
    const int64_t scale_at = output * shape.group_count() + GroupOf(shape, input);
    const float scale = weights.scales[scale_at];
    if (shape.asymmetric) return scale * weights.codes[at] + weights.offsets[scale_at];
    return scale *
           static_cast<float>(weights.codes[at] - (shape.format == WeightFormat::kInt4 ? 8 : 128));
  }
  if (shape.format == WeightFormat::kF32) {
    float value = 0;
    std::memcpy(&value, weights.values.data() + at * 4, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, weights.values.data() + at * 2, 2);
  return shape.format == WeightFormat::kF16 ? F16ToFloat(bits) : BF16ToFloat(bits);
}

std::vector<float> ReferenceLinear(const LinearShape& shape, const NeutralRows& weights,
                                   const std::vector<float>& x, int64_t rows,
                                   const std::vector<float>& bias, ActivationFormat activation,
                                   Isa isa) {
  std::vector<float> out(shape.root_count() * rows * shape.outputs);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t output = 0; output < shape.outputs; ++output) {
      std::vector<float> sums;
      for (size_t leaf = 0; leaf < shape.merges.size(); ++leaf) {
        sums.push_back(Leaf(shape, weights, x.data() + row * shape.inputs, output,
                            static_cast<int64_t>(leaf), activation, isa));
        for (int32_t merge = 0; merge < shape.merges[leaf]; ++merge) {
          const float right = sums.back();
          sums.pop_back();
          sums.back() = sums.back() + right;
        }
      }
      for (size_t root = 0; root < sums.size(); ++root) {
        const float value = bias.empty() ? sums[root] : sums[root] + bias[output];
        out[(static_cast<int64_t>(root) * rows + row) * shape.outputs + output] = value;
      }
    }
  }
  return out;
}

}  // namespace octet::kernels
