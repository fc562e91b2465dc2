// The promises on bits: a row does not depend on the others, a linear does not depend on how it is
// cut over ranks.
#include <gtest/gtest.h>

#include "kernels/linear/linear.h"
#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels {
namespace {

TEST(LinearInvariance, RowsAreIndependent) {
  std::mt19937 random(21);
  for (const WeightFormat format : kFormats) {
    for (const bool asymmetric : {false, true}) {
      if (asymmetric && !IsQuantized(format)) continue;
      const LinearShape shape = WholeShape(SumTree::OverInputs(296), format, 65, 64, asymmetric);
      const Buffer packed = Pack(shape, RandomWeights(shape, random));
      const std::vector<float> x = RandomFloats(65 * shape.inputs, 1.0f, random);
      for (const ActivationFormat activation : kActivations) {
        for (const Isa isa : Isas()) {
          const WithIsa with(isa);
          std::vector<float> alone;
          for (int64_t row = 0; row < 65; ++row) {
            const std::vector<float> one(x.begin() + row * shape.inputs,
                                         x.begin() + (row + 1) * shape.inputs);
            const std::vector<float> out = RunLinear({shape, packed, one, 1, activation});
            alone.insert(alone.end(), out.begin(), out.end());
          }
          // Rows [first, first + rows), so that a row meets every place in a block.
          for (int64_t rows = 1; rows <= 65; ++rows) {
            const int64_t first = static_cast<int64_t>(random() % (66 - rows));
            const std::vector<float> some(x.begin() + first * shape.inputs,
                                          x.begin() + (first + rows) * shape.inputs);
            const std::vector<float> expected(alone.begin() + first * shape.outputs,
                                              alone.begin() + (first + rows) * shape.outputs);
            EXPECT_TRUE(SameBits(RunLinear({shape, packed, some, rows, activation}), expected))
                << Describe(shape, activation, isa) << " rows " << rows << " from " << first;
          }
        }
      }
    }
  }
}

TEST(LinearInvariance, OutputsAreIndependent) {
  std::mt19937 random(22);
  constexpr int64_t kRows = 5;
  for (const WeightFormat format : kFormats) {
    const LinearShape shape = WholeShape(SumTree::OverInputs(392), format, 150, 128, true);
    const NeutralRows weights = RandomWeights(shape, random);
    const Buffer packed = Pack(shape, weights);
    const std::vector<float> x = RandomFloats(kRows * shape.inputs, 1.0f, random);
    for (const ActivationFormat activation : kActivations) {
      for (const Isa isa : Isas()) {
        const WithIsa with(isa);
        const std::vector<float> whole = RunLinear({shape, packed, x, kRows, activation});
        for (const int64_t ranks : {2, 3, 7}) {
          const std::vector<int64_t> bounds = DealUnits(shape.outputs, ranks, true);
          for (int64_t rank = 0; rank < ranks; ++rank) {
            LinearShape part = shape;
            part.outputs = bounds[rank + 1] - bounds[rank];
            const Buffer own =
                Pack(part, Slice(weights, shape, bounds[rank], bounds[rank + 1], part));
            const std::vector<float> out = RunLinear({part, own, x, kRows, activation});
            for (int64_t row = 0; row < kRows; ++row) {
              EXPECT_EQ(std::memcmp(&out[row * part.outputs],
                                    &whole[row * shape.outputs + bounds[rank]], part.outputs * 4),
                        0)
                  << Describe(part, activation, isa) << " rank " << rank << " of " << ranks;
            }
          }
        }
      }
    }
  }
}

void ExpectRanksAgree(const SumTree& tree, const LinearShape& shape, std::mt19937& random) {
  constexpr int64_t kRows = 3;
  const NeutralRows weights = RandomWeights(shape, random);
  const Buffer packed = Pack(shape, weights);
  const std::vector<float> x = RandomFloats(kRows * shape.inputs, 1.0f, random);
  for (const ActivationFormat activation : kActivations) {
    for (const Isa isa : Isas()) {
      const WithIsa with(isa);
      const std::vector<float> whole = RunLinear({shape, packed, x, kRows, activation});
      for (const int64_t ranks : {1, 2, 3, 4, 5, 7, 8}) {
        const std::vector<float> sum = SumOverRanks(
            tree, shape, weights, x, ranks,
            [&](const LinearShape& part, const NeutralRows& own, const std::vector<float>& own_x) {
              return RunLinear({part, Pack(part, own), own_x, kRows, activation});
            });
        EXPECT_TRUE(SameBits(sum, whole))
            << Describe(shape, activation, isa) << " at " << ranks << " ranks";
      }
    }
  }
}

TEST(LinearInvariance, RanksAgree) {
  std::mt19937 random(23);
  const SumTree trees[] = {
      SumTree::OverInputs(1848),      // 29568 / 16: the last grain is short
      SumTree::OverInputs(4480),      // leaves of several grains
      SumTree::OverHeads(8, 2, 32),   // several leaves cut a group
      SumTree::OverHeads(14, 2, 64),  // uneven heads
      SumTree::OverHeads(8, 8, 80),   // groups and leaves share no boundary
  };
  for (const SumTree& tree : trees) {
    for (const int64_t group : {int64_t{32}, int64_t{64}, int64_t{128}, tree.inputs()}) {
      const bool asymmetric = random() % 2 == 0;
      ExpectRanksAgree(tree, WholeShape(tree, WeightFormat::kInt4, 33, group, asymmetric), random);
    }
    ExpectRanksAgree(tree, WholeShape(tree, WeightFormat::kInt8, 17, 128), random);
    ExpectRanksAgree(tree, WholeShape(tree, WeightFormat::kBF16, 17, 128), random);
  }
}

}  // namespace
}  // namespace octet::kernels
