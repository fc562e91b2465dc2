#include "worker/weights/round_to_nearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "base/dtype.h"

namespace octet::worker {
namespace {

using kernels::LinearShape;
using kernels::WeightFormat;

LinearShape Shape(WeightFormat format, int64_t group, int64_t begin, int64_t end) {
  return {.format = format,
          .outputs = 1,
          .inputs = end - begin,
          .input_begin = begin,
          .group = group,
          .leaf_bounds = {0, end - begin},
          .merges = {0}};
}

struct Row {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
};

// Quantizes columns [begin, end) of `values`, as a shard would.
Row Quantize(WeightFormat format, int64_t group, const std::vector<float>& values, int64_t begin,
             int64_t end) {
  const LinearShape shape = Shape(format, group, begin, end);
  const auto inputs = static_cast<int64_t>(values.size());
  Row row = {std::vector<uint8_t>(end - begin), std::vector<float>(shape.group_count())};
  const ColumnSpan span = SourceColumns(shape, inputs);
  EXPECT_TRUE(
      QuantizeRow(shape, inputs, values.data() + span.begin, row.codes.data(), row.scales.data()));
  return row;
}
Row Quantize(WeightFormat format, int64_t group, const std::vector<float>& values) {
  return Quantize(format, group, values, 0, static_cast<int64_t>(values.size()));
}

std::vector<float> Gaussian(int64_t count, uint32_t seed, float deviation = 0.02f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

float Back(WeightFormat format, const Row& row, int64_t group, int64_t i) {
  const int half = format == WeightFormat::kInt4 ? 8 : 128;
  return row.scales[i / group] * static_cast<float>(row.codes[i] - half);
}

double SquaredErrorOf(WeightFormat format, const Row& row, int64_t group,
                      const std::vector<float>& values) {
  double sum = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double error = values[i] - Back(format, row, group, static_cast<int64_t>(i));
    sum += error * error;
  }
  return sum;
}

TEST(SourceColumns, AreTheShardsGroups) {
  const ColumnSpan cut = SourceColumns(Shape(WeightFormat::kInt4, 32, 24, 72), 100);
  EXPECT_EQ(cut.begin, 0);
  EXPECT_EQ(cut.end, 96);
  const ColumnSpan last = SourceColumns(Shape(WeightFormat::kInt8, 32, 72, 100), 100);
  EXPECT_EQ(last.begin, 64);
  EXPECT_EQ(last.end, 100);
  const ColumnSpan exact = SourceColumns(Shape(WeightFormat::kBF16, 32, 24, 72), 100);
  EXPECT_EQ(exact.begin, 24);
  EXPECT_EQ(exact.end, 72);
}

TEST(QuantizeRow, ScalesAreF16AndErrorsWithinHalfAScale) {
  for (const float deviation : {1e-8f, 1e-6f, 1e-5f, 1e-3f, 0.02f, 1.0f, 300.0f}) {
    const std::vector<float> values = Gaussian(1000, 5, deviation);
    const Row row = Quantize(WeightFormat::kInt8, 128, values);
    for (const float scale : row.scales) EXPECT_EQ(scale, F16ToFloat(FloatToF16(scale)));
    for (size_t i = 0; i < values.size(); ++i) {
      // f16 narrows the scale by at most 2^-11, which 127 steps of it add up to 0.062.
      EXPECT_LE(std::fabs(values[i] - Back(WeightFormat::kInt8, row, 128, i)),
                0.57f * row.scales[i / 128])
          << deviation;
    }
  }
}

// Any shard of a row has the codes and the scales of the whole row, wherever it is cut.
TEST(QuantizeRow, ShardsAreCutsOfTheWhole) {
  std::mt19937 random(11);
  for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    for (const int64_t group : {32, 64, 128}) {
      const std::vector<float> values = Gaussian(1000, random());
      const Row whole = Quantize(format, group, values);
      for (int i = 0; i < 50; ++i) {
        const int64_t begin = random() % 999;
        const int64_t end = begin + 1 + random() % (1000 - begin);
        const Row part = Quantize(format, group, values, begin, end);
        EXPECT_TRUE(std::equal(part.codes.begin(), part.codes.end(), whole.codes.begin() + begin));
        EXPECT_TRUE(std::equal(part.scales.begin(), part.scales.end(),
                               whole.scales.begin() + begin / group));
      }
    }
  }
}

// Packed files and streams of tokens hang on these bits.
TEST(QuantizeRow, BitsAreThoseOfEveryBuild) {
  std::vector<float> values(1001);
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    const float uniform = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
    value = uniform * uniform * uniform;
  }
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  const auto add = [&hash](uint64_t bits) { hash = (hash ^ bits) * 0x100000001b3u; };
  for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    const Row row = Quantize(format, 128, values);
    for (const uint8_t code : row.codes) add(code);
    for (const float scale : row.scales) add(std::bit_cast<uint32_t>(scale));
  }
  EXPECT_EQ(hash, 17827695305996780165u);
}

TEST(QuantizeRow, Int4KeepsWhatItCanHoldExactly) {
  for (const float scale : {0.03125f, -0.03125f}) {
    std::vector<float> values;
    for (int code = -8; code < 8; ++code) values.push_back(scale * static_cast<float>(code));
    const Row row = Quantize(WeightFormat::kInt4, 32, values);
    EXPECT_EQ(row.scales[0], scale);
    for (int i = 0; i < 16; ++i) EXPECT_EQ(row.codes[i], i);
  }
}

TEST(QuantizeRow, Int4IsNoWorseThanAbsmaxAndUsuallyBetter) {
  const std::vector<float> values = Gaussian(128 * 200, 3);
  const Row best = Quantize(WeightFormat::kInt4, 128, values);
  Row plain = best;
  for (int64_t group = 0; group < 200; ++group) {
    const float* of = values.data() + group * 128;
    const float absmax = std::fabs(*std::max_element(
        of, of + 128, [](float a, float b) { return std::fabs(a) < std::fabs(b); }));
    plain.scales[group] = F16ToFloat(FloatToF16(absmax / 7.0f));
    for (int64_t i = 0; i < 128; ++i) {
      const float code = std::nearbyint(of[i] / plain.scales[group]);
      plain.codes[group * 128 + i] = static_cast<uint8_t>(std::clamp(code, -8.0f, 7.0f) + 8.0f);
    }
  }
  const double ratio = SquaredErrorOf(WeightFormat::kInt4, best, 128, values) /
                       SquaredErrorOf(WeightFormat::kInt4, plain, 128, values);
  RecordProperty("squared_error_to_absmax", std::to_string(ratio));
  EXPECT_LT(ratio, 0.85);
}

TEST(QuantizeRow, ZerosAndTinyValuesStayExactOrWithinTheLeastScale) {
  for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    const Row zeros = Quantize(format, 32, std::vector<float>(40, 0.0f));
    for (const uint8_t code : zeros.codes) {
      EXPECT_EQ(code, format == WeightFormat::kInt4 ? 8 : 128);
    }
    const std::vector<float> tiny = {1e-40f, -1e-9f, 1e-8f, 3e-8f, -7e-8f};
    const Row row = Quantize(format, 32, tiny);
    for (size_t i = 0; i < tiny.size(); ++i) {
      EXPECT_LE(std::fabs(tiny[i] - Back(format, row, 32, i)), 0x1p-25f);
    }
  }
}

TEST(QuantizeRow, RefusesWhatNoF16ScaleHolds) {
  const LinearShape shape = Shape(WeightFormat::kInt4, 32, 0, 32);
  std::vector<float> values(32, 1.0f);
  uint8_t codes[32];
  float scale;
  values[5] = 65504.0f * 7.0f;
  EXPECT_TRUE(QuantizeRow(shape, 32, values.data(), codes, &scale));
  values[5] = 1e6f;
  EXPECT_FALSE(QuantizeRow(shape, 32, values.data(), codes, &scale));
  values[5] = -3e38f;
  EXPECT_FALSE(QuantizeRow(shape, 32, values.data(), codes, &scale));
}

}  // namespace
}  // namespace octet::worker
