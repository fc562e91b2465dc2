// Embedding on the device: the bits of the CPU.
#include "kernels/embedding/embedding.h"

#include <cstring>

#include "tests/kernels/device_array.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

class EmbeddingEmulatedTest : public DeviceTest {};

TEST_F(EmbeddingEmulatedTest, HasTheBitsOfTheCpu) {
  constexpr int64_t kVocab = 20;
  const std::vector<int32_t> tokens = {0, 19, 7, 7, 12, 5, -1};  // 5 to 11 are held
  const auto rows = static_cast<int64_t>(tokens.size());
  const DeviceArray<int32_t> device_tokens(tokens);
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (int64_t hidden : {1, 24, 33, 1000, 2052}) {
      std::vector<float> values = Normal(kVocab * hidden, 1);
      values[0] = -0.0f;
      std::vector<std::byte> table(values.size() * DTypeBytes(dtype));
      for (size_t i = 0; i < values.size(); ++i) {
        const uint16_t half = dtype == DType::kF16 ? FloatToF16(values[i]) : FloatToBF16(values[i]);
        const void* from = dtype == DType::kF32 ? static_cast<const void*>(&values[i]) : &half;
        std::memcpy(table.data() + i * DTypeBytes(dtype), from, DTypeBytes(dtype));
      }
      for (const int64_t end : {kVocab, int64_t{12}}) {
        const int64_t begin = end == kVocab ? 0 : 5;
        const std::vector<std::byte> shard(table.begin() + begin * hidden * DTypeBytes(dtype),
                                           table.begin() + end * hidden * DTypeBytes(dtype));
        std::vector<float> expected(static_cast<size_t>(rows * hidden));
        ThreadPool pool(1);
        Stream cpu(&pool);
        Embedding({shard.data(), dtype, begin, end, tokens.data(), expected.data(), rows, hidden},
                  cpu);
        const DeviceArray<std::byte> device_table(shard);
        const DeviceArray<float> out(rows * hidden);
        Embedding({device_table.data(), dtype, begin, end, device_tokens.data(), out.data(), rows,
                   hidden},
                  DeviceStream());
        EXPECT_TRUE(SameBits(out.Read(), expected)) << hidden << " of " << DTypeName(dtype);
      }
    }
  }
}

// A rank may hold no row of the vocabulary.
TEST_F(EmbeddingEmulatedTest, NothingIsHeld) {
  const DeviceArray<int32_t> tokens(std::vector<int32_t>{0, 3});
  const DeviceArray<float> out(2 * 24);
  Embedding({nullptr, DType::kBF16, 4, 4, tokens.data(), out.data(), 2, 24}, DeviceStream());
  EXPECT_TRUE(SameBits(out.Read(), std::vector<float>(48, 0.0f)));
}

TEST_F(EmbeddingEmulatedTest, AddedPositionsHaveTheBitsOfTheCpu) {
  const std::vector<int32_t> positions = {0, 17, 4};
  const auto rows = static_cast<int64_t>(positions.size());
  const DeviceArray<int32_t> device_positions(positions);
  for (int64_t hidden : {1, 24, 33, 1000, 2052}) {
    std::vector<float> x = Normal(rows * hidden, 5);
    std::vector<std::byte> table(static_cast<size_t>(20 * hidden * 2));
    for (int64_t i = 0; i < 20 * hidden; ++i) {
      const uint16_t half = FloatToF16(0.01f * static_cast<float>(i % 777));
      std::memcpy(table.data() + 2 * i, &half, 2);
    }
    const DeviceArray<float> device_x(x);
    const DeviceArray<std::byte> device_table(table);
    AddPositionsArgs args{.dtype = DType::kF16, .table_rows = 20, .offset = 2, .rows = rows};
    args.hidden = hidden;
    args.table = device_table.data();
    args.positions = device_positions.data();
    args.x = device_x.data();
    AddPositions(args, DeviceStream());
    args.table = table.data();
    args.positions = positions.data();
    args.x = x.data();
    ThreadPool pool(1);
    Stream cpu(&pool);
    AddPositions(args, cpu);
    EXPECT_TRUE(SameBits(device_x.Read(), x)) << hidden;
  }
}

}  // namespace
}  // namespace octet::kernels::test
