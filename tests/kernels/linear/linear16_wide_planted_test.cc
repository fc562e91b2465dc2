// What finds the bug that is planted in linear16_wide.cuh; see linear16_one_wide_tile.cu.
#include <gtest/gtest.h>

#include "tests/kernels/linear/linear16_cases.h"

namespace octet::kernels {
namespace {

TEST(Linear16Wide, IsTheProduct) {
  OCTET_REQUIRE_GPU();
  std::mt19937 random(39);
  // Blocks enough to go around each ring.
  const Problem p = RandomProblem(
      WholeShape(SumTree::OverInputs(3072), WeightFormat::kInt4, 66, 128, false), 5, random);
  for (const Linear16Tile& tile : Linear16Tiles(WeightFormat::kInt4, DeviceFamily())) {
    if (tile.name != Linear16TileName::kWide128) continue;
    ExpectWithinBound(p, RunOnCuda({.shape = p.shape,
                                    .packed = Pack(p.shape, p.weights),
                                    .x = p.x,
                                    .rows = p.rows,
                                    .bias = p.bias,
                                    .with = CudaTile{tile, 1}}));
  }
}

}  // namespace
}  // namespace octet::kernels
