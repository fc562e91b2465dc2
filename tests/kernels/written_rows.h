// ActivationRows for an op on the device to write, and the check that they hold what the op's plain
// f32 result says: bf16 rounded once, int8 by kernels/linear/linear8_definition.h.
#pragma once

#include <cmath>
#include <cstring>

#include "base/sum_tree.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear8_definition.h"
#include "tests/kernels/device_array.h"
#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels::test {

class WrittenRows {
 public:
  // `group` is of the linear that would read int8 rows.
  WrittenRows(ActivationFormat format, int64_t inputs, int64_t rows, int64_t group)
      : inputs_(inputs),
        rows_(rows),
        shape_(WholeShape(SumTree::OverInputs(inputs), WeightFormat::kInt8, 1, group)),
        extent_(ActivationExtentOf(shape_, format)),
        table_(ActivationSegments(shape_)),
        device_table_(table_),
        bytes_(ActivationRowsBytes(extent_, rows)) {}

  ActivationRows view() const { return ViewAt(bytes_.data(), device_table_.data()); }

  // y: [rows, inputs], what the op has in f32.
  void ExpectHold(const std::vector<float>& y) const {
    std::vector<std::byte> bytes = bytes_.Read();
    const ActivationRows rows = ViewAt(bytes.data(), table_.data());
    for (int64_t row = 0; row < rows_; ++row) {
      const float* expected = y.data() + row * inputs_;
      switch (extent_.format) {
        case ActivationFormat::kF32:
          ExpectRow<uint32_t>(rows, row, expected,
                              [](float value) { return std::bit_cast<uint32_t>(value); });
          break;
        case ActivationFormat::kBF16:
          ExpectRow<uint16_t>(rows, row, expected, FloatToBF16);
          break;
        case ActivationFormat::kInt8:
          for (int64_t leaf = 0; leaf < extent_.leaves; ++leaf) {
            ExpectLeaf(rows, row, leaf, expected);
          }
      }
    }
  }

 private:
  ActivationRows ViewAt(std::byte* base, const int32_t* table) const {
    return PlaceActivationRows(extent_, rows_, table, base);
  }

  // Nothing is written past the inputs.
  template <typename Bits, typename BitsOf>
  void ExpectRow(const ActivationRows& rows, int64_t row, const float* expected,
                 const BitsOf& bits_of) const {
    const Bits* got = static_cast<const Bits*>(rows.values) + row * rows.stride;
    for (int64_t i = 0; i < rows.stride; ++i) {
      const Bits bits = i < inputs_ ? bits_of(expected[i]) : static_cast<Bits>(-1);
      ASSERT_EQ(got[i], bits) << "row " << row << ", input " << i;
    }
  }

  void ExpectLeaf(const ActivationRows& rows, int64_t row, int64_t leaf,
                  const float* expected) const {
    float amax = 0;
    bool finite = true;
    for (int64_t i = shape_.leaf_bounds[leaf]; i < shape_.leaf_bounds[leaf + 1]; ++i) {
      finite = finite && std::isfinite(expected[i]);
      amax = std::max(amax, std::abs(expected[i]));
    }
    if (amax < kLeafAmaxMin) amax = 0;
    const float scale = rows.scales[leaf * rows.padded_rows() + row];
    if (finite) {
      EXPECT_EQ(scale, amax / 127.0f) << "row " << row << ", leaf " << leaf;
    } else {
      EXPECT_TRUE(std::isnan(scale)) << "row " << row << ", leaf " << leaf;
    }
    const float inverse = finite && amax > 0 ? 127.0f / amax : 0;
    for (int32_t s = rows.leaf_segments()[leaf]; s < rows.leaf_segments()[leaf + 1]; ++s) {
      ExpectSegment(rows, row, s, expected, inverse);
    }
  }

  void ExpectSegment(const ActivationRows& rows, int64_t row, int32_t segment,
                     const float* expected, float inverse) const {
    const int32_t begin = rows.segment_bounds[segment];
    const int32_t end = rows.segment_bounds[segment + 1];
    float sum = 0;  // exact
    for (int32_t i = begin; i < begin + AlignUp(end - begin, kStepPositions); ++i) {
      float code = 0;
      if (i < end && inverse != 0) code = std::nearbyint(expected[i] * inverse);
      sum += code;
      const int64_t position = rows.segment_positions()[segment] + i - begin;
      ASSERT_EQ(static_cast<float>(*rows.code(row, position)), code)
          << "row " << row << ", input " << i;
    }
    EXPECT_EQ(rows.sums[segment * rows.padded_rows() + row], sum);
  }

  int64_t inputs_;
  int64_t rows_;
  LinearShape shape_;
  ActivationExtent extent_;
  std::vector<int32_t> table_;
  DeviceArray<int32_t> device_table_;
  DeviceArray<std::byte> bytes_;
};

}  // namespace octet::kernels::test
