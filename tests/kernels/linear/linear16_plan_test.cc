// How a linear with bf16 activations is dealt on CUDA: the kernels for regular shapes get no
// others, what was measured best is what is chosen, and the workspace is enough for fewer rows too.
#include "kernels/linear/linear16_plan.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels {
namespace {

using Name = Linear16TileName;

LinearShape Shape(int64_t outputs, int64_t inputs, int64_t group = 128, bool asymmetric = false) {
  LinearShape shape =
      WholeShape(SumTree::OverInputs(inputs), WeightFormat::kInt4, outputs, group, asymmetric);
  shape.layout = WeightLayout::kCuda16;
  return shape;
}

Linear16Plan Plan(const LinearShape& shape, int64_t rows) {
  return PlanLinear16(shape, Cuda16Layout::Of(shape), rows, ActivationFormat::kBF16,
                      MatrixFamily::kWgmma);
}

// Whether the tile of that name can do it in so many parts.
bool Fits(const LinearShape& shape, Name name, int64_t parts,
          ActivationFormat format = ActivationFormat::kBF16) {
  for (const Linear16Tile& tile : Linear16Tiles(shape.format, MatrixFamily::kWgmma)) {
    if (tile.name != name) continue;
    const Linear16Plan plan = PlanLinear16With(shape, Cuda16Layout::Of(shape), 100, format,
                                               MatrixFamily::kWgmma, tile, parts);
    return plan.items > 0 && plan.parts.parts == parts;
  }
  return false;
}

// The best of what was measured: up to 128 rows on an H200 (2026-11-27), beyond on an H100.
TEST(Linear16Plan, ChoosesWhatWasBest) {
  struct Best {
    int64_t outputs, inputs, rows;
    Name name;
    int32_t outputs_of_tile, parts;
  };
  const Best best[] = {
      {59136, 8192, 16, Name::kWide16, 256, 1},    {8192, 29568, 16, Name::kWide16, 256, 4},
      {10240, 8192, 32, Name::kWide32, 192, 2},    {8192, 8192, 32, Name::kWide32, 256, 4},
      {59136, 8192, 32, Name::kWide32, 256, 1},    {8192, 29568, 32, Name::kWide32, 256, 4},
      {10240, 8192, 64, Name::kWide64, 192, 2},    {8192, 8192, 64, Name::kWide64, 128, 2},
      {59136, 8192, 64, Name::kWide64, 192, 2},    {8192, 29568, 64, Name::kWide64, 128, 2},
      {10240, 8192, 256, Name::kWide128, 128, 2},  {8192, 29568, 128, Name::kWide128, 128, 2},
      {10240, 8192, 2048, Name::kWide128, 128, 1}, {59136, 8192, 256, Name::kWide128, 128, 1},
      {10240, 8192, 4096, Name::kWide128, 128, 1}, {59136, 8192, 512, Name::kWide128, 128, 1},
      {8192, 29568, 256, Name::kWide128, 128, 1},  {8192, 29568, 2048, Name::kWide128, 128, 1},
  };
  for (const Best& b : best) {
    const Linear16Plan plan = Plan(Shape(b.outputs, b.inputs), b.rows);
    EXPECT_EQ(static_cast<int>(plan.tile.name), static_cast<int>(b.name))
        << b.outputs << "x" << b.inputs << ", rows " << b.rows << ": " << plan.tile.outputs << "x"
        << plan.tile.tokens;
    EXPECT_EQ(plan.tile.outputs, b.outputs_of_tile)
        << b.outputs << "x" << b.inputs << ", rows " << b.rows;
    EXPECT_EQ(plan.parts.parts, b.parts) << b.outputs << "x" << b.inputs << ", rows " << b.rows;
  }
  for (const int64_t rows : {1, 8}) EXPECT_GT(Plan(Shape(10240, 8192), rows).tile.warps, 0) << rows;
}

// Of linear16_stream.cuh, on an H200 (2026-11-27), or 2 % slower than the best: blocks that share a
// panel and warps of a block that do.
TEST(Linear16Plan, ChoosesTheDealsThatWereBest) {
  struct Best {
    int64_t outputs, inputs, rows;
    Name name;
    int32_t parts, split;
  };
  const Best best[] = {
      {8192, 8192, 1, Name::kStream8, 16, 8},   {8192, 29568, 1, Name::kStream8, 16, 8},
      {10240, 8192, 8, Name::kStream8, 8, 1},   {8192, 8192, 8, Name::kStream8, 16, 8},
      {10240, 8192, 16, Name::kStream16, 8, 1},
  };
  for (const Best& b : best) {
    const Linear16Plan plan = Plan(Shape(b.outputs, b.inputs), b.rows);
    EXPECT_EQ(static_cast<int>(plan.tile.name), static_cast<int>(b.name)) << b.outputs;
    EXPECT_EQ(plan.parts.parts, b.parts) << b.outputs << ", rows " << b.rows;
    EXPECT_EQ(plan.tile.split, b.split) << b.outputs << ", rows " << b.rows;
  }
}

TEST(Linear16Plan, StreamTilesTakeRegularShapesOnly) {
  EXPECT_TRUE(Fits(Shape(256, 2048), Name::kStream8, 1));
  EXPECT_TRUE(Fits(Shape(256, 2048), Name::kStream8, 4));
  EXPECT_FALSE(Fits(Shape(256, 2048), Name::kStream8, 3));
  EXPECT_FALSE(Fits(Shape(256, 2048, 128, true), Name::kStream8, 1));
  EXPECT_FALSE(Fits(Shape(256, 2048, 64), Name::kStream8, 1));
  EXPECT_TRUE(Fits(Shape(256, 384), Name::kStream8, 1));  // three leaves
  EXPECT_FALSE(Fits(Shape(256, 384), Name::kStream8, 3));
}

TEST(Linear16Plan, WideTilesTakeRegularShapesOnly) {
  const LinearShape regular = Shape(256, 2048);
  for (const Name name : {Name::kWide16, Name::kWide32, Name::kWide64, Name::kWide128}) {
    for (const int64_t parts : {1, 2, 4}) EXPECT_TRUE(Fits(regular, name, parts)) << parts;
    EXPECT_TRUE(Fits(Shape(256, 2048, 128, true), name, 1));
    EXPECT_TRUE(Fits(Shape(256, 2040), name, 1));  // the last step is short
    EXPECT_FALSE(Fits(regular, name, 8));          // a part of one leaf
    EXPECT_FALSE(Fits(regular, name, 3));
    EXPECT_TRUE(Fits(regular, name, 1, ActivationFormat::kF32));  // by steps, they lie as they are
    EXPECT_FALSE(Fits(Shape(256, 2048, 64), name, 1));
    EXPECT_FALSE(Fits(Shape(256, 2048, 2048), name, 1));
    EXPECT_FALSE(
        Fits(Shape(256, 2000), name, 1));          // the last segment ends with its block half full
    EXPECT_FALSE(Fits(Shape(256, 384), name, 1));  // three leaves
    LinearShape f32 = regular;
    f32.scale_format = ScaleFormat::kF32;
    EXPECT_FALSE(Fits(f32, name, 1));
  }
}

TEST(Linear16Plan, WorkspaceIsEnoughForFewerRows) {
  for (const auto& [outputs, inputs] :
       std::vector<std::pair<int64_t, int64_t>>{{1280, 8192}, {10240, 8192}, {8192, 29568}}) {
    const LinearShape shape = Shape(outputs, inputs, 128, true);
    const int64_t bytes = Linear16WorkspaceBytes(shape, 3000, ActivationFormat::kBF16);
    for (int64_t rows = 1; rows <= 3000; rows = rows < 300 ? rows + 7 : rows + 61) {
      EXPECT_LE(Plan(shape, rows).workspace_bytes(), bytes) << outputs << ", rows " << rows;
    }
  }
}

}  // namespace
}  // namespace octet::kernels
