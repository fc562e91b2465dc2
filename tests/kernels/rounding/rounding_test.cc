// Scales and codes against the definition, one value at a time, and of every instruction family.
#include "kernels/rounding/rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>

#include "base/dtype.h"
#include "tests/kernels/random.h"

namespace octet::kernels {
namespace {

struct Group {
  float scale = 0;
  std::vector<uint8_t> codes;
};

float CodeOf(float value, float scale, float half) {
  const float inverse = 1.0f / scale;
  const float product = value * inverse;
  return std::clamp(std::nearbyint(product), -half, half - 1.0f);
}

// Lane i sums elements i, i + 16, ..., then lanes are added i with i + 8, 4, 2, 1.
float SquaredError(const std::vector<float>& values, float scale) {
  float lanes[16] = {};
  for (size_t i = 0; i < values.size(); ++i) {
    const float error = values[i] - CodeOf(values[i], scale, 8.0f) * scale;
    const float square = error * error;
    lanes[i % 16] += square;
  }
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

float ExpectedInt4Scale(const std::vector<float>& values) {
  const float highest = std::max(0.0f, *std::max_element(values.begin(), values.end()));
  const float lowest = std::min(0.0f, *std::min_element(values.begin(), values.end()));
  const float magnitude = std::max(highest, -lowest);
  if (magnitude == 0.0f) return -0x1p-24f;
  const float extreme = highest >= -lowest ? highest : lowest;
  float best = NarrowScale(magnitude / 7.0f);
  float best_error = SquaredError(values, best);
  for (const float clip : {1.0f, 0.95f, 0.9f, 0.85f, 0.8f, 0.75f}) {
    for (const float full : {magnitude / 7.0f, extreme / -8.0f}) {
      const float scale = NarrowScale(full * clip);
      const float error = SquaredError(values, scale);
      if (error >= best_error) continue;
      best = scale;
      best_error = error;
    }
  }
  return best;
}

// Groups of many lengths and kinds, and what they should come to.
std::vector<std::vector<float>> Groups() {
  std::vector<std::vector<float>> groups;
  uint32_t seed = 1;
  for (const int64_t count : {1, 5, 15, 16, 17, 31, 32, 47, 64, 100, 128, 129, 250, 512}) {
    for (const float deviation : {0.0f, 1e-42f, 1e-9f, 3e-7f, 1e-4f, 0.02f, 5.0f, 3e4f}) {
      groups.push_back(test::Normal(count, ++seed, 0.0f, deviation));
      std::vector<float>& group = groups.back();
      groups.push_back(group);  // in steps of a quarter of a scale: ties, and equal candidates
      for (float& value : groups.back()) value = std::nearbyint(8.0f * value / deviation) / 4.0f;
      if (deviation == 0.0f) groups.back().assign(count, seed % 2 == 0 ? 0.0f : -0.0f);
      groups.push_back(groups.back());
      groups.back()[count / 2] = seed % 2 == 0 ? 8.0f : -8.0f;
      groups.push_back(groups.back());
      groups.back()[count / 3] *= -1.0f;
    }
  }
  // Rows that share one scale: at the longest that is estimated, and beyond.
  for (const int64_t count : {4096, 4104, 11008}) {
    groups.push_back(test::Normal(count, ++seed, 0.0f, 0.02f));
  }
  return groups;
}

// Pairs of groups that differ by the least step of one value and in their scale: two candidates'
// errors are alike but for rounding.
std::vector<std::vector<float>> GroupsOnTheEdge() {
  std::vector<std::vector<float>> groups;
  for (uint32_t seed = 1000; seed < 1400; ++seed) {
    std::vector<float> group = test::Normal(seed % 2 == 0 ? 128 : 40, seed, 0.0f, 0.02f);
    group.back() = 0.1f;
    const auto scale_with = [&](float value) {
      group.front() = value;
      return ExpectedInt4Scale(group);
    };
    float low = -0.1f;
    float high = 0.1f;
    const float at_low = scale_with(low);
    if (scale_with(high) == at_low) continue;
    while (std::nextafter(low, high) != high) {
      const float middle = low + (high - low) / 2;
      (scale_with(middle) == at_low ? low : high) = middle;
    }
    for (const float value : {low, high}) {
      group.front() = value;
      groups.push_back(group);
    }
  }
  return groups;
}

TEST(Rounding, EveryFamilyGivesTheBitsOfTheDefinition) {
  std::vector<std::vector<float>> groups = Groups();
  std::ranges::move(GroupsOnTheEdge(), std::back_inserter(groups));
  for (const Isa isa : test::AvailableIsas()) {
    const test::IsaScope scope(isa);
    for (size_t g = 0; g < groups.size(); ++g) {
      const std::vector<float>& values = groups[g];
      const auto count = static_cast<int64_t>(values.size());
      float magnitude = 0.0f;
      for (const float value : values) magnitude = std::max(magnitude, std::fabs(value));
      for (const bool int4 : {true, false}) {
        const float half = int4 ? 8.0f : 128.0f;
        const float scale = (int4 ? Int4GroupScale : Int8GroupScale)(values.data(), count);
        const float expected = int4                ? ExpectedInt4Scale(values)
                               : magnitude == 0.0f ? -0x1p-24f
                                                   : NarrowScale(magnitude / 127.0f);
        ASSERT_EQ(std::bit_cast<uint32_t>(scale), std::bit_cast<uint32_t>(expected))
            << IsaName(isa) << ", group " << g << " of " << count << ", int4 " << int4;
        std::vector<uint8_t> codes(count + 1, 0xee);
        (int4 ? RoundToInt4 : RoundToInt8)(values.data(), count, scale, codes.data());
        for (int64_t i = 0; i < count; ++i) {
          ASSERT_EQ(codes[i], static_cast<int>(CodeOf(values[i], scale, half) + half))
              << IsaName(isa) << ", group " << g << ", value " << i << ", int4 " << int4;
        }
        ASSERT_EQ(codes[count], 0xee);
      }
    }
  }
}

TEST(Rounding, WidensWhatIsFiniteAndFindsWhatIsNot) {
  for (const Isa isa : test::AvailableIsas()) {
    const test::IsaScope scope(isa);
    std::vector<uint16_t> stored(0x10000);
    for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<uint16_t>(i);
    std::erase_if(stored, [](uint16_t bits) { return (bits & 0x7f80) == 0x7f80; });
    std::vector<float> out(stored.size());
    const auto count = static_cast<int64_t>(stored.size());
    ASSERT_TRUE(WidenFiniteBF16(stored.data(), count, out.data())) << IsaName(isa);
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(out[i]), uint32_t{stored[i]} << 16);
    }
    for (const int64_t length : {1, 15, 16, 63, 64, 65, 150}) {
      for (int64_t at = 0; at < length; ++at) {
        for (const uint16_t bad : {0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff}) {
          std::vector<uint16_t> values(length, 0xbf80);
          values[at] = bad;
          ASSERT_FALSE(WidenFiniteBF16(values.data(), length, out.data()))
              << IsaName(isa) << ", " << at << " of " << length;
        }
      }
    }
  }
}

TEST(Rounding, RefusesWhatNoF16ScaleHolds) {
  for (const Isa isa : test::AvailableIsas()) {
    const test::IsaScope scope(isa);
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> values(40, 1.0f);
      values[35] = sign * 65504.0f * 7.0f;
      EXPECT_NE(Int4GroupScale(values.data(), 40), 0.0f);
      values[35] = sign * 65520.0f * 7.0f;
      EXPECT_EQ(Int4GroupScale(values.data(), 40), 0.0f);
      EXPECT_NE(Int8GroupScale(values.data(), 40), 0.0f);
      values[35] = sign * 3e38f;
      EXPECT_EQ(Int4GroupScale(values.data(), 40), 0.0f);
      EXPECT_EQ(Int8GroupScale(values.data(), 40), 0.0f);
    }
  }
}

TEST(NarrowScale, RoundsUpWhereF16HasFewerBits) {
  EXPECT_EQ(NarrowScale(0x1p-24f * 1.25f), 0x1p-23f);
  EXPECT_EQ(NarrowScale(0x1p-30f), 0x1p-24f);
  EXPECT_EQ(NarrowScale(-0x1p-30f), -0x1p-24f);
  EXPECT_EQ(NarrowScale(0x1.fffffep-15f), 0x1p-14f);
  EXPECT_EQ(NarrowScale(1.0f + 0x1p-11f), 1.0f);  // a tie, to even
  EXPECT_EQ(NarrowScale(65504.0f), 65504.0f);
  EXPECT_EQ(NarrowScale(65520.0f), 0.0f);
}

}  // namespace
}  // namespace octet::kernels
