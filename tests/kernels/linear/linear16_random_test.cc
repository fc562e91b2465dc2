// Linears with bf16 activations on a device, drawn at random: the product, a row alone, another
// tile.
#include <gtest/gtest.h>

#include <span>

#include "tests/kernels/linear/linear16_cases.h"
#include "tests/kernels/linear/random_shape.h"

namespace octet::kernels {
namespace {

using octet::test::Dice;

constexpr int kCases = 12;

TEST(Linear16Random, IsTheProductByEveryTileAndForARowAlone) {
  OCTET_REQUIRE_GPU();
  Dice dice;
  for (int i = 0; i < kCases; ++i) {
    const LinearShape shape = test::RandomShape(
        {WeightFormat::kInt4, WeightFormat::kInt4, WeightFormat::kInt4, WeightFormat::kInt8,
         WeightFormat::kBF16, WeightFormat::kF16, WeightFormat::kF32},
        dice);
    const int64_t rows = test::RandomRows(shape, dice);
    const Problem p = RandomProblem(shape, rows, dice.engine());
    SCOPED_TRACE(Describe(p.shape, ActivationFormat::kBF16, Isa::kPlain) + " rows " +
                 std::to_string(rows) + " roots " + std::to_string(shape.root_count()));
    const std::vector<float> out = OnDevice(p);
    if (shape.root_count() == 1) {
      ASSERT_NO_FATAL_FAILURE(ExpectWithinBound(p, out));
    }

    const int64_t row = dice.Between(0, rows - 1);
    Problem alone = p;
    alone.x = test::RowOf(p.x, shape.inputs, row);
    alone.rows = 1;
    ASSERT_TRUE(SameBits(OnDevice(alone), test::OutputsOf(out, shape, rows, row))) << "row " << row;

    const std::span<const Linear16Tile> tiles = Linear16Tiles(shape.format, DeviceFamily());
    const Linear16Tile tile = tiles[static_cast<size_t>(dice.Seed()) % tiles.size()];
    const int64_t parts = dice.Between(1, 5);
    const Linear16Plan plan =
        PlanLinear16With(p.shape, Cuda16Layout::Of(p.shape), rows, ActivationFormat::kBF16,
                         DeviceFamily(), tile, parts);
    if (plan.items == 0) continue;  // does not fit
    const bool arrivals = tile.tokens > 8 || dice.OneIn(2);
    ASSERT_TRUE(SameBits(out, RunOnCuda({.shape = p.shape,
                                         .packed = Pack(p.shape, p.weights),
                                         .x = p.x,
                                         .rows = rows,
                                         .bias = p.bias,
                                         .with = CudaTile{tile, parts, arrivals}})))
        << "tile " << tile.outputs << "x" << tile.tokens << " parts " << parts;
  }
}

}  // namespace
}  // namespace octet::kernels
