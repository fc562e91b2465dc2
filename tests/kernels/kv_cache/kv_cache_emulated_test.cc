// AppendKv and RopeAppendKv on the device: the cache that the CPU writes, byte for byte.
#include <map>

#include "kernels/kv_cache/kv_cache.h"
#include "tests/kernels/device_array.h"
#include "tests/kernels/kv_cache/kv_cache_cases.h"
#include "tests/kernels/kv_cache/rope_append_cases.h"

namespace octet::kernels::test {
namespace {

RopeAppendState RopeAppendOnDevice(const RopeAppendInputs& inputs) {
  RopeAppendState state(inputs);
  const DeviceArray<float> qkv(state.qkv), cos(inputs.cos), sin(inputs.sin);
  const DeviceArray<float> scales(inputs.scales);
  const DeviceArray<std::byte> cache(state.cache);
  const DeviceArray<int64_t> slots(inputs.slots);
  RopeAppendKvArgs args = state.Args();
  args.cache = cache.data();
  args.qkv = qkv.data();
  args.cos = cos.data();
  args.sin = sin.data();
  args.slots = slots.data();
  const DeviceArray<float> guard(inputs.guard);
  const DeviceArray<uint16_t> static_pairs(inputs.static_pairs);
  if (args.key_guard != nullptr) args.key_guard = guard.data();
  if (args.static_pairs != nullptr) args.static_pairs = static_pairs.data();
  if (args.query_scale != nullptr) args.query_scale = scales.data();
  RopeAppendKv(args, DeviceStream());
  state.qkv = qkv.Read();
  state.cache = cache.Read();
  return state;
}

class KvCacheEmulatedTest : public DeviceTest {
 protected:
  // Every vector is the key and the value of a row, in slots that are not in order.
  static void ExpectCacheOfTheCpu(KvFormat format, const std::vector<std::vector<float>>& vectors,
                                  const std::vector<uint16_t>& static_pairs = {}) {
    std::map<size_t, std::vector<float>> by_size;
    for (const std::vector<float>& vector : vectors) {
      std::vector<float>& rows = by_size[vector.size()];
      rows.insert(rows.end(), vector.begin(), vector.end());
    }
    for (const auto& [size, values] : by_size) {
      const auto dim = static_cast<int64_t>(size);
      const int64_t rows = static_cast<int64_t>(values.size()) / dim;
      const KvLayout layout{format, 1, dim};
      std::vector<int64_t> slots;
      for (int64_t row = 0; row < rows; ++row) slots.push_back((row * 37 + 11) % 128);
      std::vector<std::byte> cache(static_cast<size_t>(2 * layout.block_bytes()), kUnwritten);
      const DeviceArray<std::byte> device_cache(cache);
      const DeviceArray<float> device_values(values);
      const DeviceArray<int64_t> device_slots(slots);

      ThreadPool pool(1);
      Stream cpu(&pool);
      const DeviceArray<uint16_t> device_pairs(static_pairs);
      const bool is_static = !static_pairs.empty();
      AppendKv({layout, cache.data(), values.data(), values.data(), dim, rows, slots.data(),
                is_static ? static_pairs.data() : nullptr},
               cpu);
      AppendKv({layout, device_cache.data(), device_values.data(), device_values.data(), dim, rows,
                device_slots.data(), is_static ? device_pairs.data() : nullptr},
               DeviceStream());
      EXPECT_EQ(device_cache.Read(), cache) << "vectors of " << dim;
    }
  }
};

TEST_F(KvCacheEmulatedTest, Int8) {
  ExpectCacheOfTheCpu(KvFormat::kInt8, Vectors());
  ExpectCacheOfTheCpu(KvFormat::kInt8, PoisonedVectors(40));
  ExpectCacheOfTheCpu(KvFormat::kInt8, {{90000.0f, 80000.0f, 70000.0f}, {3e38f, -3e38f, 0.0f}});
}

TEST_F(KvCacheEmulatedTest, StaticInt8) {
  const std::vector<StaticPair> pairs = StaticPairs();
  for (size_t i = 0; i < pairs.size(); ++i) {  // another one for the value
    const StaticPair& v = pairs[(i + 1) % pairs.size()];
    const std::vector<uint16_t> both = {pairs[i][0], pairs[i][1], v[0], v[1]};
    ExpectCacheOfTheCpu(KvFormat::kInt8, Vectors(), both);
    ExpectCacheOfTheCpu(KvFormat::kInt8, PoisonedVectors(40), both);
  }
}

TEST_F(KvCacheEmulatedTest, Int4) {
  ExpectCacheOfTheCpu(KvFormat::kInt4, Int4Vectors());
  ExpectCacheOfTheCpu(KvFormat::kInt4, PoisonedVectors(80));
  std::vector<float> huge(16, -3e38f);
  huge[5] = 3e38f;
  ExpectCacheOfTheCpu(KvFormat::kInt4, {huge, std::vector<float>(16, 90000.0f)});
}

TEST_F(KvCacheEmulatedTest, BF16) { ExpectCacheOfTheCpu(KvFormat::kBF16, Vectors()); }

TEST_F(KvCacheEmulatedTest, RopeAppendHasTheBitsOfTheCpu) {
  for (const RopeAppendCase& test : RopeAppendCases()) {
    const RopeAppendInputs inputs(test);
    EXPECT_TRUE(RopeAppendOnDevice(inputs) == RopeThenAppend(inputs)) << test.Name();
  }
}

// A row's queries and its part of the cache do not depend on the rows beside it.
TEST_F(KvCacheEmulatedTest, ARowStandsAlone) {
  const RopeAppendInputs all({KvFormat::kInt4, 3, 2, 96, 96, 5});
  RopeAppendInputs last({KvFormat::kInt4, 3, 2, 96, 96, 1});
  last.qkv.assign(all.qkv.end() - last.shape.stride(), all.qkv.end());
  last.cos.assign(all.cos.end() - 48, all.cos.end());
  last.sin.assign(all.sin.end() - 48, all.sin.end());
  last.slots = {all.slots.back()};
  const RopeAppendState of_all = RopeAppendOnDevice(all);
  const RopeAppendState of_last = RopeAppendOnDevice(last);
  const std::vector<float> queries = of_all.Queries();
  EXPECT_TRUE(SameBits({queries.end() - 3 * 96, queries.end()}, of_last.Queries()));
  for (size_t i = 0; i < of_last.cache.size(); ++i) {
    if (of_last.cache[i] == kUnwritten) continue;
    EXPECT_EQ(of_last.cache[i], of_all.cache[i]) << i;
  }
}

}  // namespace
}  // namespace octet::kernels::test
