#include "kernels/kv_cache/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/dtype.h"
#include "tests/kernels/kv_cache/kv_cache_cases.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

// The same through AppendKv: one row, one head, slot 64 * 1 + 5. `given`: static scales, or null.
Vector Appended(const std::vector<float>& values, Isa isa, const StaticPair* given = nullptr,
                KvOrder order = KvOrder::kRows) {
  IsaScope scope(isa);
  const auto dim = static_cast<int64_t>(values.size());
  const KvLayout layout{KvFormat::kInt8, 1, dim, order};
  Buffer cache(2 * layout.block_bytes());
  const int64_t slot = kKvBlockTokens + 5;
  ThreadPool pool(1);
  Stream stream(&pool);
  AppendKvArgs args{layout, cache.data(), values.data(), values.data(), dim, 1, &slot};
  uint16_t pairs[4];  // of key and value
  if (given != nullptr) {
    std::copy(given->begin(), given->end(), pairs);
    std::copy(given->begin(), given->end(), pairs + 2);
    args.static_pairs = pairs;
  }
  AppendKv(args, stream);
  const std::byte* block = cache.data() + layout.block_bytes();
  Vector v;
  v.codes.resize(values.size());
  for (int64_t c = 0; c < dim; ++c) {
    v.codes[c] = CodeAt(layout, false, block + layout.v_data(0), 5, c);
    EXPECT_EQ(CodeAt(layout, true, block + layout.k_data(0), 5, c), v.codes[c]) << c;
  }
  std::memcpy(&v.scale, block + layout.v_scale(0) + 20, 2);
  std::memcpy(&v.zero, block + layout.v_scale(0) + 22, 2);
  return v;
}

// The same through AppendKv: one row, one head, slot 64 * 1 + 5, as a key and as a value.
Int4Vector Int4Appended(const std::vector<float>& values, Isa isa) {
  IsaScope scope(isa);
  const auto dim = static_cast<int64_t>(values.size());
  const KvLayout layout{KvFormat::kInt4, 1, dim};
  Buffer cache(2 * layout.block_bytes());
  const int64_t slot = kKvBlockTokens + 5;
  ThreadPool pool(1);
  Stream stream(&pool);
  AppendKv({layout, cache.data(), values.data(), values.data(), dim, 1, &slot}, stream);
  const std::byte* block = cache.data() + layout.block_bytes();
  const auto read = [&](int64_t data, int64_t scales) {
    Int4Vector v(values.size());
    const auto pair_bytes = static_cast<int64_t>(v.pairs.size()) * 2;
    std::memcpy(v.codes.data(), block + data + 5 * dim / 2, v.codes.size());
    std::memcpy(v.pairs.data(), block + scales + 5 * pair_bytes, static_cast<size_t>(pair_bytes));
    return v;
  };
  const Int4Vector key = read(layout.k_data(0), layout.k_scale(0));
  EXPECT_EQ(key, read(layout.v_data(0), layout.v_scale(0)));
  return key;
}

TEST(KvCacheTest, Int4StepIsHalvedAtWorst) {
  for (const std::vector<float>& values : Int4Vectors()) {
    const Int4Vector v = Int4Scalar(values);
    std::vector<float> back(values.size());
    DequantizeKvVectorInt4(v.codes.data(), v.pairs.data(), static_cast<int64_t>(values.size()),
                           back.data());
    for (size_t begin = 0; begin < values.size(); begin += 32) {
      const size_t end = std::min(begin + 32, values.size());
      const auto [min, max] = std::minmax_element(values.begin() + begin, values.begin() + end);
      const double scale = F16ToFloat(v.pairs[begin / 32 * 2]);
      const double zero = F16ToFloat(v.pairs[begin / 32 * 2 + 1]);
      // The zero: at most min, and above the next f16 below it. The scale: covers the rest,
      // narrowed upward by at most 2^-10 of itself or the least subnormal.
      EXPECT_LE(zero, *min);
      EXPECT_GE(zero, *min - std::abs(*min) * 0x1p-10 - 0x1p-24);
      EXPECT_GE(scale * 15 * (1 + 0x1p-22), *max - zero);
      EXPECT_LE(scale, (*max - zero) / 15 * (1 + 0x1p-10) + 0x1p-23);
      for (size_t i = begin; i < end; ++i) {
        // Half a step, the roundings of f - zero and of the quotient (2^-22 of 15 steps), and those
        // of product and sum on the way back.
        const double rounding = 15 * scale * 0x1p-22 + (15 * scale + std::abs(zero)) * 0x1p-23;
        EXPECT_LE(std::abs(double{back[i]} - values[i]), 0.5 * scale + rounding) << values[i];
      }
    }
  }
}

TEST(KvCacheTest, Int4LanesHaveTheBitsOfTheScalarDefinition) {
  for (Isa isa : AvailableIsas()) {
    for (const std::vector<float>& values : Int4Vectors()) {
      EXPECT_EQ(Int4Scalar(values), Int4Appended(values, isa))
          << IsaName(isa) << " " << values.size();
    }
    for (float bad :
         {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
          std::numeric_limits<float>::quiet_NaN()}) {
      for (size_t at : {0, 17, 39, 79}) {
        std::vector<float> values = Normal(80, 3);
        values[at] = bad;
        const Int4Vector v = Int4Scalar(values);
        for (size_t group = 0; group < 3; ++group) {
          EXPECT_EQ(std::isnan(F16ToFloat(v.pairs[2 * group])), group == at / 32);
          EXPECT_EQ(std::isnan(F16ToFloat(v.pairs[2 * group + 1])), group == at / 32);
        }
        EXPECT_EQ(v, Int4Appended(values, isa)) << IsaName(isa);
      }
    }
    for (const float huge : {90000.0f, 3e38f}) {
      std::vector<float> values(16, -huge);
      values[5] = huge;
      EXPECT_EQ(Int4Scalar(values), Int4Appended(values, isa)) << IsaName(isa);
    }
  }
}

TEST(KvCacheTest, StepIsHalvedAtWorst) {
  for (const std::vector<float>& values : Vectors()) {
    const Vector v = Scalar(values);
    const float scale = F16ToFloat(v.scale);
    const float zero = F16ToFloat(v.zero);
    const auto [min, max] = std::minmax_element(values.begin(), values.end());
    // Half a step, and the rounding of f - zero and of the product.
    const double bound = 0.5 * scale * (1 + 1e-4) + 1e-6 * std::abs(*max - *min);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_LE(std::abs(double{scale} * v.codes[i] + zero - values[i]), bound);
    }
    // An exact zero gives the contract's scale, narrowed upward.
    if (double{zero} == (double{*min} + *max) / 2) {
      EXPECT_GE(scale, (*max - *min) / 255);
      EXPECT_LE(scale, (*max - *min) / 255 * (1 + 0x1p-10) + 0x1p-24);
    }
  }
}

TEST(KvCacheTest, LanesHaveTheBitsOfTheScalarDefinition) {
  for (Isa isa : AvailableIsas()) {
    for (const std::vector<float>& values : Vectors()) {
      for (KvOrder order : {KvOrder::kRows, KvOrder::kFours}) {
        EXPECT_EQ(Scalar(values), Appended(values, isa, nullptr, order))
            << IsaName(isa) << " " << values.size();
      }
    }
  }
}

TEST(KvCacheTest, WhatIsNotFiniteIsPoison) {
  for (float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                    std::numeric_limits<float>::quiet_NaN()}) {
    for (size_t at : {0, 17, 39}) {
      std::vector<float> values = Normal(40, 3);
      values[at] = bad;
      const Vector v = Scalar(values);
      EXPECT_TRUE(std::isnan(F16ToFloat(v.scale)) && std::isnan(F16ToFloat(v.zero)));
      EXPECT_EQ(v.codes, std::vector<int8_t>(40, 0));
      for (Isa isa : AvailableIsas()) EXPECT_EQ(v, Appended(values, isa));
    }
  }
}

TEST(KvCacheTest, StaticScalesAreTakenAsTheyAre) {
  for (const StaticPair& given : StaticPairs()) {
    const double scale = F16ToFloat(given[0]);
    const double zero = F16ToFloat(given[1]);
    for (const std::vector<float>& values : Vectors()) {
      const Vector v = Scalar(values, given);
      EXPECT_EQ(v.scale, given[0]);
      EXPECT_EQ(v.zero, given[1]);
      for (size_t i = 0; i < values.size(); ++i) {
        // The nearest of the codes that there are; f32 rounds the difference and the quotient.
        const double exact = std::clamp((values[i] - zero) / scale, -128.0, 127.0);
        EXPECT_LE(std::abs(v.codes[i] - exact), 0.5 + 1e-4) << values[i];
      }
      for (Isa isa : AvailableIsas()) EXPECT_EQ(v, Appended(values, isa, &given)) << IsaName(isa);
    }
    for (const std::vector<float>& values : PoisonedVectors(40)) {
      const Vector v = Scalar(values, given);
      EXPECT_TRUE(std::isnan(F16ToFloat(v.scale)) && std::isnan(F16ToFloat(v.zero)));
      for (Isa isa : AvailableIsas()) EXPECT_EQ(v, Appended(values, isa, &given)) << IsaName(isa);
    }
  }
}

TEST(KvCacheTest, HugeValuesSaturate) {
  const Vector v = Scalar({90000.0f, 80000.0f, 70000.0f});
  EXPECT_EQ(F16ToFloat(v.zero), 65504.0f);
  EXPECT_NEAR(F16ToFloat(v.scale) * v.codes[0] + F16ToFloat(v.zero), 90000.0f, 100.0f);
  const Vector w = Scalar({3e38f, -3e38f});
  EXPECT_EQ(w.codes, (std::vector<int8_t>{127, -128}));
}

struct Placed {
  KvFormat format;
  KvOrder order;
  int64_t head_dim;
};

TEST(KvCacheTest, RowsGoToTheirSlots) {
  for (const auto& [format, order, dim] : {Placed{KvFormat::kInt8, KvOrder::kRows, 24},
                                           {KvFormat::kInt8, KvOrder::kFours, 24},
                                           {KvFormat::kInt8, KvOrder::kFours, 30},
                                           {KvFormat::kBF16, KvOrder::kRows, 24},
                                           {KvFormat::kInt4, KvOrder::kRows, 48}}) {
    const int64_t heads = 3, rows = 50, stride = heads * dim + 5;
    const KvLayout layout{format, heads, dim, order};
    const std::vector<float> k = Normal(rows * stride, 1);
    const std::vector<float> v = Normal(rows * stride, 2);
    std::vector<int64_t> slots;
    for (int64_t r = 0; r < rows; ++r) slots.push_back((r * 37 + 11) % 192);
    const int64_t padding = 7;  // a row that goes nowhere
    slots[padding] = -1;
    std::vector<std::vector<std::byte>> images;
    for (int threads : {1, 2}) {
      Buffer cache(4 * layout.block_bytes());  // the first lies before slot 0
      ThreadPool pool(threads);
      Stream stream(&pool);
      std::byte* first = cache.data() + layout.block_bytes();
      AppendKv({layout, first, k.data(), v.data(), stride, rows, slots.data()}, stream);
      images.emplace_back(cache.data(), cache.data() + cache.bytes());
    }
    EXPECT_EQ(images[0], images[1]);
    const auto before = images[0].begin() + layout.block_bytes();
    EXPECT_TRUE(
        std::all_of(images[0].begin(), before, [](auto byte) { return byte == std::byte{}; }));
    for (int64_t r = 0; r < rows; ++r) {
      if (r == padding) continue;
      const std::byte* block = images[0].data() + (1 + slots[r] / 64) * layout.block_bytes();
      const int64_t token = slots[r] % 64;
      for (int64_t h = 0; h < heads; ++h) {
        const std::byte* data = block + layout.v_data(h);
        const auto* pair = reinterpret_cast<const uint16_t*>(block + layout.v_scale(h)) + 2 * token;
        if (format == KvFormat::kInt4) {
          const auto* pairs = reinterpret_cast<const uint16_t*>(block + layout.v_scale(h));
          const std::vector<float> own(v.begin() + r * stride + h * dim,
                                       v.begin() + r * stride + (h + 1) * dim);
          const Int4Vector scalar = Int4Scalar(own);
          EXPECT_EQ(0, std::memcmp(data + token * dim / 2, scalar.codes.data(), dim / 2));
          EXPECT_EQ(0, std::memcmp(pairs + token * 4, scalar.pairs.data(), 8));
          continue;
        }
        for (int64_t d = 0; d < dim; ++d) {
          const float expected = v[r * stride + h * dim + d];
          if (format == KvFormat::kBF16) {
            EXPECT_EQ(reinterpret_cast<const uint16_t*>(data)[token * dim + d],
                      FloatToBF16(expected));
          } else {
            const auto near = [&](const uint16_t* step, bool is_key, const std::byte* codes,
                                  float value) {
              const float scale = F16ToFloat(step[0]);
              EXPECT_NEAR(scale * CodeAt(layout, is_key, codes, token, d) + F16ToFloat(step[1]),
                          value, 0.51 * scale + 1e-6);
            };
            near(pair, false, data, expected);
            near(reinterpret_cast<const uint16_t*>(block + layout.k_scale(h)) + 2 * token, true,
                 block + layout.k_data(h), k[r * stride + h * dim + d]);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
