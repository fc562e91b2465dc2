// ActivationRows for an op on the device to write, and the check that they hold what the op's plain
// f32 result says: bf16 rounded once, int8 by the definition of kernels/linear/panel.h.
#pragma once

#include <cmath>
#include <cstring>

#include "base/sum_tree.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/panel.h"
#include "tests/kernels/device_array.h"
#include "tests/kernels/linear/linear_cases.h"

namespace octet::kernels::test {

class WrittenRows {
 public:
  // `group` is of the linear that would read int8 rows.
  WrittenRows(ActivationFormat format, int64_t inputs, int64_t rows, int64_t group)
      : format_(format),
        inputs_(inputs),
        rows_(rows),
        shape_(WholeShape(SumTree::OverInputs(inputs), WeightFormat::kInt8, 1, group)),
        segments_(ActivationSegmentCount(shape_)),
        table_(ActivationSegments(shape_)),
        device_table_(table_),
        bytes_(ActivationRowsBytes(format, Positions(), segments_, rows)) {}

  ActivationRows view() const { return ViewAt(bytes_.data(), device_table_.data()); }

  // y: [rows, inputs], what the op has in f32.
  void ExpectHold(const std::vector<float>& y) const {
    std::vector<std::byte> bytes = bytes_.Read();
    const ActivationRows rows = ViewAt(bytes.data(), table_.data());
    for (int64_t row = 0; row < rows_; ++row) {
      const float* expected = y.data() + row * inputs_;
      switch (format_) {
        case ActivationFormat::kF32:
          ExpectRow<uint32_t>(rows, row, expected,
                              [](float value) { return std::bit_cast<uint32_t>(value); });
          break;
        case ActivationFormat::kBF16:
          ExpectRow<uint16_t>(rows, row, expected, FloatToBF16);
          break;
        case ActivationFormat::kInt8:
          for (int64_t s = 0; s < segments_; ++s) ExpectSegment(rows, row, s, expected);
      }
    }
  }

 private:
  int64_t Positions() const {
    return format_ == ActivationFormat::kInt8 ? ActivationPositions(shape_) : inputs_;
  }
  ActivationRows ViewAt(std::byte* base, const int32_t* table) const {
    return PlaceActivationRows(format_, Positions(), table, segments_, rows_, base);
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

  void ExpectSegment(const ActivationRows& rows, int64_t row, int64_t segment,
                     const float* expected) const {
    const int32_t begin = rows.segment_bounds[segment];
    const int32_t end = rows.segment_bounds[segment + 1];
    float amax = 0;
    bool finite = true;
    for (int32_t i = begin; i < end; ++i) {
      finite = finite && std::isfinite(expected[i]);
      amax = std::max(amax, std::abs(expected[i]));
    }
    if (amax < kAmaxMin) amax = 0;
    const float inverse = finite && amax > 0 ? 127.0f / amax : 0;
    float sum = 0;  // exact
    for (int32_t i = begin; i < begin + AlignUp(end - begin, kStepPositions); ++i) {
      float code = 0;
      if (i < end && inverse != 0) code = std::nearbyint(expected[i] * inverse);
      sum += code;
      const int64_t position = rows.segment_positions()[segment] + i - begin;
      ASSERT_EQ(static_cast<float>(*rows.code(row, position)), code) << "row " << row << ", input " << i;
    }
    const float scale = rows.scales[segment * rows.padded_rows() + row];
    if (finite) {
      EXPECT_EQ(scale, amax / 127.0f) << "row " << row << ", segment " << segment;
      EXPECT_EQ(rows.sums[segment * rows.padded_rows() + row], scale * sum);
    } else {
      EXPECT_TRUE(std::isnan(scale)) << "row " << row << ", segment " << segment;
    }
  }

  ActivationFormat format_;
  int64_t inputs_;
  int64_t rows_;
  LinearShape shape_;
  int64_t segments_;
  std::vector<int32_t> table_;
  DeviceArray<int32_t> device_table_;
  DeviceArray<std::byte> bytes_;
};

}  // namespace octet::kernels::test
