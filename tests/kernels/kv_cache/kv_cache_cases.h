// Vectors to quantize, and the scalar definitions of kernels/formats/kv_layout.h as tests compare
// them.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "kernels/formats/kv_layout.h"
#include "tests/kernels/random.h"

namespace octet::kernels::test {

struct Vector {
  std::vector<int8_t> codes;
  uint16_t scale = 0;
  uint16_t zero = 0;
  bool operator==(const Vector&) const = default;
};

inline Vector Scalar(const std::vector<float>& values) {
  Vector v;
  v.codes.resize(values.size());
  QuantizeKvVector(values.data(), static_cast<int64_t>(values.size()), v.codes.data(), &v.scale,
                   &v.zero);
  return v;
}

// A pair of static scales: scale and zero as f16 bits.
using StaticPair = std::array<uint16_t, 2>;

inline Vector Scalar(const std::vector<float>& values, const StaticPair& given) {
  Vector v;
  v.codes.resize(values.size());
  StaticPair pair;
  QuantizeKvVectorStatic(values.data(), static_cast<int64_t>(values.size()), given.data(),
                         v.codes.data(), pair.data());
  v.scale = pair[0];
  v.zero = pair[1];
  return v;
}

// Symmetric and not, fine and coarse: some clip most vectors.
inline std::vector<StaticPair> StaticPairs() {
  return {{FloatToF16(1.0f), 0},
          {FloatToF16(0.037f), FloatToF16(-3.7f)},
          {FloatToF16(17.0f), FloatToF16(2000.0f)},
          {0x0001, 0x8001}};
}

// A code of an int8 cache: `data` is a head's keys or values in a block.
inline int8_t CodeAt(const KvLayout& layout, bool is_key, const std::byte* data, int64_t token,
                     int64_t c) {
  if (layout.order == KvOrder::kRows) return static_cast<int8_t>(data[token * layout.head_dim + c]);
  if (is_key)
    return static_cast<int8_t>(static_cast<int>(data[c / 4 * 256 + token * 4 + c % 4]) - 128);
  return static_cast<int8_t>(data[(token / 4 * layout.head_dim + c) * 4 + token % 4]);
}

struct Int4Vector {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> pairs;  // [groups, 2]
  bool operator==(const Int4Vector&) const = default;

  explicit Int4Vector(size_t dim) : codes(dim / 2), pairs((dim + 31) / 32 * 2) {}
};

inline Int4Vector Int4Scalar(const std::vector<float>& values) {
  Int4Vector v(values.size());
  QuantizeKvVectorInt4(values.data(), static_cast<int64_t>(values.size()), v.codes.data(),
                       v.pairs.data());
  return v;
}

inline std::vector<std::vector<float>> Vectors() {
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
  // Scales that an f16 has exactly: a quotient that is rounded otherwise is narrowed otherwise.
  for (int i = 1; i < 40; ++i) {
    const float scale = F16ToFloat(static_cast<uint16_t>(0x3000 + 37 * i));
    all.push_back(std::vector<float>(16, 0.0f));
    all.back()[i % 16] = 127.5f * scale;
    all.back()[(i + 5) % 16] = -127.5f * scale;
    all.push_back(std::vector<float>(16, 0.0f));
    all.back()[i % 16] = 15.0f * scale;
  }
  all.push_back({0.0f, -0.0f, 0.0f, -0.0f});
  all.push_back({1e-30f, -1e-30f, 3e-39f});
  return all;
}

inline std::vector<std::vector<float>> Int4Vectors() {
  std::vector<std::vector<float>> all;
  for (std::vector<float>& values : Vectors()) {
    if (values.size() % 16 == 0) all.push_back(std::move(values));
  }
  for (int64_t dim : {16, 32, 48, 96, 112, 256}) {
    all.push_back(Normal(dim, static_cast<uint32_t>(dim)));
    all.back()[3] = 80.0f;  // an outlier spoils its own group alone
  }
  std::vector<float> zeros(48, 0.0f);  // of both signs, in any order
  for (size_t i = 0; i < zeros.size(); i += 1 + i % 5) zeros[i] = -0.0f;
  all.push_back(zeros);
  return all;
}

// `dim` values, one of which is not finite, for every kind of that and a few places.
inline std::vector<std::vector<float>> PoisonedVectors(int64_t dim) {
  std::vector<std::vector<float>> all;
  for (float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                    std::numeric_limits<float>::quiet_NaN()}) {
    for (int64_t at : {int64_t{0}, int64_t{17}, dim / 2, dim - 1}) {
      all.push_back(Normal(dim, 3));
      all.back()[at] = bad;
    }
  }
  return all;
}

}  // namespace octet::kernels::test
