// A quick pass over one kernel with a bug planted in it: quantizing (bug 83), or a linear with 65
// or 3 rows. Without the bug it passes.
#include <gtest/gtest.h>

#include "tests/kernels/linear/linear8_cases.h"

namespace octet::kernels {
namespace {

TEST(Linear8Planted, MatchesTheCpu) {
  OCTET_REQUIRE_GPU();
  Stream& stream = octet::test::TestGpu()->stream();
  std::mt19937 random(61);
  const SumTree tree = SumTree::OverInputs(OCTET_PLANTED_BUG == 83 ? 250 : 256);
  const LinearShape shape = WholeShape(tree, WeightFormat::kInt4, 66, 128);
  const int64_t rows = OCTET_PLANTED_BUG == 82 ? 65 : 3;
  const std::vector<float> x = RandomFloats(rows * shape.inputs, 1.0f, random);
  if (OCTET_PLANTED_BUG == 83) {
    const Int8DeviceRows quantized(shape, x, rows, rows, stream);
    return;
  }
  const NeutralRows weights = RandomWeights(shape, random);
  const DeviceLinear linear(shape, weights, stream);
  EXPECT_TRUE(SameBits(RunOnDevice(linear, x, rows, {}, stream, 1),
                       RunLinear({shape, Pack(shape, weights), x, rows, ActivationFormat::kInt8})));
}

}  // namespace
}  // namespace octet::kernels
