// The layouts of copies and matrix fragments, against dense products in plain loops.
#include <bit>
#include <cstring>
#include <vector>

#include "base/dtype.h"
#include "tests/base/device/conformance.h"
#include "tests/support/test_device.h"

namespace octet::conformance {
namespace {

class ConformanceMatrixTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
  Stream& stream() { return test::TestGpu()->stream(); }
  bool has_wgmma() { return test::TestGpu()->info().has_wgmma(); }
};

TEST_F(ConformanceMatrixTest, AsyncCopies) {
  std::vector<uint32_t> in(1024);
  for (uint32_t i = 0; i < 1024; ++i) in[i] = 7 * i + 1;
  const DeviceBuffer device_in = test::ToDevice(in, stream());
  const DeviceBuffer device_out = test::ToDevice(std::vector<uint32_t>(1024), stream());
  AsyncCopies(device_in.as<uint32_t>(), device_out.as<uint32_t>(), stream());
  const auto out = test::ToHost<uint32_t>(device_out, stream());
  for (uint32_t i = 0; i < 1024; ++i) {
    uint32_t expected = in[i];
    if (i >= 512 && i < 768 && (i - 512) / 4 % 3 == 0) expected = 0;
    if (i >= 768 && i % 64 % 5 == 0) expected = 0;
    EXPECT_EQ(out[i], expected) << i;
  }
}

TEST_F(ConformanceMatrixTest, LoadMatrices) {
  std::vector<uint16_t> rows(256);
  for (uint32_t i = 0; i < 256; ++i) rows[i] = static_cast<uint16_t>(100 + i);
  const DeviceBuffer device_rows = test::ToDevice(rows, stream());
  const DeviceBuffer device_out = test::ToDevice(std::vector<uint32_t>(512), stream());
  LoadMatrices(device_rows.as<uint16_t>(), device_out.as<uint32_t>(), stream());
  const auto out = test::ToHost<uint32_t>(device_out, stream());
  const auto element = [&](int matrix, int row, int column) -> uint32_t {
    return rows[static_cast<size_t>(64 * matrix + 8 * row + column)];
  };
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int m = 0; m < 4; ++m) {
      const uint32_t straight = element(m, g, 2 * t) | element(m, g, 2 * t + 1) << 16;
      const uint32_t transposed = element(m, 2 * t, g) | element(m, 2 * t + 1, g) << 16;
      EXPECT_EQ(out[4 * lane + m], straight);
      EXPECT_EQ(out[128 + 4 * lane + m], transposed);
      if (m < 2) {
        EXPECT_EQ(out[256 + 4 * lane + m], straight);
        EXPECT_EQ(out[384 + 4 * lane + m], transposed);
        EXPECT_EQ(out[384 + 2 + 4 * lane + m], transposed);
      }
    }
  }
}

bool IsFloat(Product product) { return product == Product::kBF16 || product == Product::kF16; }

// [rows, 32 * steps bytes] elements of an operand of `product`, and their values.
struct Operand {
  std::vector<uint8_t> bytes;
  std::vector<int> values;
};
Operand MakeOperand(Product product, bool is_a, int rows, int steps, int salt) {
  const int depth = (IsFloat(product) ? 16 : 32) * steps;
  const bool is_unsigned =
      (product == Product::kU8S8 && is_a) || (product == Product::kS8U8 && !is_a);
  Operand operand;
  for (int i = 0; i < rows * depth; ++i) {
    // Each row and column has a pattern of its own, so that no permutation goes unseen.
    int value = (i * 37 + i / depth * 11 + salt) % 15 - 7;
    if (!IsFloat(product)) value = value * 16 + i % 5;
    if (is_unsigned) value += 128;
    operand.values.push_back(value);
    if (!IsFloat(product)) {
      operand.bytes.push_back(static_cast<uint8_t>(value));
      continue;
    }
    const auto x = static_cast<float>(value);
    const uint16_t bits = product == Product::kBF16 ? FloatToBF16(x) : FloatToF16(x);
    operand.bytes.push_back(static_cast<uint8_t>(bits));
    operand.bytes.push_back(static_cast<uint8_t>(bits >> 8));
  }
  return operand;
}

// d [rows, columns] as words: floats or integers.
uint32_t WordOf(Product product, int64_t value) {
  return IsFloat(product) ? std::bit_cast<uint32_t>(static_cast<float>(value))
                          : static_cast<uint32_t>(value);
}

struct DenseCase {
  Operand a, b;
  std::vector<uint32_t> initial, expected;
};
DenseCase MakeCase(Product product, int rows, int columns, int steps) {
  DenseCase made{MakeOperand(product, true, rows, steps, 1),
                 MakeOperand(product, false, columns, steps, 5),
                 {},
                 {}};
  const int depth = (IsFloat(product) ? 16 : 32) * steps;
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      int64_t sum = 100 * row + column;
      made.initial.push_back(WordOf(product, sum));
      for (int k = 0; k < depth; ++k)
        sum += int64_t{made.a.values[static_cast<size_t>(row * depth + k)]} *
               made.b.values[static_cast<size_t>(column * depth + k)];
      made.expected.push_back(WordOf(product, sum));
    }
  }
  return made;
}

TEST_F(ConformanceMatrixTest, WarpProducts) {
  for (const Product product :
       {Product::kBF16, Product::kF16, Product::kS8S8, Product::kU8S8, Product::kS8U8}) {
    const DenseCase dense = MakeCase(product, 16, 8, 1);
    const DeviceBuffer a = test::ToDevice(dense.a.bytes, stream());
    const DeviceBuffer b = test::ToDevice(dense.b.bytes, stream());
    const DeviceBuffer d = test::ToDevice(dense.initial, stream());
    MultiplyWarp(product, a.data(), b.data(), d.data(), stream());
    EXPECT_EQ(test::ToHost<uint32_t>(d, stream()), dense.expected) << static_cast<int>(product);
  }
}

TEST_F(ConformanceMatrixTest, WarpgroupProducts) {
  if (!has_wgmma()) GTEST_SKIP() << "wgmma is of compute capability 9.0 alone";
  for (const Product product : {Product::kBF16, Product::kS8S8, Product::kU8S8, Product::kS8U8}) {
    for (const int columns : {8, 24, 64, 256}) {
      if (product != Product::kBF16 && columns != 64) continue;
      const DenseCase dense = MakeCase(product, 64, columns, 4);
      const DeviceBuffer a = test::ToDevice(dense.a.bytes, stream());
      const DeviceBuffer b = test::ToDevice(dense.b.bytes, stream());
      for (const OperandA operand : {OperandA::kRegisters, OperandA::kShared}) {
        for (const bool swizzled : {false, true}) {
          const DeviceBuffer d = test::ToDevice(dense.initial, stream());
          MultiplyWarpgroup({product, columns, operand, swizzled}, a.data(), b.data(), d.data(),
                            stream());
          EXPECT_EQ(test::ToHost<uint32_t>(d, stream()), dense.expected)
              << static_cast<int>(product) << " " << columns << " " << static_cast<int>(operand)
              << " " << swizzled;
        }
      }
    }
  }
}

TEST_F(ConformanceMatrixTest, BulkRing) {
  if (!has_wgmma()) GTEST_SKIP() << "bulk copies are tested on 9.0";
  constexpr int kRounds = 7;
  std::vector<uint32_t> in(256 * kRounds), expected;
  for (uint32_t i = 0; i < in.size(); ++i) {
    in[i] = 3 * i;
    expected.push_back(3 * i + 1);
  }
  const DeviceBuffer device_in = test::ToDevice(in, stream());
  const DeviceBuffer device_out = test::ToDevice(std::vector<uint32_t>(in.size()), stream());
  BulkRing(device_in.as<uint32_t>(), device_out.as<uint32_t>(), kRounds, stream());
  EXPECT_EQ(test::ToHost<uint32_t>(device_out, stream()), expected);
}

TEST_F(ConformanceMatrixTest, Clusters) {
  if (!has_wgmma()) GTEST_SKIP() << "clusters are tested on 9.0";
  const DeviceBuffer out = test::ToDevice(std::vector<uint32_t>(3 * 4 * 32, 0), stream());
  Clusters(out.as<uint32_t>(), stream());
  // 1 + 2 + 3 + 4 in every place, then four times that and twice it.
  EXPECT_EQ(test::ToHost<uint32_t>(out, stream()), std::vector<uint32_t>(3 * 4 * 32, 60));
}

TEST_F(ConformanceMatrixTest, TensorBox) {
  if (!has_wgmma()) GTEST_SKIP() << "tensor copies are tested on 9.0";
  constexpr int kRows = 45, kInputs = 165, kStride = 176;
  std::vector<uint16_t> in(kRows * kStride, 0xFFFF);  // behind the inputs: NaN
  for (int row = 0; row < kRows; ++row) {
    for (int k = 0; k < kInputs; ++k) in[row * kStride + k] = static_cast<uint16_t>(row * 200 + k);
  }
  const DeviceBuffer device_in = test::ToDevice(in, stream());
  // Whole; cut below; cut at the side, and not at 16 bytes; an odd place; nothing there at all.
  for (const auto& [row, input] : std::vector<std::pair<int, int>>{
           {0, 0}, {40, 64}, {8, 128}, {3, 24}, {44, 160}, {48, 0}, {0, 192}}) {
    const DeviceBuffer out = test::ToDevice(std::vector<uint16_t>(kBoxRows * 64, 1), stream());
    LoadTensorBox({kRows, kInputs, kStride, row, input}, device_in.as<uint16_t>(),
                  out.as<uint16_t>(), stream());
    std::vector<uint16_t> expected(kBoxRows * 64, 0);
    for (int r = 0; r < kBoxRows && row + r < kRows; ++r) {
      for (int k = 0; k < 64 && input + k < kInputs; ++k)
        expected[r * 64 + (k ^ r % 8 * 8)] = in[(row + r) * kStride + input + k];
    }
    EXPECT_EQ(test::ToHost<uint16_t>(out, stream()), expected) << row << ", " << input;
  }
}

}  // namespace
}  // namespace octet::conformance
