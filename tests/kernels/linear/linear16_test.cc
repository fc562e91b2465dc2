// The linear with bf16 activations on a device: against a product in double precision, and its
// promises on bits. Runs on the emulator with either instruction family, and on a GPU.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/linear/linear16_cases.h"

namespace octet::kernels {
namespace {

struct Case {
  SumTree tree;
  int64_t group;
};

// Trees and groups whose boundaries meet in every way: leaves of whole groups, groups cut by
// leaves, a short last grain, steps of fewer than 16 inputs, inputs at odd places.
std::vector<Case> Cases() {
  return {
      {SumTree::OverInputs(512), 128},     {SumTree::OverInputs(296), 32},
      {SumTree::OverInputs(296), 64},      {SumTree::OverInputs(296), 296},
      {SumTree::OverInputs(300), 128},     {SumTree::OverHeads(8, 2, 32), 128},
      {SumTree::OverHeads(4, 4, 80), 128}, {SumTree::OverHeads(4, 4, 20), 32},
  };
}

TEST(Linear16, IsTheProduct) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(31);
  for (const Case& c : Cases()) {
    for (const WeightFormat format : kFormats) {
      for (const bool asymmetric : {false, true}) {
        if (asymmetric && !IsQuantized(format)) continue;
        LinearShape shape = WholeShape(c.tree, format, 70, c.group, asymmetric);
        shape.scale_format = random() % 2 == 0 ? ScaleFormat::kF16 : ScaleFormat::kF32;
        const Problem p = RandomProblem(shape, 1 + static_cast<int64_t>(random() % 10), random);
        ExpectWithinBound(p, OnDevice(p));
      }
    }
  }
}

// Every tile and every way to deal the leaves gives the bits of every other.
void ExpectTilesAgree(const LinearShape& shape, int64_t rows, std::mt19937& random) {
  Problem p = RandomProblem(shape, rows, random);
  // Products of all sizes beside each other: what a matrix instruction cuts off differs then, if
  // anything does.
  for (float& x : p.x) x = std::ldexp(x, static_cast<int>(random() % 25) - 12);
  const std::vector<float> expected = OnDevice(p);
  const Buffer packed = Pack(p.shape, p.weights);
  const Cuda16Layout layout = Cuda16Layout::Of(p.shape);
  for (const Linear16Tile& tile : Linear16Tiles(shape.format, DeviceFamily())) {
    for (const int64_t parts : {1, 3}) {
      const Linear16Plan plan = PlanLinear16With(p.shape, layout, rows, ActivationFormat::kBF16,
                                                 DeviceFamily(), tile, parts);
      if (plan.items == 0) continue;  // does not fit
      const std::vector<float> out = RunOnCuda({.shape = p.shape,
                                                .packed = packed,
                                                .x = p.x,
                                                .rows = p.rows,
                                                .bias = p.bias,
                                                .with = CudaTile{tile, parts, tile.tokens > 8}});
      EXPECT_TRUE(SameBits(out, expected))
          << Describe(p.shape, ActivationFormat::kBF16, Isa::kPlain) << " tile " << tile.outputs
          << "x" << tile.tokens << " parts " << parts;
    }
  }
}

TEST(Linear16, TilesAgree) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(32);
  for (const WeightFormat format : kFormats) {
    const SumTree tree =
        format == WeightFormat::kInt4 ? SumTree::OverInputs(616) : SumTree::OverHeads(8, 4, 48);
    ExpectTilesAgree(WholeShape(tree, format, 134, 64, true), 35, random);
  }
}

// The same where every block of inputs is a segment: kernels know it.
TEST(Linear16, TilesAgreeOnWholeBlocks) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(37);
  for (const WeightFormat format : {WeightFormat::kInt4, WeightFormat::kInt8}) {
    for (const bool asymmetric : {false, true}) {
      LinearShape shape = WholeShape(SumTree::OverInputs(1408), format, 130, 128, asymmetric);
      shape.scale_format = ScaleFormat::kF16;
      ExpectTilesAgree(shape, 19, random);
    }
  }
}

// Tiles of linear16_wide.cuh against another kernel's, in shapes that reach all of theirs: tails of
// rows and outputs, aligned outputs and not, parts that the kernel adds and parts that another
// does, several items for a block.
TEST(Linear16, WideTilesAgree) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(38);
  struct WideCase {
    int64_t inputs;
    int64_t outputs;
    int64_t rows;
    bool asymmetric;
    std::vector<int64_t> parts;
    bool arrivals;
  };
  const WideCase cases[] = {
      {1152, 68, 130, false, {1}, true},   {1152, 200, 66, true, {1, 4}, true},
      {1152, 130, 3, false, {2, 4}, true}, {1152, 131, 3, true, {2}, false},
      {8192, 130, 3, false, {1, 8}, true},  // sums wait in the workspace
      {1144, 20, 129, true, {1}, true},     // the last step is short
  };
  for (const WideCase& c : cases) {
    const Problem p = RandomProblem(WholeShape(SumTree::OverInputs(c.inputs), WeightFormat::kInt4,
                                               c.outputs, 128, c.asymmetric),
                                    c.rows, random);
    const Buffer packed = Pack(p.shape, p.weights);
    const auto run = [&](const Linear16Tile& tile, int64_t parts) {
      return RunOnCuda({.shape = p.shape,
                        .packed = packed,
                        .x = p.x,
                        .rows = p.rows,
                        .bias = p.bias,
                        .with = CudaTile{tile, parts, c.arrivals}});
    };
    std::vector<float> expected;
    for (const Linear16Tile& tile : Linear16Tiles(WeightFormat::kInt4, DeviceFamily())) {
      if (tile.name == Linear16TileName::k256x32) expected = run(tile, 1);
      if (!IsWide(tile.name)) continue;
      for (const int64_t parts : c.parts) {
        EXPECT_TRUE(SameBits(run(tile, parts), expected))
            << c.inputs << " to " << c.outputs << ", rows " << c.rows << " by " << tile.tokens
            << ", parts " << parts;
      }
    }
  }
}

// Tiles of linear16_stream.cuh in every deal: panels that warps share and that blocks share,
// several leaves for a warp and one, a second panel, tails of rows and outputs.
TEST(Linear16, StreamTilesAgree) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(39);
  for (const int64_t inputs : {4096, 1152}) {
    const Problem p = RandomProblem(WholeShape(SumTree::OverInputs(inputs), WeightFormat::kInt4,
                                               inputs == 4096 ? 67 : 4230, 128, false),
                                    inputs == 4096 ? 11 : 3, random);
    const Buffer packed = Pack(p.shape, p.weights);
    std::vector<float> expected;
    for (const Linear16Tile& tile : Linear16Tiles(WeightFormat::kInt4, DeviceFamily())) {
      if (!IsStream(tile.name) && tile.name != Linear16TileName::k256x32) continue;
      if (inputs != 4096 && tile.tokens > 8 && IsStream(tile.name)) continue;
      for (const int64_t parts : {1, 2, 4, 8}) {
        const Linear16Plan plan =
            PlanLinear16With(p.shape, Cuda16Layout::Of(p.shape), p.rows, ActivationFormat::kBF16,
                             DeviceFamily(), tile, parts);
        if (plan.items == 0 || plan.parts.parts != parts * tile.split) continue;
        if (!IsStream(tile.name) && parts > 1) continue;
        const std::vector<float> out = RunOnCuda({.shape = p.shape,
                                                  .packed = packed,
                                                  .x = p.x,
                                                  .rows = p.rows,
                                                  .bias = p.bias,
                                                  .with = CudaTile{tile, parts, false}});
        if (expected.empty()) expected = out;
        EXPECT_TRUE(SameBits(out, expected)) << inputs << " inputs, tile by " << tile.tokens << ", "
                                             << parts << " parts of " << tile.split << " warps";
      }
    }
    EXPECT_EQ(expected.empty(), DeviceFamily() == MatrixFamily::kMma);  // which has none of them
  }
}

TEST(Linear16, RowsAreIndependent) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(33);
  for (const WeightFormat format : kFormats) {
    const Problem p =
        RandomProblem(WholeShape(SumTree::OverInputs(296), format, 65, 64, true), 70, random);
    const Buffer packed = Pack(p.shape, p.weights);
    const std::vector<float> whole = OnDevice(p);
    const auto expect_same = [&](int64_t first, int64_t rows) {
      const std::vector<float> x(p.x.begin() + first * p.shape.inputs,
                                 p.x.begin() + (first + rows) * p.shape.inputs);
      const std::vector<float> out =
          RunOnCuda({.shape = p.shape, .packed = packed, .x = x, .rows = rows, .bias = p.bias});
      const std::vector<float> expected(whole.begin() + first * p.shape.outputs,
                                        whole.begin() + (first + rows) * p.shape.outputs);
      EXPECT_TRUE(SameBits(out, expected))
          << Describe(p.shape, ActivationFormat::kBF16, Isa::kPlain) << " rows " << rows << " from "
          << first;
    };
    for (const int64_t row : {0, 13, 69}) expect_same(row, 1);
    for (const int64_t rows : {2, 9, 17, 33, 65}) {
      expect_same(static_cast<int64_t>(random() % (71 - rows)), rows);
    }
  }
}

// A tile of linear16_wide.cuh, if there is one for the shape.
std::optional<CudaTile> WideTileFor(const LinearShape& shape, int64_t rows) {
  for (const Linear16Tile& tile : Linear16Tiles(shape.format, DeviceFamily())) {
    if (!IsWide(tile.name)) continue;
    const Linear16Plan plan = PlanLinear16With(shape, Cuda16Layout::Of(shape), rows,
                                               ActivationFormat::kBF16, DeviceFamily(), tile, 1);
    if (plan.items > 0) return CudaTile{tile, 1, true};
  }
  return {};
}

TEST(Linear16, RanksAgree) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(34);
  constexpr int64_t kRows = 3;
  const SumTree trees[] = {
      SumTree::OverInputs(1848),      // the last grain is short
      SumTree::OverHeads(14, 2, 64),  // uneven heads
      SumTree::OverHeads(8, 8, 80),   // groups and leaves share no boundary
      SumTree::OverInputs(2048),      // whole blocks, for which there are kernels
  };
  for (const SumTree& tree : trees) {
    for (const WeightFormat format : {WeightFormat::kInt4, WeightFormat::kInt8}) {
      const Problem p = RandomProblem(
          WholeShape(tree, format, 20, format == WeightFormat::kInt4 ? 128 : 32, true), kRows,
          random);
      Problem plain = p;
      plain.bias.clear();
      const std::vector<float> whole = OnDevice(plain);
      for (const int64_t ranks : {1, 2, 3, 4, 7}) {
        const std::vector<int64_t> bounds = DealUnits(tree.leaf_count(), ranks, false);
        std::vector<LeafRange> ranges;
        std::vector<float> roots;
        for (int64_t rank = 0; rank < ranks; ++rank) {
          ranges.push_back({bounds[rank], bounds[rank + 1]});
          const LinearShape part = WithLeaves(p.shape, tree, ranges.back());
          std::vector<float> x;
          for (int64_t row = 0; row < kRows; ++row) {
            const auto from = p.x.begin() + row * p.shape.inputs + part.input_begin;
            x.insert(x.end(), from, from + part.inputs);
          }
          const Buffer packed = Pack(part, Slice(p.weights, p.shape, 0, p.shape.outputs, part));
          const std::vector<float> out = RunOnCuda({.shape = part,
                                                    .packed = packed,
                                                    .x = x,
                                                    .rows = kRows,
                                                    .with = WideTileFor(part, kRows)});
          roots.insert(roots.end(), out.begin(), out.end());
        }
        EXPECT_TRUE(
            SameBits(AddAcross(roots, kRows * p.shape.outputs, tree.MergesAcross(ranges)), whole))
            << Describe(p.shape, ActivationFormat::kBF16, Isa::kPlain) << " at " << ranks
            << " ranks";
      }
    }
  }
}

// Rows in f32 are rounded first; it is the same then.
TEST(Linear16, TakesRowsInF32) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(35);
  for (const Case& c : Cases()) {
    const Problem p =
        RandomProblem(WholeShape(c.tree, WeightFormat::kInt4, 66, c.group, true), 9, random);
    const std::vector<float> out = RunOnCuda({.shape = p.shape,
                                              .packed = Pack(p.shape, p.weights),
                                              .x = p.x,
                                              .rows = p.rows,
                                              .rows_format = ActivationFormat::kF32,
                                              .bias = p.bias});
    EXPECT_TRUE(SameBits(out, OnDevice(p))) << c.tree.inputs() << " g" << c.group;
  }
}

// So do the tiles that have them copied as they lie.
TEST(Linear16, WideTilesTakeRowsInF32) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(40);
  const Problem p = RandomProblem(
      WholeShape(SumTree::OverInputs(1152), WeightFormat::kInt8, 68, 128, false), 35, random);
  const Buffer packed = Pack(p.shape, p.weights);
  const std::vector<float> expected = OnDevice(p);
  for (const Linear16Tile& tile : Linear16Tiles(WeightFormat::kInt8, DeviceFamily())) {
    if (!IsWide(tile.name)) continue;
    const std::vector<float> out = RunOnCuda({.shape = p.shape,
                                              .packed = packed,
                                              .x = p.x,
                                              .rows = p.rows,
                                              .rows_format = ActivationFormat::kF32,
                                              .bias = p.bias,
                                              .with = CudaTile{tile, 1, true}});
    EXPECT_TRUE(SameBits(out, expected)) << "tile by " << tile.tokens;
  }
}

// What is not a number stays in its row, and the last group of a leaf does not leak into the next.
TEST(Linear16, NanStaysInItsRow) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(36);
  Problem p = RandomProblem(WholeShape(SumTree::OverInputs(296), WeightFormat::kInt4, 65, 64, true),
                            12, random);
  const std::vector<float> clean = OnDevice(p);
  p.x[5 * p.shape.inputs + 200] = NAN;
  p.x[7 * p.shape.inputs + 3] = INFINITY;
  const std::vector<float> out = OnDevice(p);
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t output = 0; output < p.shape.outputs; ++output) {
      const int64_t at = row * p.shape.outputs + output;
      if (row == 5 || row == 7) {
        EXPECT_FALSE(std::isfinite(out[at]));
      } else {
        EXPECT_EQ(out[at], clean[at]);
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
