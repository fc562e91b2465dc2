// Linears with int8 activations on a device, drawn at random: the definition, to the bit.
#include <gtest/gtest.h>

#include "tests/kernels/linear/linear8_cases.h"
#include "tests/kernels/linear/random_shape.h"

namespace octet::kernels {
namespace {

using octet::test::Dice;

constexpr int kCases = 12;

TEST(Linear8Random, IsTheDefinition) {
  OCTET_REQUIRE_GPU();
  Stream& stream = octet::test::TestGpu()->stream();
  Dice dice;
  for (int i = 0; i < kCases; ++i) {
    const LinearShape shape =
        test::RandomShape({WeightFormat::kInt4, WeightFormat::kInt4, WeightFormat::kInt8}, dice);
    const int64_t rows = test::RandomRows(shape, dice);
    const int64_t parts = dice.OneIn(2) ? 0 : dice.Between(1, 5);
    SCOPED_TRACE(Describe(shape, ActivationFormat::kInt8, Isa::kPlain) + " rows " +
                 std::to_string(rows) + " roots " + std::to_string(shape.root_count()) + " parts " +
                 std::to_string(parts));
    const NeutralRows weights = RandomWeights(shape, dice.engine());
    const std::vector<float> x = RandomFloats(rows * shape.inputs, 1.0f, dice.engine());
    const std::vector<float> bias = shape.root_count() > 1
                                        ? std::vector<float>()
                                        : RandomFloats(shape.outputs, 0.1f, dice.engine());
    const DeviceLinear linear(shape, weights, stream);
    ASSERT_TRUE(SameBits(RunOnDevice(linear, x, rows, bias, stream, parts),
                         Expected8(shape, weights, x, rows, bias)));
  }
}

}  // namespace
}  // namespace octet::kernels
