#include "kernels/embedding/embedding.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

constexpr int64_t kVocab = 50, kHidden = 33;

// The table as bytes of `dtype`; -0 in its first element.
std::vector<std::byte> Table(DType dtype) {
  std::vector<float> values = Normal(kVocab * kHidden, 1);
  values[0] = -0.0f;
  std::vector<std::byte> bytes(values.size() * DTypeBytes(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t narrow = dtype == DType::kF16 ? FloatToF16(values[i]) : FloatToBF16(values[i]);
    const void* source = dtype == DType::kF32 ? static_cast<void*>(&values[i]) : (void*)&narrow;
    std::memcpy(bytes.data() + i * DTypeBytes(dtype), source, DTypeBytes(dtype));
  }
  return bytes;
}

float Element(const std::vector<std::byte>& table, DType dtype, int64_t index) {
  if (dtype == DType::kF32) return reinterpret_cast<const float*>(table.data())[index];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(table.data())[index];
  return dtype == DType::kF16 ? F16ToFloat(bits) : BF16ToFloat(bits);
}

TEST(EmbeddingTest, SumOfShardsHasTheBitsOfTheWhole) {
  const std::vector<int32_t> tokens = {0, 49, 7, 7, 25, 24, 11};
  const auto rows = static_cast<int64_t>(tokens.size());
  for (DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const std::vector<std::byte> table = Table(dtype);
    const auto look_up = [&](int64_t begin, int64_t end, int threads) {
      std::vector<float> out(rows * kHidden, 5.0f);
      ThreadPool pool(threads);
      Stream stream(&pool);
      const std::byte* shard = table.data() + begin * kHidden * DTypeBytes(dtype);
      Embedding({shard, dtype, begin, end, tokens.data(), out.data(), rows, kHidden}, stream);
      return out;
    };
    const std::vector<float> whole = look_up(0, kVocab, 1);
    EXPECT_EQ(whole, look_up(0, kVocab, 2));
    for (int64_t i = 0; i < rows * kHidden; ++i) {
      EXPECT_EQ(whole[i], Element(table, dtype, tokens[i / kHidden] * kHidden + i % kHidden));
    }
    const std::vector<float> a = look_up(0, 25, 1);
    const std::vector<float> none = look_up(25, 25, 1);
    const std::vector<float> b = look_up(25, kVocab, 2);
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(a[i] + none[i] + b[i]), std::bit_cast<uint32_t>(whole[i]));
    }
  }
}

TEST(EmbeddingTest, PositionsAreAddedFromTheirOffsetOn) {
  const std::vector<int32_t> positions = {0, 47, 3, 3};
  const auto rows = static_cast<int64_t>(positions.size());
  const std::vector<float> before = Normal(rows * kHidden, 4);
  for (DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const std::vector<std::byte> table = Table(dtype);
    for (int threads : {1, 2}) {
      ThreadPool pool(threads);
      Stream stream(&pool);
      std::vector<float> x = before;
      AddPositions({.table = table.data(),
                    .dtype = dtype,
                    .table_rows = kVocab,
                    .offset = 2,
                    .positions = positions.data(),
                    .x = x.data(),
                    .rows = rows,
                    .hidden = kHidden},
                   stream);
      for (int64_t i = 0; i < rows * kHidden; ++i) {
        const int64_t row = positions[i / kHidden] + 2;
        EXPECT_EQ(x[i], before[i] + Element(table, dtype, row * kHidden + i % kHidden));
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
