#include "kernels/kv_cache/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/dtype.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {
namespace {

struct Vector {
  std::vector<int8_t> codes;
  uint16_t scale = 0;
  uint16_t zero = 0;
  bool operator==(const Vector&) const = default;
};

Vector Scalar(const std::vector<float>& values) {
  Vector v;
  v.codes.resize(values.size());
  QuantizeKvVector(values.data(), static_cast<int64_t>(values.size()), v.codes.data(), &v.scale,
                   &v.zero);
  return v;
}

// The same through AppendKv: one row, one head, slot 64 * 1 + 5.
Vector Appended(const std::vector<float>& values, Isa isa) {
  IsaScope scope(isa);
  const auto dim = static_cast<int64_t>(values.size());
  const KvLayout layout{KvFormat::kInt8, 1, dim};
  Buffer cache(2 * layout.block_bytes());
  const int64_t slot = kKvBlockTokens + 5;
  ThreadPool pool(1);
  Stream stream(&pool);
  AppendKv({layout, cache.data(), values.data(), values.data(), dim, 1, &slot}, stream);
  const std::byte* block = cache.data() + layout.block_bytes();
  Vector v;
  v.codes.resize(values.size());
  std::memcpy(v.codes.data(), block + layout.v_data(0) + 5 * dim, values.size());
  std::memcpy(&v.scale, block + layout.v_scale(0) + 20, 2);
  std::memcpy(&v.zero, block + layout.v_scale(0) + 22, 2);
  EXPECT_EQ(0, std::memcmp(block + layout.k_data(0) + 5 * dim, v.codes.data(), values.size()));
  return v;
}

std::vector<std::vector<float>> Vectors() {
  std::vector<std::vector<float>> all;
  uint32_t seed = 0;
  for (int64_t dim : {1, 6, 16, 40, 64, 80, 96, 128}) {
    for (float mean : {0.0f, 3.0f, -100.0f, 2000.0f}) {
      for (float deviation : {1e-6f, 1e-3f, 1.0f, 50.0f}) {
        all.push_back(Normal(dim, ++seed, mean, deviation));
      }
    }
  }
  all.push_back(std::vector<float>(64, 0.0f));
  all.push_back(std::vector<float>(64, -0.0f));
  all.push_back(std::vector<float>(64, 7.125f));
  all.back()[3] = 7.0f;
  all.push_back({0.0f, -0.0f, 0.0f, -0.0f});
  all.push_back({1e-30f, -1e-30f, 3e-39f});
  return all;
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
      EXPECT_EQ(Scalar(values), Appended(values, isa)) << IsaName(isa) << " " << values.size();
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

TEST(KvCacheTest, HugeValuesSaturate) {
  const Vector v = Scalar({90000.0f, 80000.0f, 70000.0f});
  EXPECT_EQ(F16ToFloat(v.zero), 65504.0f);
  EXPECT_NEAR(F16ToFloat(v.scale) * v.codes[0] + F16ToFloat(v.zero), 90000.0f, 100.0f);
  const Vector w = Scalar({3e38f, -3e38f});
  EXPECT_EQ(w.codes, (std::vector<int8_t>{127, -128}));
}

TEST(KvCacheTest, RowsGoToTheirSlots) {
  for (KvFormat format : {KvFormat::kInt8, KvFormat::kBF16}) {
    const int64_t heads = 3, dim = 24, rows = 50, stride = heads * dim + 5;
    const KvLayout layout{format, heads, dim};
    const std::vector<float> k = Normal(rows * stride, 1);
    const std::vector<float> v = Normal(rows * stride, 2);
    std::vector<int64_t> slots;
    for (int64_t r = 0; r < rows; ++r) slots.push_back((r * 37 + 11) % 192);
    std::vector<std::vector<std::byte>> images;
    for (int threads : {1, 2}) {
      Buffer cache(3 * layout.block_bytes());
      ThreadPool pool(threads);
      Stream stream(&pool);
      AppendKv({layout, cache.data(), k.data(), v.data(), stride, rows, slots.data()}, stream);
      images.emplace_back(cache.data(), cache.data() + cache.bytes());
    }
    EXPECT_EQ(images[0], images[1]);
    for (int64_t r = 0; r < rows; ++r) {
      const std::byte* block = images[0].data() + slots[r] / 64 * layout.block_bytes();
      const int64_t token = slots[r] % 64;
      for (int64_t h = 0; h < heads; ++h) {
        const std::byte* data = block + layout.v_data(h);
        const auto* pair = reinterpret_cast<const uint16_t*>(block + layout.v_scale(h)) + 2 * token;
        for (int64_t d = 0; d < dim; ++d) {
          const float expected = v[r * stride + h * dim + d];
          if (format == KvFormat::kBF16) {
            EXPECT_EQ(reinterpret_cast<const uint16_t*>(data)[token * dim + d],
                      FloatToBF16(expected));
          } else {
            const float got =
                F16ToFloat(pair[0]) * reinterpret_cast<const int8_t*>(data)[token * dim + d] +
                F16ToFloat(pair[1]);
            EXPECT_NEAR(got, expected, 0.51 * F16ToFloat(pair[0]) + 1e-6);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels::test
