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

}  // namespace
}  // namespace octet::worker
