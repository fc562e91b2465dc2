// Adjustments against their definition in double, each alone and all together; by runs of the
// vocabulary as by the whole row, and undone bit for bit.
#include "kernels/sampling/adjust.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "tests/kernels/random.h"
#include "tests/kernels/sampling/adjust_reference.h"

namespace octet::kernels::test {
namespace {

constexpr int64_t kVocab = 1300;
constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> Adjusted(const OwnedAdjustment& a, const std::vector<float>& logits,
                            const std::vector<int64_t>& bounds) {
  std::vector<float> out = logits;
  std::vector<uint32_t> counts(logits.size(), 0);
  for (size_t rank = 0; rank + 1 < bounds.size(); ++rank) {
    AdjustLogits(a.view(),
                 {out.data() + bounds[rank], bounds[rank + 1] - bounds[rank], bounds[rank]},
                 counts.data(), nullptr);
    EXPECT_EQ(std::count(counts.begin(), counts.end(), 0u), static_cast<int64_t>(counts.size()));
  }
  return out;
}

void ExpectNear(const std::vector<float>& found, const std::vector<double>& wanted) {
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::isinf(wanted[i])) {
      EXPECT_EQ(found[i], wanted[i]) << "token " << i;
    } else {  // a handful of roundings of values of up to about a thousand
      ASSERT_NEAR(found[i], wanted[i], 2e-6 * (std::abs(wanted[i]) + 1000)) << "token " << i;
    }
  }
}

struct Part {
  const char* name;
  std::function<void(OwnedAdjustment&)> keep_only;
};

const std::vector<Part>& Parts() {
  static const std::vector<Part> kParts = {
      {"ban",
       [](OwnedAdjustment& a) {
         a.bias.clear();
         a.repetition = 1;
         a.presence = a.frequency = 0;
       }},
      {"bias",
       [](OwnedAdjustment& a) {
         a.banned.clear();
         a.repetition = 1;
         a.presence = a.frequency = 0;
       }},
      {"repetition",
       [](OwnedAdjustment& a) {
         a.banned.clear();
         a.bias.clear();
         a.presence = a.frequency = 0;
       }},
      {"frequency",
       [](OwnedAdjustment& a) {
         a.banned.clear();
         a.bias.clear();
         a.repetition = 1;
         a.presence = 0;
       }},
      {"presence",
       [](OwnedAdjustment& a) {
         a.banned.clear();
         a.bias.clear();
         a.repetition = 1;
         a.frequency = 0;
       }},
      {"all", [](OwnedAdjustment&) {}},
  };
  return kParts;
}

TEST(AdjustTest, EachAloneAndAllTogetherByDefinition) {
  for (const Part& part : Parts()) {
    SCOPED_TRACE(part.name);
    int64_t changed = 0;
    for (uint32_t seed = 0; seed < 60; ++seed) {
      OwnedAdjustment a = RandomAdjustment(kVocab, seed);
      part.keep_only(a);
      const std::vector<float> logits = Normal(kVocab, seed, 0, 4);
      const std::vector<float> found = Adjusted(a, logits, {0, kVocab});
      ExpectNear(found, AdjustedByDefinition(a, logits));
      for (int64_t i = 0; i < kVocab; ++i) changed += found[i] != logits[i] ? 1 : 0;
    }
    EXPECT_GT(changed, 60);
  }
}

TEST(AdjustTest, RunsOfTheVocabularyGiveTheBitsOfTheWholeRow) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const OwnedAdjustment a = RandomAdjustment(kVocab, seed);
    const std::vector<float> logits = Normal(kVocab, seed, 0, 4);
    const std::vector<float> whole = Adjusted(a, logits, {0, kVocab});
    EXPECT_TRUE(SameBits(Adjusted(a, logits, {0, 512, 1024, kVocab}), whole));
    EXPECT_TRUE(SameBits(Adjusted(a, logits, {0, 512, 512, 512, kVocab, kVocab}), whole));
  }
}

TEST(AdjustTest, IsUndoneBitForBit) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    OwnedAdjustment a = RandomAdjustment(kVocab, seed);
    // Entries that meet the same token more than once.
    if (!a.answer.empty()) a.bias.push_back({a.answer[0], 1.0f});
    if (!a.bias.empty()) a.bias.push_back(a.bias[0]);
    std::vector<float> logits = Normal(kVocab, seed, 0, 4);
    for (size_t i = 3; i < logits.size(); i += 101) logits[i] = kInf * (i % 2 == 0 ? 1 : -1);
    std::vector<float> changed = logits;
    std::vector<uint32_t> counts(logits.size(), 0);
    std::vector<float> saved(static_cast<size_t>(SavedLogitCount(a.view())));
    const LogitsRun run = {changed.data() + 512, kVocab - 512, 512};
    AdjustLogits(a.view(), run, counts.data(), saved.data());
    RestoreLogits(a.view(), run, saved.data());
    EXPECT_TRUE(SameBits(changed, logits)) << "seed " << seed;
  }
}

TEST(AdjustTest, InfinitiesAndNanStayOutOfTheWay) {
  OwnedAdjustment a;
  a.banned = {0};
  a.bias = {{0, 100.0f}, {1, 5.0f}, {2, 5.0f}};
  a.repetition = 1.5f;
  a.presence = 1;
  a.frequency = 1;
  a.prompt = {0, 1};
  a.answer = {2, 3, 3};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> found = Adjusted(a, {3.0f, -kInf, nan, kInf, 7.0f}, {0, 5});
  EXPECT_EQ(found[0], -kInf);
  EXPECT_EQ(found[1], -kInf);
  EXPECT_TRUE(std::isnan(found[2]));
  EXPECT_EQ(found[3], kInf);
  EXPECT_EQ(found[4], 7.0f);
}

TEST(AdjustTest, RowsAreDealtToAnyNumberOfThreads) {
  constexpr int64_t kRows = 13;
  const std::vector<float> logits = Normal(kRows * kVocab, 5, 0, 4);
  std::vector<OwnedAdjustment> owned;
  std::vector<Adjustment> views;
  for (uint32_t row = 0; row < kRows; ++row) owned.push_back(RandomAdjustment(kVocab, row));
  owned[4] = {};
  for (const OwnedAdjustment& a : owned) views.push_back(a.view());
  EXPECT_TRUE(views[4].changes_nothing());
  std::vector<float> expected = logits;
  std::vector<uint32_t> counts(3 * kVocab, 0);
  for (int64_t row = 0; row < kRows; ++row) {
    AdjustLogits(views[row], {expected.data() + row * kVocab, kVocab, 0}, counts.data(), nullptr);
  }
  const std::vector<float*> saved(kRows, nullptr);
  for (const int64_t arrays : {1, 2, 3}) {
    ThreadPool pool(static_cast<int>(arrays));
    Stream stream(&pool);
    std::vector<float> found = logits;
    AdjustRows({.logits = found.data(),
                .tokens = kVocab,
                .token_begin = 0,
                .adjustments = views,
                .saved = saved,
                .counts = counts.data(),
                .count_arrays = arrays},
               stream);
    EXPECT_TRUE(SameBits(found, expected)) << arrays;
  }
}

}  // namespace
}  // namespace octet::kernels::test
