// Every format, mode and instruction family against the scalar reference, bit for bit; and the
// reference against a plain double-precision product.
#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/kernels/linear/linear_cases.h"
#include "tests/kernels/linear/linear_reference.h"
#include "tests/kernels/linear/random_shape.h"

namespace octet::kernels {
namespace {

Problem Make(const LinearShape& shape, int64_t rows, bool bias, std::mt19937& random) {
  Problem problem;
  problem.shape = shape;
  problem.rows = rows;
  problem.weights = RandomWeights(shape, random);
  problem.x = RandomFloats(rows * shape.inputs, 1.0f, random);
  if (bias) problem.bias = RandomFloats(shape.outputs, 1.0f, random);
  return problem;
}

// Compares all modes and families with the reference.
void ExpectExact(const Problem& p) {
  const Buffer packed = Pack(p.shape, p.weights);
  for (const ActivationFormat activation : kActivations) {
    for (const Isa isa : Isas()) {
      const WithIsa with(isa);
      const std::vector<float> expected =
          ReferenceLinear(p.shape, p.weights, p.x, p.rows, p.bias, activation, isa);
      for (const int threads : {1, 2}) {
        const std::vector<float> got =
            RunLinear({p.shape, packed, p.x, p.rows, activation, threads, p.bias});
        EXPECT_TRUE(SameBits(got, expected)) << Describe(p.shape, activation, isa) << ", " << p.rows
                                             << " rows, " << threads << " threads";
      }
    }
  }
}

TEST(Linear, ReferenceMatchesDoublePrecision) {
  std::mt19937 random(1);
  for (const WeightFormat format : kFormats) {
    for (const bool asymmetric : {false, true}) {
      const LinearShape shape = WholeShape(SumTree::OverInputs(1848), format, 7, 128, asymmetric);
      const Problem p = Make(shape, 3, true, random);
      for (const ActivationFormat activation : kActivations) {
        const std::vector<float> got =
            ReferenceLinear(shape, p.weights, p.x, p.rows, p.bias, activation, Isa::kPlain);
        for (int64_t row = 0; row < p.rows; ++row) {
          for (int64_t output = 0; output < shape.outputs; ++output) {
            double exact = p.bias[output];
            double magnitude = 0;
            for (int64_t k = 0; k < shape.inputs; ++k) {
              const double product = double{ReferenceWeight(shape, p.weights, output, k)} *
                                     p.x[row * shape.inputs + k];
              exact += product;
              magnitude += product * product;
            }
            // Rounding errors of activations are independent, so they add in squares: at most
            // half a step of amax / 127 (amax below 5 here), or 2^-9 of a value in bf16.
            const double step = activation == ActivationFormat::kF32 ? 1e-5 : 0.05;
            EXPECT_NEAR(got[row * shape.outputs + output], exact, step * std::sqrt(magnitude) * 4)
                << Describe(shape, activation, Isa::kPlain);
          }
        }
      }
    }
  }
}

TEST(Linear, EdgesOfPanelsAndBlocks) {
  std::mt19937 random(2);
  for (const WeightFormat format : kFormats) {
    for (const int64_t outputs : {1, 15, 16, 47, 48, 49, 100}) {
      for (const int64_t inputs : {8, 40, 136}) {
        const int64_t rows = 1 + static_cast<int64_t>(random() % 12);
        const bool asymmetric = random() % 2 == 0;
        const LinearShape shape =
            WholeShape(SumTree::OverInputs(inputs), format, outputs, 32, asymmetric);
        ExpectExact(Make(shape, rows, random() % 2 == 0, random));
      }
    }
  }
}

TEST(Linear, EveryRowCount) {
  std::mt19937 random(3);
  for (const bool asymmetric : {false, true}) {
    const LinearShape shape =
        WholeShape(SumTree::OverInputs(264), WeightFormat::kInt4, 65, 128, asymmetric);
    for (int64_t rows = 1; rows <= 33; ++rows) ExpectExact(Make(shape, rows, true, random));
  }
  const LinearShape many = WholeShape(SumTree::OverInputs(64), WeightFormat::kInt8, 50, 32);
  ExpectExact(Make(many, 259, false, random));
}

// Few rows take two panels of 48 outputs at a time: both full, the second not, one left over.
TEST(Linear, PairsOfPanels) {
  std::mt19937 random(17);
  for (const WeightFormat format : {WeightFormat::kInt4, WeightFormat::kInt8}) {
    for (const int64_t outputs : {81, 95, 96, 97, 144, 185, 192}) {
      for (const int64_t rows : {1, 2, 3}) {
        const LinearShape shape =
            WholeShape(SumTree::OverInputs(776), format, outputs, 128, random() % 2 == 0);
        ExpectExact(Make(shape, rows, random() % 2 == 0, random));
      }
    }
  }
}

// Several leaves, segments of several lengths, more rows than any family takes at a time.
TEST(Linear, ManyRowsOfManyLeaves) {
  std::mt19937 random(11);
  for (const WeightFormat format : {WeightFormat::kInt4, WeightFormat::kInt8}) {
    for (const bool asymmetric : {false, true}) {
      const LinearShape shape = WholeShape(SumTree::OverInputs(1848), format, 65, 96, asymmetric);
      ExpectExact(Make(shape, 150, true, random));
    }
  }
}

TEST(Linear, RandomShapes) {
  std::mt19937 random(4);
  const int64_t groups[] = {32, 64, 128, 0};  // 0: all inputs
  for (int i = 0; i < 60; ++i) {
    const int64_t inputs = 8 * (1 + static_cast<int64_t>(random() % 231));
    const int64_t group = groups[random() % 4];
    LinearShape shape = WholeShape(SumTree::OverInputs(inputs), kFormats[random() % 5],
                                   1 + static_cast<int64_t>(random() % 70),
                                   group == 0 ? inputs : group, random() % 2 == 0);
    shape.scale_format = random() % 2 == 0 ? ScaleFormat::kF32 : ScaleFormat::kF16;
    const int64_t rows = 1 + static_cast<int64_t>(random() % 9);
    ExpectExact(Make(shape, rows, random() % 2 == 0, random));
  }
}

// Inputs and groups that are not multiples of a chunk, so that segments end in padding.
TEST(Linear, OddInputsAndGroups) {
  std::mt19937 random(5);
  for (const WeightFormat format :
       {WeightFormat::kInt4, WeightFormat::kInt8, WeightFormat::kBF16}) {
    for (const int64_t inputs : {1, 5, 131, 1027}) {
      const LinearShape shape =
          WholeShape(SumTree::OverInputs(inputs), format, 49, 20, random() % 2 == 0);
      ExpectExact(Make(shape, 5, true, random));
    }
  }
}

TEST(Linear, AttentionLeavesInsideGroups) {
  std::mt19937 random(6);
  for (const bool asymmetric : {false, true}) {
    const LinearShape shape =
        WholeShape(SumTree::OverHeads(8, 2, 32), WeightFormat::kInt4, 33, 128, asymmetric);
    ASSERT_EQ(shape.leaf_bounds[1], 32);
    ExpectExact(Make(shape, 9, false, random));
  }
}

// Extreme codes and activations: the int32 sum of the longest segments holds, and so do the
// narrower sums that a family keeps on the way.
TEST(Linear, LongestSegment) {
  std::mt19937 random(7);
  LinearShape shape;
  shape.outputs = 2;
  shape.inputs = shape.group = 65536;
  shape.leaf_bounds = {0, shape.inputs};
  shape.merges = {0};
  for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    shape.format = format;
    const uint8_t code_max = format == WeightFormat::kInt4 ? 15 : 255;
    for (const bool asymmetric : {false, true}) {
      shape.asymmetric = asymmetric;
      for (const float sign : {1.0f, -1.0f}) {
        Problem p = Make(shape, 1, false, random);
        std::fill_n(p.weights.codes.begin(), shape.inputs, code_max);
        std::fill_n(p.weights.codes.begin() + shape.inputs, shape.inputs, uint8_t{0});
        p.x.assign(shape.inputs, sign);
        ExpectExact(p);
      }
    }
  }
}

TEST(Linear, ExtremeActivations) {
  std::mt19937 random(8);
  const LinearShape shape = WholeShape(SumTree::OverInputs(256), WeightFormat::kInt4, 17, 64);
  Problem p = Make(shape, 4, false, random);
  const Buffer packed = Pack(shape, p.weights);
  const int64_t k = shape.inputs;
  std::fill_n(p.x.begin(), k, 0.0f);        // a row of zeros
  std::fill_n(p.x.begin() + k, k, 1e-38f);  // too small to scale
  p.x[2 * k + 3] = std::numeric_limits<float>::quiet_NaN();
  p.x[3 * k + 200] = std::numeric_limits<float>::infinity();
  for (const Isa isa : Isas()) {
    const WithIsa with(isa);
    const std::vector<float> out = RunLinear({shape, packed, p.x, 4, ActivationFormat::kInt8});
    for (int64_t i = 0; i < shape.outputs; ++i) {
      EXPECT_EQ(out[i], 0.0f);
      EXPECT_EQ(out[shape.outputs + i], 0.0f);
      EXPECT_TRUE(std::isnan(out[2 * shape.outputs + i]));
      EXPECT_TRUE(std::isnan(out[3 * shape.outputs + i]));
    }
  }
}

TEST(Linear, StridedRows) {
  std::mt19937 random(9);
  const LinearShape shape = WholeShape(SumTree::OverInputs(96), WeightFormat::kInt4, 20, 32);
  const Problem p = Make(shape, 3, false, random);
  const Buffer packed = Pack(shape, p.weights);
  const int64_t stride = shape.inputs + 5;
  std::vector<float> spread(p.rows * stride, 1e9f);
  for (int64_t row = 0; row < p.rows; ++row) {
    std::copy_n(p.x.begin() + row * shape.inputs, shape.inputs, spread.begin() + row * stride);
  }
  for (const ActivationFormat activation : kActivations) {
    Buffer workspace(LinearWorkspaceBytes(shape, activation, p.rows));
    std::vector<float> out(p.rows * shape.outputs);
    ThreadPool pool(1);
    Stream stream(&pool);
    Linear({&shape, packed.data(), spread.data(), stride, p.rows, nullptr, out.data(), activation,
            workspace.data()},
           stream);
    EXPECT_TRUE(SameBits(out, RunLinear({shape, packed, p.x, p.rows, activation})));
  }
}

TEST(Linear, NothingToDo) {
  LinearShape shape;
  shape.format = WeightFormat::kInt4;
  shape.leaf_bounds = {0};
  EXPECT_EQ(shape.root_count(), 0);
  EXPECT_EQ(shape.group_count(), 0);
  for (const int64_t outputs : {0, 100}) {
    shape.outputs = outputs;
    shape.input_begin = 96;
    EXPECT_EQ(PackedLinearBytes(shape), 0);
    const Buffer packed(0);
    EXPECT_TRUE(RunLinear({shape, packed, {}, 5, ActivationFormat::kInt8}).empty());
  }
  std::mt19937 random(10);
  const LinearShape empty = WholeShape(SumTree::OverInputs(256), WeightFormat::kInt4, 0, 128);
  EXPECT_EQ(PackedLinearBytes(empty), 0);
  const Buffer packed(0);
  const std::vector<float> x = RandomFloats(256, 1, random);
  EXPECT_TRUE(RunLinear({empty, packed, x, 1, ActivationFormat::kInt8}).empty());
  EXPECT_TRUE(RunLinear({empty, packed, {}, 0, ActivationFormat::kF32}).empty());
}

TEST(LinearRandom, EveryFamilyIsTheReference) {
  octet::test::Dice dice;
  for (int i = 0; i < 10; ++i) {
    const LinearShape shape =
        test::RandomShape({WeightFormat::kInt4, WeightFormat::kInt4, WeightFormat::kInt8,
                           WeightFormat::kBF16, WeightFormat::kF16, WeightFormat::kF32},
                          dice);
    const int64_t rows = test::RandomRows(shape, dice);
    const bool bias = shape.root_count() == 1 && dice.OneIn(2);
    ExpectExact(Make(shape, rows, bias, dice.engine()));
  }
}

}  // namespace
}  // namespace octet::kernels
