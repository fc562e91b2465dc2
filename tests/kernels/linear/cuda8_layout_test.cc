// The packed form for int8 activations on CUDA, read back one code at a time as its header
// describes it, and the places of int8 activations.
#include "kernels/linear/cuda8_layout.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/linear/k_walk.h"
#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels {
namespace {

// One step of a panel: the local inputs it has, -1 for padding, and what ends with it.
struct Step {
  int64_t inputs[32];
  int64_t codes_at = 0;    // bytes from the panel's begin
  int64_t scales_at = -1;  // of the segment that ends here, or -1
  int64_t group = 0;
};

bool EndsSegment(const LinearShape& shape, int64_t next) {
  return (shape.input_begin + next) % shape.group == 0 ||
         std::count(shape.leaf_bounds.begin(), shape.leaf_bounds.end(), next) != 0;
}

// The walk that the header describes, written without k_walk.h.
std::vector<Step> Steps(const LinearShape& shape, int64_t& panel_bytes) {
  std::vector<Step> steps;
  panel_bytes = 0;
  for (size_t leaf = 0; leaf + 1 < shape.leaf_bounds.size(); ++leaf) {
    std::vector<Step> own;
    for (int64_t k = shape.leaf_bounds[leaf]; k < shape.leaf_bounds[leaf + 1];) {
      Step step;
      std::fill_n(step.inputs, 32, -1);
      step.group = (shape.input_begin + k) / shape.group - shape.group_begin();
      bool ends = false;
      for (int64_t i = 0; i < 32 && !ends; ++i) {
        step.inputs[i] = k++;
        ends = EndsSegment(shape, k);
      }
      step.scales_at = ends ? 0 : -1;
      own.push_back(step);
    }
    for (size_t begin = 0; begin < own.size(); begin += 4) {
      const size_t end = std::min(own.size(), begin + 4);
      for (size_t i = begin; i < end; ++i) {
        own[i].codes_at = panel_bytes;
        panel_bytes += 64 * (shape.format == WeightFormat::kInt4 ? 16 : 32);
      }
      for (size_t i = begin; i < end; ++i) {
        if (own[i].scales_at < 0) continue;
        own[i].scales_at = panel_bytes;
        panel_bytes += Cuda8ScaleBytes(shape);
      }
    }
    steps.insert(steps.end(), own.begin(), own.end());
  }
  return steps;
}

// The code that output `o` of a panel has at place `i` of a step, as the multiplication takes it.
int CodeAt(const LinearShape& shape, const uint8_t* step, int64_t o, int64_t i) {
  const int64_t half = o % 16 / 8;
  const int64_t lane = o % 8 * 4 + i % 16 / 4;
  const int64_t tile = o / 16;
  if (shape.format == WeightFormat::kInt8) {
    const uint8_t byte = step[((tile * 32 + lane) * 4 + i / 16 * 2 + half) * 4 + i % 4];
    return shape.asymmetric ? byte : static_cast<int8_t>(byte);
  }
  const uint8_t byte = step[((tile * 32 + lane) * 2 + half) * 4 + i % 4];
  const int nibble = i < 16 ? byte & 15 : byte >> 4;
  return !shape.asymmetric && nibble > 7 ? nibble - 16 : nibble;
}

float ScaleAt(const LinearShape& shape, const uint8_t* scales, int64_t o) {
  if (shape.scale_format == ScaleFormat::kF32) {
    float value = 0;
    std::memcpy(&value, scales + o * 4, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, scales + o * 2, 2);
  return F16ToFloat(bits);
}

void ExpectUnpacks(const LinearShape& shape, std::mt19937& random) {
  const NeutralRows weights = RandomWeights(shape, random);
  const Buffer packed = Pack(shape, weights);
  int64_t panel_bytes = 0;
  const std::vector<Step> steps = Steps(shape, panel_bytes);
  const int64_t panels = (shape.outputs + 63) / 64;
  ASSERT_EQ(PackedLinearBytes(shape), panels * panel_bytes);
  const int zero = shape.asymmetric ? 0 : shape.format == WeightFormat::kInt4 ? 8 : 128;
  const int64_t scale_bytes = shape.scale_format == ScaleFormat::kF32 ? 4 : 2;
  for (int64_t row = 0; row < panels * 64; ++row) {
    const bool padding = row >= shape.outputs;
    const auto* panel = reinterpret_cast<const uint8_t*>(packed.data()) + row / 64 * panel_bytes;
    for (const Step& step : steps) {
      for (int64_t i = 0; i < 32; ++i) {
        const int64_t k = step.inputs[i];
        const int expected = padding || k < 0 ? 0 : weights.codes[row * shape.inputs + k] - zero;
        ASSERT_EQ(CodeAt(shape, panel + step.codes_at, row % 64, i), expected)
            << Describe(shape, ActivationFormat::kInt8, Isa::kPlain) << " " << row << " " << k;
      }
      if (step.scales_at < 0) continue;
      const int64_t at = row * shape.group_count() + step.group;
      const uint8_t* scales = panel + step.scales_at;
      ASSERT_EQ(ScaleAt(shape, scales, row % 64), padding ? 0 : weights.scales[at]);
      if (!shape.asymmetric) continue;
      ASSERT_EQ(ScaleAt(shape, scales + 64 * scale_bytes, row % 64),
                padding ? 0 : weights.offsets[at]);
    }
  }
}

std::vector<LinearShape> Shapes(WeightFormat format, bool asymmetric) {
  const SumTree trees[] = {
      SumTree::OverInputs(1848),      // the last grain is short
      SumTree::OverInputs(2304),      // leaves of several grains
      SumTree::OverHeads(8, 2, 32),   // several leaves cut a group
      SumTree::OverHeads(14, 2, 64),  // uneven heads
      SumTree::OverHeads(8, 8, 80),   // groups and leaves share no boundary
      SumTree::OverInputs(99),        // steps end inside
  };
  std::vector<LinearShape> shapes;
  for (const SumTree& tree : trees) {
    for (const int64_t group : {int64_t{48}, int64_t{64}, int64_t{128}, tree.inputs()}) {
      LinearShape shape = WholeShape(tree, format, 67, group, asymmetric);
      shape.layout = WeightLayout::kCuda8;
      shape.scale_format = group == 64 ? ScaleFormat::kF32 : ScaleFormat::kF16;
      shapes.push_back(shape);
      if (tree.leaf_count() < 3) continue;
      shapes.push_back(WithLeaves(shape, tree, {1, tree.leaf_count() - 1}));
    }
  }
  return shapes;
}

TEST(Cuda8Layout, UnpacksAsDocumented) {
  std::mt19937 random(41);
  for (const WeightFormat format : {WeightFormat::kInt4, WeightFormat::kInt8}) {
    for (const bool asymmetric : {false, true}) {
      for (const LinearShape& shape : Shapes(format, asymmetric)) ExpectUnpacks(shape, random);
    }
  }
}

// Rows may come in any order and from several threads: no byte belongs to two.
TEST(Cuda8Layout, RowsShareNoByte) {
  for (const WeightFormat format : {WeightFormat::kInt4, WeightFormat::kInt8}) {
    LinearShape shape = WholeShape(SumTree::OverInputs(200), format, 67, 64, true);
    shape.layout = WeightLayout::kCuda8;
    std::vector<int> writers(PackedLinearBytes(shape), 0);
    for (int64_t row = 0; row < shape.outputs; ++row) {
      NeutralRows one;
      one.rows = 1;
      one.codes.assign(shape.inputs, format == WeightFormat::kInt4 ? 15 : 255);
      one.scales.assign(shape.group_count(), 1.0f + 0x1p-10f);  // both bytes are not 0
      one.offsets = one.scales;
      Buffer packed(PackedLinearBytes(shape));
      PackLinearRows(shape, row, one, packed.data());
      for (int64_t i = 0; i < packed.bytes(); ++i) {
        writers[i] += packed.data()[i] != std::byte{0} ? 1 : 0;
      }
    }
    EXPECT_EQ(*std::max_element(writers.begin(), writers.end()), 1);
  }
}

TEST(Cuda8Layout, BytesAreWhatTheShapeNeeds) {
  const SumTree tree = SumTree::OverInputs(4096);
  const auto bytes = [&](WeightFormat format, int64_t group, bool asymmetric) {
    LinearShape shape = WholeShape(tree, format, 4800, group, asymmetric);
    shape.layout = WeightLayout::kCuda8;
    return PackedLinearBytes(shape);
  };
  EXPECT_EQ(bytes(WeightFormat::kInt4, 128, false), 4800 * (2048 + 32 * 2));
  EXPECT_EQ(bytes(WeightFormat::kInt4, 128, true), 4800 * (2048 + 32 * 4));
  EXPECT_EQ(bytes(WeightFormat::kInt4, 32, false), 4800 * (2048 + 128 * 2));
  EXPECT_EQ(bytes(WeightFormat::kInt8, 4096, false), 4800 * (4096 + tree.leaf_count() * 2));
}

// The walk and the table that producers of activations read say the same.
TEST(Cuda8Layout, SegmentsHaveOnePlace) {
  for (const LinearShape& shape : Shapes(WeightFormat::kInt4, false)) {
    const std::vector<int32_t> table = ActivationSegments(shape);
    const KWalk walk = KWalk::Of(shape);
    const ActivationExtent extent = ActivationExtentOf(shape, ActivationFormat::kInt8);
    const int64_t count = extent.segments;
    ASSERT_EQ(static_cast<int64_t>(table.size()), 2 * count + extent.leaves + 2);
    ASSERT_EQ(walk.segments, count);
    ASSERT_EQ(walk.leaves, extent.leaves);
    ASSERT_EQ(walk.blocks * kBlockPositions, extent.inputs);
    for (int32_t leaf = 0; leaf <= extent.leaves; ++leaf) {
      EXPECT_EQ(walk.leaf[leaf].segment, table[2 * count + 1 + leaf]);
    }
    for (int32_t s = 0; s < count; ++s) {
      const SegmentSpan span = SpanOfSegment(walk, s);
      EXPECT_EQ(span.begin, table[s]);
      EXPECT_EQ(span.end, table[s + 1]);
      EXPECT_EQ(span.position, table[count + 1 + s]);
    }
  }
}

}  // namespace
}  // namespace octet::kernels
