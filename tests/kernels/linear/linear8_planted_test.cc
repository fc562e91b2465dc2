// A quick pass over one kernel with a bug planted in it: quantizing (bugs 83 and 85), or a linear
// with 65 or 3 rows. Without the bug it passes.
#include <gtest/gtest.h>

#include "tests/kernels/linear/linear8_cases.h"

namespace octet::kernels {
namespace {

TEST(Linear8Planted, MatchesTheDefinition) {
  OCTET_REQUIRE_GPU();
  Stream& stream = octet::test::TestGpu()->stream();
  std::mt19937 random(61);
  constexpr bool kQuantizes = OCTET_PLANTED_BUG == 83 || OCTET_PLANTED_BUG == 85;
  constexpr bool kManyRows = OCTET_PLANTED_BUG == 82 || OCTET_PLANTED_BUG == 86;
  // 86: every block ends a leaf, and the ring of stages goes around.
  const SumTree tree = SumTree::OverInputs(kQuantizes ? 250 : OCTET_PLANTED_BUG == 86 ? 1024 : 256);
  const LinearShape shape = WholeShape(tree, WeightFormat::kInt4, 66, 128);
  const int64_t rows = kManyRows ? 65 : 3;
  const std::vector<float> x = RandomFloats(rows * shape.inputs, 1.0f, random);
  if (kQuantizes) {
    const Int8DeviceRows quantized(shape, x, rows, rows, stream);
    return;
  }
  const NeutralRows weights = RandomWeights(shape, random);
  const DeviceLinear linear(shape, weights, stream);
  EXPECT_TRUE(
      SameBits(RunOnDevice(linear, x, rows, {}, stream, 1), Expected8(shape, weights, x, rows)));
}

}  // namespace
}  // namespace octet::kernels
