// The linear with int8 activations on a device against its definition, by bits: every form, format
// and number of rows, shards, and rows that hold no numbers.
#include <gtest/gtest.h>

#include <limits>

#include "tests/kernels/linear/linear8_cases.h"

namespace octet::kernels {
namespace {

class Linear8 : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
  Stream& stream() { return octet::test::TestGpu()->stream(); }

  // Compares so many first rows, each time, of random ones with the definition.
  void ExpectDefinedBits(const LinearShape& shape, std::mt19937& random,
                         const std::vector<int64_t>& row_counts, bool with_bias = false) {
    const NeutralRows weights = RandomWeights(shape, random);
    const int64_t most = *std::max_element(row_counts.begin(), row_counts.end());
    std::vector<float> x = RandomFloats(most * shape.inputs, 1.0f, random);
    // Zeros have a sign too.
    if (most > 1) std::fill_n(x.begin() + shape.inputs, shape.inputs, 0.0f);
    std::vector<float> bias;
    if (with_bias) bias = RandomFloats(shape.outputs, 1.0f, random);
    const DeviceLinear linear(shape, weights, stream());
    for (const int64_t rows : row_counts) {
      const std::vector<float> some(x.begin(), x.begin() + rows * shape.inputs);
      const std::vector<float> expected = Expected8(shape, weights, some, rows, bias);
      EXPECT_TRUE(SameBits(RunOnDevice(linear, some, rows, bias, stream()), expected))
          << Describe(shape, ActivationFormat::kInt8, Isa::kPlain) << ", " << rows << " rows";
    }
  }
};

constexpr WeightFormat kQuantized[] = {WeightFormat::kInt4, WeightFormat::kInt8};

// Groups of 128 and leaves of whole blocks: what wgmma takes from 65 rows on.
TEST_F(Linear8, WholeBlocks) {
  std::mt19937 random(51);
  for (const WeightFormat format : kQuantized) {
    for (const bool asymmetric : {false, true}) {
      ExpectDefinedBits(WholeShape(SumTree::OverInputs(256), format, 130, 128, asymmetric), random,
                        {1, 16, 17, 33, 65, 129}, asymmetric);
    }
  }
}

// However leaves are dealt to blocks: sums wait in registers, in shared memory and in the
// workspace, leaves have one block or more, and blocks of threads take several items.
TEST_F(Linear8, LeavesInSequence) {
  std::mt19937 random(52);
  for (const bool longer : {false, true}) {
    const LinearShape shape =
        WholeShape(SumTree::OverInputs(longer ? 2304 : 1024),
                   longer ? WeightFormat::kInt8 : WeightFormat::kInt4, 70, 128, !longer);
    const NeutralRows weights = RandomWeights(shape, random);
    const std::vector<float> x = RandomFloats(70 * shape.inputs, 1.0f, random);
    const DeviceLinear linear(shape, weights, stream());
    for (const int64_t rows : {5, 20, 40, 70}) {
      const std::vector<float> some(x.begin(), x.begin() + rows * shape.inputs);
      const std::vector<float> expected = Expected8(shape, weights, some, rows);
      for (const int64_t parts : {1, 3, 8}) {
        EXPECT_TRUE(SameBits(RunOnDevice(linear, some, rows, {}, stream(), parts), expected))
            << shape.inputs << " inputs, " << rows << " rows, " << parts << " parts";
      }
    }
  }
}

TEST_F(Linear8, GroupsAndTails) {
  std::mt19937 random(53);
  const int64_t groups[] = {32, 64, 128, 0, 48};  // 0: all inputs
  for (const WeightFormat format : kQuantized) {
    for (const int64_t group : groups) {
      const int64_t inputs = group == 64 ? 296 : 99 + static_cast<int64_t>(random() % 150);
      LinearShape shape =
          WholeShape(SumTree::OverInputs(inputs), format, 1 + static_cast<int64_t>(random() % 70),
                     group == 0 ? inputs : group, random() % 2 == 0);
      shape.scale_format = random() % 2 == 0 ? ScaleFormat::kF32 : ScaleFormat::kF16;
      ExpectDefinedBits(shape, random, {1 + static_cast<int64_t>(random() % 60), 70},
                        random() % 2 == 0);
    }
  }
}

// One scale for a whole row: segments are leaves, and their sums need all of int32.
TEST_F(Linear8, WholeRowGroups) {
  std::mt19937 random(54);
  for (const WeightFormat format : kQuantized) {
    for (const bool asymmetric : {false, true}) {
      LinearShape shape = WholeShape(SumTree::OverInputs(2560), format, 9, 2560, asymmetric);
      shape.leaf_bounds = {0, 2560};
      shape.merges = {0};
      ExpectDefinedBits(shape, random, {2, 65});
    }
  }
}

TEST_F(Linear8, Shards) {
  std::mt19937 random(55);
  constexpr int64_t kRows = 3;
  const SumTree trees[] = {
      SumTree::OverInputs(952),      // the last grain is short
      SumTree::OverHeads(7, 1, 64),  // uneven heads, which cut groups
      SumTree::OverHeads(8, 8, 80),  // groups and leaves share no boundary
  };
  for (const SumTree& tree : trees) {
    for (const WeightFormat format : kQuantized) {
      const LinearShape shape = WholeShape(tree, format, 19, 128, random() % 2 == 0);
      const NeutralRows weights = RandomWeights(shape, random);
      const std::vector<float> x = RandomFloats(kRows * shape.inputs, 1.0f, random);
      const std::vector<float> whole = Expected8(shape, weights, x, kRows);
      for (const int64_t ranks : {1, 2, 3, 4, 7}) {
        const std::vector<float> sum = SumOverRanks(
            tree, shape, weights, x, ranks,
            [&](const LinearShape& part, const NeutralRows& own, const std::vector<float>& own_x) {
              const DeviceLinear linear(part, own, stream());
              return RunOnDevice(linear, own_x, kRows, {}, stream());
            });
        EXPECT_TRUE(SameBits(sum, whole))
            << Describe(shape, ActivationFormat::kInt8, Isa::kPlain) << " at " << ranks;
      }
    }
  }
}

// A row that is all zeros, or holds an infinity or NaN, or hardly anything, beside ordinary ones.
TEST_F(Linear8, RowsThatHoldNoNumbers) {
  std::mt19937 random(56);
  const LinearShape shape =
      WholeShape(SumTree::OverInputs(256), WeightFormat::kInt4, 40, 128, true);
  const NeutralRows weights = RandomWeights(shape, random);
  constexpr int64_t kRows = 9;
  std::vector<float> x = RandomFloats(kRows * shape.inputs, 1.0f, random);
  std::fill_n(x.begin(), shape.inputs, 0.0f);
  x[1 * shape.inputs + 7] = std::numeric_limits<float>::infinity();
  x[2 * shape.inputs + 130] = std::numeric_limits<float>::quiet_NaN();
  for (int64_t k = 0; k < shape.inputs; ++k) x[3 * shape.inputs + k] *= 0x1p-104f;
  x[4 * shape.inputs] = 3e38f;
  const std::vector<float> expected = Expected8(shape, weights, x, kRows);
  const DeviceLinear linear(shape, weights, stream());
  const std::vector<float> got = RunOnDevice(linear, x, kRows, {}, stream());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {
      EXPECT_TRUE(std::isnan(got[i])) << i;  // which NaN is not said
    } else {
      EXPECT_EQ(got[i], expected[i]) << i;
    }
  }
}

// Rows that a producer wrote, with room for more, and bytes past them that hold anything.
TEST_F(Linear8, RowsWithRoom) {
  std::mt19937 random(57);
  const LinearShape shape = WholeShape(SumTree::OverInputs(384), WeightFormat::kInt4, 40, 128);
  const NeutralRows weights = RandomWeights(shape, random);
  const std::vector<float> x = RandomFloats(5 * shape.inputs, 1.0f, random);
  const Int8DeviceRows rows(shape, x, 5, 200, stream());
  const DeviceLinear linear(shape, weights, stream());
  EXPECT_TRUE(
      SameBits(RunOnDevice(linear, rows.rows, 5, {}, stream()), Expected8(shape, weights, x, 5)));
}

// Codes, scales and sums themselves. The leaf that the second rank begins with cuts a group.
TEST_F(Linear8, QuantizesAsDefined) {
  std::mt19937 random(58);
  const LinearShape shape =
      WholeShape(SumTree::OverHeads(6, 2, 80), WeightFormat::kInt4, 1, 128, true);
  constexpr int64_t kRows = 3;
  const std::vector<float> x = RandomFloats(kRows * shape.inputs, 1.0f, random);
  const Int8DeviceRows device(shape, x, kRows, kRows, stream());
  const std::vector<std::byte> bytes = octet::test::ToHost<std::byte>(device.bytes, stream());
  const auto float_at = [&](const float* array, int64_t index) {
    float value = 0;
    const auto* from = reinterpret_cast<const std::byte*>(array + index);
    std::memcpy(&value, bytes.data() + (from - device.bytes.data()), 4);
    return value;
  };
  const std::vector<int32_t> table = ActivationSegments(shape);
  const ActivationExtent extent = ActivationExtentOf(shape, ActivationFormat::kInt8);
  const int32_t* positions = table.data() + extent.segments + 1;
  const int32_t* leaf_segments = positions + extent.segments;
  ASSERT_GT(extent.segments, extent.leaves);
  for (int64_t row = 0; row < kRows; ++row) {
    const float* own = x.data() + row * shape.inputs;
    for (int64_t leaf = 0; leaf < extent.leaves; ++leaf) {
      float amax = 0;
      for (int64_t k = shape.leaf_bounds[leaf]; k < shape.leaf_bounds[leaf + 1]; ++k) {
        amax = std::max(amax, std::fabs(own[k]));
      }
      EXPECT_EQ(float_at(device.rows.scales, leaf * device.rows.padded_rows() + row),
                amax / 127.0f);
      for (int32_t s = leaf_segments[leaf]; s < leaf_segments[leaf + 1]; ++s) {
        int32_t sum = 0;
        const int64_t padded = (table[s + 1] - table[s] + 31) / 32 * 32;
        for (int64_t i = 0; i < padded; ++i) {
          const int64_t k = table[s] + i;
          const float code = k < table[s + 1] ? std::nearbyint(own[k] * (127.0f / amax)) : 0.0f;
          const auto* at =
              reinterpret_cast<const std::byte*>(device.rows.code(row, positions[s] + i));
          EXPECT_EQ(static_cast<int8_t>(bytes[at - device.bytes.data()]), static_cast<int>(code));
          sum += static_cast<int32_t>(code);
        }
        EXPECT_EQ(float_at(device.rows.sums, s * device.rows.padded_rows() + row),
                  static_cast<float>(sum));
      }
    }
  }
}

// The definition itself: what it gives is off by no more than rounding the inputs allows, half a
// step of its leaf each, and the roundings of float32 (2^-20 of the sum of magnitudes: fewer than
// 16 operations follow each other here).
TEST_F(Linear8, IsAsCloseAsItsStepsAllow) {
  std::mt19937 random(59);
  constexpr int64_t kRows = 4;
  for (const bool asymmetric : {false, true}) {
    const LinearShape shape =
        WholeShape(SumTree::OverInputs(2304), WeightFormat::kInt4, 24, 128, asymmetric);
    const NeutralRows weights = RandomWeights(shape, random);
    const std::vector<float> x = RandomFloats(kRows * shape.inputs, 1.0f, random);
    const DeviceLinear linear(shape, weights, stream());
    const std::vector<float> got = RunOnDevice(linear, x, kRows, {}, stream());
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t output = 0; output < shape.outputs; ++output) {
        double exact = 0, allowed = 0;
        for (size_t leaf = 0; leaf < shape.merges.size(); ++leaf) {
          const float* begin = x.data() + row * shape.inputs;
          double amax = 0, weight_sum = 0;
          for (int64_t k = shape.leaf_bounds[leaf]; k < shape.leaf_bounds[leaf + 1]; ++k) {
            const double weight = ReferenceWeight(shape, weights, output, k);
            exact += weight * begin[k];
            allowed += 0x1p-20 * std::fabs(weight * begin[k]);
            amax = std::max(amax, std::fabs(double{begin[k]}));
            weight_sum += std::fabs(weight);
          }
          allowed += weight_sum * amax / 127 * (0.5 + 0x1p-15);
        }
        EXPECT_NEAR(got[row * shape.outputs + output], exact, allowed);
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
