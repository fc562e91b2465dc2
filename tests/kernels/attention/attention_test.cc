#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/attention/compare.h"
#include "tests/kernels/attention/paged_context.h"
#include "tests/kernels/attention/random_steps.h"

namespace octet::kernels::test {
namespace {

using Rows = PagedContext::Rows;

constexpr KvFormat kKvFormats[] = {KvFormat::kInt8, KvFormat::kBF16, KvFormat::kInt4};

// Every `step`-th row of each run and its last, in all families.
void ExpectNearReference(const PagedContext& context, const std::vector<Rows>& runs,
                         int64_t step = 1) {
  std::vector<std::vector<float>> of_isa;
  for (Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    of_isa.push_back(context.Attend(runs, 2));
    EXPECT_TRUE(SameBits(of_isa[0], of_isa.back())) << IsaName(isa);
  }
  const Comparison to_double =
      Compare(context, runs, of_isa[0], step, &PagedContext::Expected::bounds);
  EXPECT_EQ(to_double.wrong, 0) << to_double;
}

// Decode rows, whole prompts and chunks in one step, beginning and ending inside blocks and splits.
TEST(AttentionTest, MatchesDoublePrecisionInMixedSteps) {
  for (const KvFormat format : kKvFormats) {
    for (const int64_t heads : {2, 8}) {  // of 2 kv heads
      for (const int64_t head_dim : {32, 64, 80, 96, 128}) {
        PagedContext context({format, heads, 2, head_dim, 0, {830, 131, 66}});
        for (const int64_t window : {0, 1, 63, 64, 65, 700}) {
          context.set_window(window);
          ExpectNearReference(context,
                              {{0, 829, 1}, {2, 0, 66}, {1, 130, 1}, {1, 58, 15}, {0, 508, 9}}, 7);
        }
      }
    }
  }
}

TEST(AttentionTest, MatchesDoublePrecisionForOddHeadDims) {
  for (KvFormat format : kKvFormats) {
    for (int64_t head_dim : {16, 48, 256, 6, 40, 70}) {
      if (!KvFormatHolds(format, head_dim)) continue;
      for (int64_t window : {0, 100}) {
        const PagedContext context({format, 6, 2, head_dim, window, {67, 1, 545}});
        ExpectNearReference(context, {{0, 50, 17}, {1, 0, 1}, {2, 544, 1}});
      }
    }
  }
}

TEST(AttentionTest, MatchesDoublePrecisionForEveryGroupSize) {
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kInt4}) {
    for (int64_t group : {1, 2, 3, 4, 5, 7, 8, 33, 40}) {
      ExpectNearReference(PagedContext({format, group, 1, 32, 0, {130}}), {{0, 120, 10}});
    }
  }
}

// A window is anchored at absolute positions: tokens before it may be gone, and change nothing.
TEST(AttentionTest, TokensBeforeTheWindowDoNotMatter) {
  for (const KvFormat format : kKvFormats) {
    for (const int64_t window : {1, 63, 64, 65, 130}) {
      const ContextShape shape{format, 4, 2, 64, window, {600}};
      const PagedContext whole(shape);
      for (const int64_t position : {64, 127, 511, 512, 599}) {
        PagedContext gone(shape);
        gone.Poison(0, position + 1 - window);
        for (Isa isa : AvailableIsas()) {
          IsaScope scope(isa);
          EXPECT_EQ(whole.Attend({{0, position, 1}}, 1), gone.Attend({{0, position, 1}}, 1))
              << IsaName(isa) << " window " << window << " at " << position;
        }
      }
    }
  }
}

struct Walk {
  KvFormat format;
  int64_t window;
  int64_t head_dim;
};

class AttentionBits : public testing::TestWithParam<Walk> {
 protected:
  // 200 rows that cross a split's end, and neighbours.
  static constexpr int64_t kFirst = 400;
  static constexpr int64_t kRows = 200;
  ContextShape Shape() const {
    return {GetParam().format, 6, 2, GetParam().head_dim, GetParam().window, {600, 90, 1030}};
  }
  static std::vector<float> InChunks(const PagedContext& context, int64_t chunk, int threads) {
    std::vector<float> all;
    for (int64_t i = 0; i < kRows; i += chunk) {
      const std::vector<float> part =
          context.Attend({{0, kFirst + i, std::min(chunk, kRows - i)}}, threads);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
};

TEST_P(AttentionBits, DependOnTheRowAlone) {
  const PagedContext context(Shape());
  std::vector<std::vector<float>> of_isa;
  for (Isa isa : AvailableIsas()) {
    IsaScope scope(isa);
    const std::vector<float> whole = InChunks(context, kRows, 1);
    EXPECT_TRUE(SameBits(whole, InChunks(context, kRows, 2))) << IsaName(isa);
    EXPECT_TRUE(SameBits(whole, InChunks(context, kRows, 3))) << IsaName(isa);
    EXPECT_TRUE(SameBits(whole, InChunks(context, 16, 1))) << IsaName(isa);
    EXPECT_TRUE(SameBits(whole, InChunks(context, 7, 2))) << IsaName(isa);
    EXPECT_TRUE(SameBits(whole, InChunks(context, 1, 1))) << IsaName(isa);
    const std::vector<float> batched =
        context.Attend({{1, 89, 1}, {0, kFirst, kRows}, {2, 1000, 30}}, 2);
    const auto begin = batched.begin() + context.q_width();
    EXPECT_TRUE(SameBits(whole, std::vector<float>(begin, begin + kRows * context.q_width())));
    of_isa.push_back(whole);
  }
  for (const std::vector<float>& bits : of_isa) EXPECT_TRUE(SameBits(of_isa[0], bits));
}

TEST_P(AttentionBits, DoNotDependOnWhichRankHoldsTheHead) {
  const PagedContext context(Shape());
  const std::vector<Rows> runs = {{0, 590, 10}, {2, 1029, 1}};
  const std::vector<float> whole = context.Attend(runs, 1);
  const int64_t dim = Shape().head_dim;
  // Heads {2}, then {3, 4}, of kv heads 0 and 1: a rank's cut need not respect the groups.
  const std::vector<HeadGroup> groups = {{0, 0, 1}, {1, 1, 2}};
  const std::vector<int32_t> heads = {2, 3, 4};
  const std::vector<float> part = context.Attend(runs, 1, groups, heads);
  for (size_t row = 0; row < 11; ++row) {
    for (size_t i = 0; i < heads.size(); ++i) {
      for (int64_t d = 0; d < dim; ++d) {
        EXPECT_EQ(part[(row * heads.size() + i) * dim + d], whole[(row * 6 + heads[i]) * dim + d]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, AttentionBits,
                         testing::Values(Walk{KvFormat::kInt8, 0, 64}, Walk{KvFormat::kBF16, 0, 32},
                                         Walk{KvFormat::kInt8, 100, 80},
                                         Walk{KvFormat::kBF16, 5, 64},
                                         Walk{KvFormat::kInt8, 70, 40},
                                         Walk{KvFormat::kInt4, 0, 128},
                                         Walk{KvFormat::kInt4, 65, 80}));

TEST(AttentionTest, SplitsHandedToThreadsKeepTheBits) {
  // One decode row with a long context: units of (tile, split), several rounds of them.
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kInt4}) {
    const PagedContext context({format, 7, 1, 64, 0, {9000, 700}});
    for (Isa isa : AvailableIsas()) {
      IsaScope scope(isa);
      const std::vector<float> alone = context.Attend({{0, 8999, 1}}, 1);
      for (int threads : {2, 3}) {
        EXPECT_TRUE(SameBits(alone, context.Attend({{0, 8999, 1}}, threads)));
        const std::vector<float> pair = context.Attend({{1, 699, 1}, {0, 8999, 1}}, threads);
        EXPECT_TRUE(
            SameBits(alone, std::vector<float>(pair.begin() + context.q_width(), pair.end())));
      }
    }
  }
}

// A single row takes all kv heads block by block, up to 32 tiles at once; a row of a longer run
// goes head by head. Groups of 33 query heads are two tiles.
TEST(AttentionTest, HeadsTakenTogetherKeepTheBits) {
  for (const KvFormat format : kKvFormats) {
    for (const auto& [heads, kv_heads] : {std::pair{35, 35}, {80, 20}, {66, 2}}) {
      const PagedContext context({format, heads, kv_heads, 32, 0, {1300, 70}});
      for (Isa isa : AvailableIsas()) {
        IsaScope scope(isa);
        const std::vector<float> run = context.Attend({{0, 1290, 10}}, 1);
        const std::vector<float> last(run.end() - context.q_width(), run.end());
        for (const int threads : {1, 2, 3}) {
          EXPECT_TRUE(SameBits(last, context.Attend({{0, 1299, 1}}, threads))) << IsaName(isa);
          const std::vector<float> pair = context.Attend({{1, 60, 9}, {0, 1299, 1}}, threads);
          EXPECT_TRUE(
              SameBits(last, std::vector<float>(pair.end() - context.q_width(), pair.end())));
        }
      }
    }
  }
}

TEST(AttentionTest, StaleSlotsDoNotMatter) {
  // 0xff bytes are NaN as bf16, as f16 scales and as zeros.
  for (KvFormat format : kKvFormats) {
    const ContextShape shape{format, 4, 2, 64, 0, {70}};
    for (Isa isa : AvailableIsas()) {
      IsaScope scope(isa);
      EXPECT_EQ(PagedContext(shape, 0).Attend({{0, 60, 10}}, 1),
                PagedContext(shape, 0xff).Attend({{0, 60, 10}}, 1));
    }
  }
}

// Values (row, index) of `poisoned` where `sees` says so are NaN, the others as in `whole`.
template <typename Sees>
void ExpectPoisoned(const std::vector<float>& whole, const std::vector<float>& poisoned,
                    int64_t width, const Sees& sees) {
  ASSERT_EQ(whole.size(), poisoned.size());
  int wrong = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    const bool as_expected = sees(at / width, at % width) ? std::isnan(poisoned[i])
                                                          : SameBits({whole[i]}, {poisoned[i]});
    wrong += !as_expected;
  }
  EXPECT_EQ(wrong, 0);
}

TEST(AttentionTest, WhatIsNotFiniteReachesTheRowsThatSeeItAlone) {
  for (const KvFormat format : kKvFormats) {
    for (const int64_t heads : {2, 6, 10}) {  // of 2 kv heads
      const ContextShape shape{format, heads, 2, 64, 64, {600}};
      const PagedContext whole(shape);
      PagedContext keys(shape);
      keys.Poison(0, 520);
      PagedContext query(shape);
      query.PoisonQuery(530, 70, heads == 2 ? INFINITY : NAN);  // head 1
      for (Isa isa : AvailableIsas()) {
        IsaScope scope(isa);
        SCOPED_TRACE(IsaName(isa));
        const std::vector<Rows> runs = {{0, 500, 100}};
        const std::vector<float> expected = whole.Attend(runs, 2);
        ExpectPoisoned(expected, keys.Attend(runs, 2), whole.q_width(),
                       [](int64_t row, int64_t) { return 500 + row - 63 < 520; });
        ExpectPoisoned(expected, query.Attend(runs, 2), whole.q_width(),
                       [](int64_t row, int64_t d) { return row == 30 && d / 64 == 1; });
        const std::vector<Rows> decode = {{0, 530, 1}};
        ExpectPoisoned(whole.Attend(decode, 1), query.Attend(decode, 1), whole.q_width(),
                       [](int64_t, int64_t d) { return d / 64 == 1; });
      }
    }
  }
}

// Keys of models with a bias: one channel far from the others, so that zeros are large.
TEST(AttentionTest, MatchesDoublePrecisionWithAnOutlierChannel) {
  for (const int64_t heads : {2, 8, 12}) {  // of 2 kv heads
    ExpectNearReference(PagedContext({KvFormat::kInt8, heads, 2, 128, 0, {300}, 40}),
                        {{0, 299, 1}, {0, 190, 70}}, 7);
  }
}

TEST(AttentionTest, AcceptsNothingToDo) {
  const PagedContext context({KvFormat::kInt8, 4, 2, 64, 0, {70}});
  EXPECT_TRUE(context.Attend({}, 1).empty());
  EXPECT_TRUE(context.Attend({{0, 5, 0}}, 2).empty());
  EXPECT_EQ(AttentionWorkspaceBytes(0, 64, 4), 0);
}

TEST(AttentionRandom, StepsAreRightAndRowsKeepTheirBits) {
  octet::test::Dice dice;
  for (int i = 0; i < 12; ++i) {
    ContextShape shape = RandomContext({6, 16, 32, 64, 80, 96, 128, 192, 256}, dice);
    if (!KvFormatHolds(shape.format, shape.head_dim)) shape.format = KvFormat::kInt8;
    const std::vector<Rows> runs = RandomRuns(shape, dice);
    SCOPED_TRACE(Describe(shape, runs));
    const PagedContext context(shape);
    ExpectNearReference(context, runs, dice.Between(1, 24));
    const std::vector<float> step = context.Attend(runs, 1);
    const std::vector<float> expected(step.begin(),
                                      step.begin() + runs[0].count * context.q_width());
    const int threads = static_cast<int>(dice.Between(1, 5));
    EXPECT_TRUE(SameBits(expected, PagedContext(shape, 0xff).Attend({runs[0]}, threads)))
        << threads << " threads";
  }
}

}  // namespace
}  // namespace octet::kernels::test
