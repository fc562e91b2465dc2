// The packed form: its size, the places of a few codes written out by hand, and that rows may come
// in any pieces.
#include "kernels/linear/packing.h"

#include <gtest/gtest.h>

#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels {
namespace {

TEST(Packing, PlacesCodesAsDocumented) {
  LinearShape shape = WholeShape(SumTree::OverInputs(16), WeightFormat::kInt4, 20, 16);
  NeutralRows weights;
  weights.rows = 20;
  weights.codes.assign(20 * 16, 0);
  weights.scales.assign(20, 0.5f);
  weights.codes[18 * 16 + 8 + 2] = 0x5;  // output 18, second chunk, inputs 2 and 6
  weights.codes[18 * 16 + 8 + 6] = 0xa;
  Buffer packed = Pack(shape, weights);
  // Width 32: one f16 scale each, then two chunks of 32 x 4 bytes.
  ASSERT_EQ(PackedLinearBytes(shape), 2 * 32 * 4 + 32 * 2);
  EXPECT_EQ(static_cast<int>(packed.data()[64 + (32 + 18) * 4 + 2]), 0xa5);
  EXPECT_EQ(static_cast<int>(packed.data()[19 * 2 + 1]), 0x38);  // 0.5 in f16 is 0x3800
  EXPECT_EQ(static_cast<int>(packed.data()[20 * 2 + 1]), 0);     // no such output

  shape.format = WeightFormat::kInt8;
  packed = Pack(shape, weights);
  ASSERT_EQ(PackedLinearBytes(shape), 2 * 32 * 8 + 32 * 2);
  EXPECT_EQ(static_cast<int>(packed.data()[64 + 256 + 18 * 4 + 2]), 0x5);
  EXPECT_EQ(static_cast<int>(packed.data()[64 + 256 + 128 + 18 * 4 + 2]), 0xa);
}

TEST(Packing, BytesAreWhatTheShapeNeeds) {
  const SumTree tree = SumTree::OverInputs(4096);
  const auto bytes = [&](WeightFormat format, int64_t outputs, bool asymmetric) {
    return PackedLinearBytes(WholeShape(tree, format, outputs, 128, asymmetric));
  };
  EXPECT_EQ(bytes(WeightFormat::kInt4, 4800, false), 4800 * (2048 + 32 * 2));
  EXPECT_EQ(bytes(WeightFormat::kInt4, 4800, true), 4800 * (2048 + 32 * 4));
  EXPECT_EQ(bytes(WeightFormat::kInt8, 4800, false), 4800 * (4096 + 32 * 2));
  EXPECT_EQ(bytes(WeightFormat::kBF16, 4800, false), 4800 * 8192);
  // Outputs are padded to 16, not to a panel.
  EXPECT_EQ(bytes(WeightFormat::kBF16, 4801, false), 4816 * 8192);
  EXPECT_EQ(bytes(WeightFormat::kF32, 1, false), 16 * 16384);
}

TEST(Packing, RowsMayComeInPieces) {
  std::mt19937 random(31);
  for (const WeightFormat format : kFormats) {
    LinearShape shape = WholeShape(SumTree::OverInputs(200), format, 101, 32, true);
    const NeutralRows weights = RandomWeights(shape, random);
    const Buffer whole = Pack(shape, weights);
    Buffer pieces(PackedLinearBytes(shape));
    for (int64_t end = shape.outputs; end > 0;) {
      const int64_t begin = std::max<int64_t>(0, end - 1 - static_cast<int64_t>(random() % 13));
      PackLinearRows(shape, begin, Slice(weights, shape, begin, end, shape), pieces.data());
      end = begin;
    }
    EXPECT_EQ(std::memcmp(whole.data(), pieces.data(), whole.bytes()), 0);
  }
}

TEST(PackingDeathTest, RefusesScalesThatF16CannotHold) {
  LinearShape shape = WholeShape(SumTree::OverInputs(16), WeightFormat::kInt4, 1, 16);
  NeutralRows weights;
  weights.rows = 1;
  weights.codes.assign(16, 0);
  weights.scales = {0.1f};
  Buffer packed(PackedLinearBytes(shape));
  EXPECT_DEATH(PackLinearRows(shape, 0, weights, packed.data()), "stored_scale.h");
}

}  // namespace
}  // namespace octet::kernels
