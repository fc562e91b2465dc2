// What finds the bugs that are planted in the linear with bf16 activations; see
// linear16_one_tile.cu.
#include <gtest/gtest.h>

#include "tests/kernels/linear/linear16_cases.h"

namespace octet::kernels {
namespace {

// Of each kind of kernel.
bool IsThere(Linear16TileName name) {
  return name == Linear16TileName::k64x8 || name == Linear16TileName::k256x32 ||
         name == Linear16TileName::kFew8 || name == Linear16TileName::kStream8;
}

TEST(Linear16OneTile, IsTheProductInEveryDeal) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(37);
  for (const bool even : {true, false}) {
    // Leaves of three groups, in place: rings are filled again; and a short last step, laid out
    // first.
    const SumTree tree = even ? SumTree::OverInputs(3072) : SumTree::OverInputs(300);
    const Problem p =
        RandomProblem(WholeShape(tree, WeightFormat::kInt4, 66, even ? 128 : 32, !even), 9, random);
    const Buffer packed = Pack(p.shape, p.weights);
    std::vector<float> first;
    for (const Linear16Tile& tile : Linear16Tiles(WeightFormat::kInt4, DeviceFamily())) {
      if (!IsThere(tile.name)) continue;
      for (const int64_t parts : {1, 3}) {
        if (PlanLinear16With(p.shape, Cuda16Layout::Of(p.shape), p.rows, ActivationFormat::kBF16,
                             DeviceFamily(), tile, parts)
                .items == 0) {
          continue;  // not for such a shape
        }
        for (const bool arrivals : {true, false}) {
          const std::vector<float> out = RunOnCuda({.shape = p.shape,
                                                    .packed = packed,
                                                    .x = p.x,
                                                    .rows = p.rows,
                                                    .bias = p.bias,
                                                    .with = CudaTile{tile, parts, arrivals}});
          ExpectWithinBound(p, out);
          if (first.empty()) first = out;
          EXPECT_TRUE(SameBits(out, first)) << parts << " parts, " << tile.tokens << " tokens";
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
