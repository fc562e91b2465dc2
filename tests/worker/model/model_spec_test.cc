#include "worker/model/model_spec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace octet::worker {
namespace {

TEST(InverseFrequencies, DefaultIsAPowerOfTheBase) {
  const RopeSpec rope = {.theta = 10000.0};
  const std::vector<float> table = rope.InverseFrequencies(128);
  ASSERT_EQ(table.size(), 64u);
  EXPECT_EQ(table[0], 1.0f);
  EXPECT_EQ(table[32], 0.01f);
  EXPECT_EQ(table[16], 0.1f);
  EXPECT_FLOAT_EQ(table[63], 1.1547819846894582e-4f);  // 10000^(-126/128)
}

TEST(InverseFrequencies, LinearDividesAllByTheFactor) {
  RopeSpec rope = {.theta = 10000.0};
  const std::vector<float> plain = rope.InverseFrequencies(64);
  rope.type = RopeType::kLinear;
  rope.factor = 4.0;
  const std::vector<float> scaled = rope.InverseFrequencies(64);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(scaled[i], plain[i] / 4.0f);
}

// The three ranges of wavelengths, at the values of Llama 3.1.
TEST(InverseFrequencies, Llama3KeepsShortWavesStretchesLongOnesAndBlends) {
  RopeSpec rope = {.theta = 500000.0};
  const std::vector<float> plain = rope.InverseFrequencies(128);
  rope.type = RopeType::kLlama3;
  rope.factor = 8.0;
  rope.low_freq_factor = 1.0;
  rope.high_freq_factor = 4.0;
  rope.original_context = 8192;
  const std::vector<float> scaled = rope.InverseFrequencies(128);
  int kept = 0;
  int stretched = 0;
  int blended = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2.0 * std::numbers::pi / plain[i];
    if (wavelength < 8192.0 / 4.0) {
      EXPECT_EQ(scaled[i], plain[i]);
      ++kept;
    } else if (wavelength > 8192.0) {
      EXPECT_FLOAT_EQ(scaled[i], plain[i] / 8.0f);
      ++stretched;
    } else {
      EXPECT_LT(scaled[i], plain[i]);
      EXPECT_GT(scaled[i], plain[i] / 8.0f);
      ++blended;
    }
  }
  EXPECT_EQ(kept, 29);
  EXPECT_EQ(blended, 6);
  EXPECT_EQ(stretched, 29);
  // i = 31: inverse = 500000^(-62/128), smooth = (8192 * inverse / (2 pi) - 1) / 3.
  const double inverse = std::pow(500000.0, -62.0 / 128.0);
  const double smooth = (8192.0 * inverse / (2.0 * std::numbers::pi) - 1.0) / 3.0;
  EXPECT_FLOAT_EQ(scaled[31], static_cast<float>(inverse * ((1.0 - smooth) / 8.0 + smooth)));
}

TEST(InverseFrequencies, DynamicBeginsBeyondTheTrainedLength) {
  RopeSpec rope = {.theta = 10000.0};
  const std::vector<float> plain = rope.InverseFrequencies(64);
  rope.type = RopeType::kDynamic;
  rope.factor = 4.0;
  rope.original_context = 2048;
  EXPECT_EQ(rope.InverseFrequencies(64, 2048), plain);
  const std::vector<float> longer = rope.InverseFrequencies(64, 3072);
  EXPECT_EQ(longer[0], 1.0f);
  // 4 * 3072 / 2048 - 3 = 3
  EXPECT_FLOAT_EQ(longer[31],
                  static_cast<float>(std::pow(10000.0 * std::pow(3.0, 64.0 / 62.0), -62.0 / 64.0)));
}

TEST(InverseFrequencies, QwenStepsInPowersOfTwo) {
  RopeSpec rope = {.type = RopeType::kQwenDynamic, .theta = 10000.0, .original_context = 2048};
  const auto base_of = [&](int64_t length) {  // from the frequency of the second of two pairs
    return std::pow(double{rope.InverseFrequencies(4, length)[1]}, -2.0);
  };
  // alpha^(4 / 2) with alpha = 2^(ceil(log2(length / 2048)) + 1) - 1
  for (const auto& [length, alpha] : std::vector<std::pair<int64_t, double>>{
           {1, 1}, {2048, 1}, {2049, 3}, {4096, 3}, {4097, 7}, {8192, 7}, {8193, 15}}) {
    EXPECT_NEAR(base_of(length) / (10000.0 * alpha * alpha), 1.0, 1e-6) << length;
  }
}

TEST(InverseFrequencies, YarnKeepsShortWavesAndStretchesLongOnes) {
  RopeSpec rope = {.theta = 1000000.0};
  const std::vector<float> plain = rope.InverseFrequencies(128);
  rope.type = RopeType::kYarn;
  rope.factor = 4.0;
  rope.original_context = 32768;
  const std::vector<float> scaled = rope.InverseFrequencies(128);
  // 64 ln(32768 / (2 pi r)) / ln(10^6) is 23.60 for r = 32, 39.65 for r = 1: pairs 23 to 40.
  for (size_t i = 0; i <= 23; ++i) EXPECT_EQ(scaled[i], plain[i]);
  for (size_t i = 24; i < 40; ++i) {
    EXPECT_LT(scaled[i], plain[i]);
    EXPECT_GT(scaled[i], plain[i] / 4.0f);
  }
  for (size_t i = 40; i < 64; ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4.0f);
  rope.truncate = false;
  EXPECT_EQ(rope.InverseFrequencies(128)[23], plain[23]);
  EXPECT_NE(rope.InverseFrequencies(128)[30], scaled[30]);
}

}  // namespace
}  // namespace octet::worker
