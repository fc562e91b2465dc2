// The device's kernels of attention against double precision, and their bits against themselves.
#include <gtest/gtest.h>

#include "tests/kernels/attention/compare.h"
#include "tests/kernels/attention/device_attention.h"

namespace octet::kernels::test {
namespace {

using Rows = PagedContext::Rows;

constexpr KvFormat kKvFormats[] = {KvFormat::kInt8, KvFormat::kBF16, KvFormat::kInt4};

class DeviceAttentionTest : public testing::Test {
 protected:
  void SetUp() override { OCTET_REQUIRE_GPU(); }
};

void ExpectNearReference(const PagedContext& context, const std::vector<Rows>& runs,
                         int64_t step = 1) {
  const std::vector<float> got = DeviceAttention(context).Attend(runs);
  const Comparison to_double =
      Compare(context, runs, got, step, &PagedContext::Expected::device_bounds);
  EXPECT_EQ(to_double.wrong, 0) << to_double;
}

// Decode rows, chunks and short prompts in one step; blocks and splits begun and left anywhere.
TEST_F(DeviceAttentionTest, MatchesDoublePrecisionInMixedSteps) {
  for (const KvFormat format : kKvFormats) {
    for (const int64_t head_dim : {32, 64, 80, 96, 128}) {
      for (const int64_t heads : {2, 10}) {  // of 2 kv heads
        PagedContext context({format, heads, 2, head_dim, 0, {150, 66}});
        for (const int64_t window : {0, 65}) {
          context.set_window(window);
          ExpectNearReference(context, {{0, 149, 1}, {1, 30, 36}}, 9);
        }
      }
    }
  }
}

TEST_F(DeviceAttentionTest, MatchesDoublePrecisionAcrossSplits) {
  for (const KvFormat format : kKvFormats) {
    PagedContext context({format, 6, 2, 64, 0, {1100}});
    for (const int64_t window : {0, 63, 600}) {
      context.set_window(window);
      ExpectNearReference(context, {{0, 1099, 1}, {0, 505, 12}}, 4);
    }
  }
}

TEST_F(DeviceAttentionTest, MatchesDoublePrecisionForEveryGroupSize) {
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kInt4}) {
    for (const int64_t group : {1, 3, 4, 7, 8, 9, 16, 17, 33, 70}) {
      ExpectNearReference(PagedContext({format, group, 1, 32, 0, {130}}), {{0, 120, 3}});
    }
  }
}

// Keys with a channel in the hundreds: codes of the others are few and near the zero's opposite.
TEST_F(DeviceAttentionTest, MatchesDoublePrecisionWithOutlierKeys) {
  for (const KvFormat format : kKvFormats) {
    for (const float outlier : {30.0f, 400.0f}) {
      ExpectNearReference(PagedContext({format, 4, 2, 128, 0, {200}, outlier}), {{0, 190, 10}});
    }
  }
}

struct Walk {
  KvFormat format;
  int64_t window;
  int64_t head_dim;
};

class DeviceAttentionBits : public testing::TestWithParam<Walk> {
 protected:
  // Rows that cross a split's end.
  static constexpr int64_t kFirst = 498;
  static constexpr int64_t kRows = 26;
  void SetUp() override { OCTET_REQUIRE_GPU(); }
  ContextShape Shape() const {
    return {GetParam().format, 6, 2, GetParam().head_dim, GetParam().window, {600, 90, 1030}};
  }
  static std::vector<float> InChunks(const PagedContext& context, int64_t chunk, int64_t workers) {
    DeviceAttention device(context, {.workers = workers});
    std::vector<float> all;
    for (int64_t i = 0; i < kRows; i += chunk) {
      const auto part = device.Attend({{0, kFirst + i, std::min(chunk, kRows - i)}});
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
};

TEST_P(DeviceAttentionBits, DependOnTheRowAlone) {
  const PagedContext context(Shape());
  const std::vector<float> whole = InChunks(context, kRows, 1);
  // Tiles of 63, 15, 6 and 3 vectors; many workers cut rows into splits.
  EXPECT_TRUE(SameBits(whole, InChunks(context, kRows, 40)));
  EXPECT_TRUE(SameBits(whole, InChunks(context, 5, 3)));
  EXPECT_TRUE(SameBits(whole, InChunks(context, 2, 1)));
  EXPECT_TRUE(SameBits(whole, InChunks(context, 1, 7)));
  for (const int64_t workers : {1, 9}) {
    DeviceAttention device(context, {.workers = workers});
    const auto batched = device.Attend({{1, 89, 1}, {0, kFirst, kRows}, {2, 1000, 4}});
    const auto begin = batched.begin() + context.q_width();
    EXPECT_TRUE(SameBits(whole, std::vector<float>(begin, begin + kRows * context.q_width())));
  }
}

TEST_P(DeviceAttentionBits, DoNotDependOnWhichRankHoldsTheHead) {
  const PagedContext context(Shape());
  const std::vector<Rows> runs = {{0, 570, 7}, {2, 1029, 1}};
  const std::vector<float> whole = DeviceAttention(context).Attend(runs);
  const int64_t dim = Shape().head_dim;
  // Heads {2}, then {3, 4}, of kv heads 0 and 1: a rank's cut need not respect the groups.
  const std::vector<HeadGroup> groups = {{0, 0, 1}, {1, 1, 2}};
  const std::vector<int32_t> heads = {2, 3, 4};
  const std::vector<float> part = DeviceAttention(context, {}, groups, heads).Attend(runs);
  int wrong = 0;
  for (size_t row = 0; row < 8; ++row) {
    for (size_t i = 0; i < heads.size(); ++i) {
      for (int64_t d = 0; d < dim; ++d) {
        wrong += part[(row * heads.size() + i) * dim + d] != whole[(row * 6 + heads[i]) * dim + d];
      }
    }
  }
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, DeviceAttentionBits,
                         testing::Values(Walk{KvFormat::kInt8, 0, 64}, Walk{KvFormat::kBF16, 0, 32},
                                         Walk{KvFormat::kInt8, 100, 80},
                                         Walk{KvFormat::kInt8, 70, 128},
                                         Walk{KvFormat::kBF16, 5, 64}, Walk{KvFormat::kInt4, 0, 64},
                                         Walk{KvFormat::kInt4, 65, 80}));

// A long row among short ones is cut; its parts meet through the workspace, launch after launch.
TEST_F(DeviceAttentionTest, CutRowsKeepTheBits) {
  for (const KvFormat format : kKvFormats) {
    // int8 of 128 has a kernel of its own on sm_90.
    const int64_t head_dim = format == KvFormat::kInt8 ? 128 : 64;
    const PagedContext context({format, 7, 1, head_dim, 0, {1600, 70}});
    const std::vector<float> alone =
        DeviceAttention(context, {.workers = 1}).Attend({{0, 1599, 1}});
    for (const int64_t workers : {2, 64}) {
      DeviceAttention device(context, {.workers = workers});
      for (int launch = 0; launch < 2; ++launch) {
        const auto pair = device.Attend({{1, 69, 1}, {0, 1599, 1}});
        EXPECT_TRUE(
            SameBits(alone, std::vector<float>(pair.begin() + context.q_width(), pair.end())))
            << workers;
      }
    }
  }
}

TEST_F(DeviceAttentionTest, StaleSlotsDoNotMatter) {
  // 0xff bytes are NaN as bf16, as f16 scales and as zeros.
  for (const KvFormat format : kKvFormats) {
    const ContextShape shape{format, 4, 2, 64, 0, {70}};
    const PagedContext clean(shape, 0);
    const PagedContext stale(shape, 0xff);
    for (const std::vector<Rows>& runs : {std::vector<Rows>{{0, 69, 1}}, {{0, 45, 25}}}) {
      EXPECT_TRUE(
          SameBits(DeviceAttention(clean).Attend(runs), DeviceAttention(stale).Attend(runs)));
    }
  }
}

// Whole blocks older than a tile's rows may be this step's all the same: of the chunk that the tile
// ends, or of another sequence that shares them. A narrow tile behind three blocks and one.
TEST_F(DeviceAttentionTest, WhatTheStepAppendsIsSeen) {
  for (const KvFormat format : kKvFormats) {
    for (const int64_t head_dim : {64, 128}) {
      const PagedContext context({format, 4, 1, head_dim, 0, {258}});
      const std::vector<Rows> runs = {{0, 256, 2}};
      EXPECT_TRUE(SameBits(DeviceAttention(context).Attend(runs),
                           DeviceAttention(context, {.appends = true}).Attend(runs)))
          << head_dim;
    }
  }
}

// A window is anchored at absolute positions: tokens before it may be gone, and change nothing.
TEST_F(DeviceAttentionTest, TokensBeforeTheWindowDoNotMatter) {
  for (const KvFormat format : kKvFormats) {
    for (const int64_t window : {1, 64, 130}) {
      const ContextShape shape{format, 4, 2, 64, window, {550}};
      const PagedContext whole(shape);
      for (const int64_t position : {64, 549}) {
        PagedContext gone(shape);
        gone.Poison(0, position + 1 - window);
        EXPECT_TRUE(SameBits(DeviceAttention(whole).Attend({{0, position, 1}}),
                             DeviceAttention(gone).Attend({{0, position, 1}})))
            << "window " << window << " at " << position;
      }
    }
  }
}

// Integer formats: what is not finite reaches the rows that see it, and no others.
TEST_F(DeviceAttentionTest, PoisonReachesThoseWhoSeeIt) {
  for (const KvFormat format : {KvFormat::kInt8, KvFormat::kInt4}) {
    const ContextShape shape{format, 4, 2, 64, 40, {200}};
    const PagedContext whole(shape);
    PagedContext poisoned(shape);
    poisoned.Poison(0, 100);
    const std::vector<Rows> runs = {{0, 120, 40}};  // rows up to 138 see token 99
    const auto good = DeviceAttention(whole).Attend(runs);
    const auto bad = DeviceAttention(poisoned).Attend(runs);
    const auto width = static_cast<size_t>(whole.q_width());
    int wrong = 0;
    for (size_t i = 0; i < good.size(); ++i) {
      wrong += i / width + 120 < 139 ? !std::isnan(bad[i]) : bad[i] != good[i];
    }
    EXPECT_EQ(wrong, 0);
  }
}

// As many halves are in flight as a device has room for: 227, 163 and 99 KB. Where there is least,
// int8 is copied by the teams themselves on sm_90 too.
TEST_F(DeviceAttentionTest, DevicesWithLessSharedMemoryKeepTheBits) {
  for (const KvFormat format : kKvFormats) {
    const PagedContext context({format, 15, 2, 128, 0, {700}});
    const std::vector<Rows> runs = {{0, 699, 1}, {0, 100, 1}, {0, 230, 12}};
    const std::vector<float> most = DeviceAttention(context).Attend(runs);
    for (const int64_t kilobytes : {163, 99}) {
      DeviceAttention less(context, {.shared_bytes = kilobytes * 1024});
      EXPECT_TRUE(SameBits(most, less.Attend(runs))) << kilobytes;
    }
  }
}

TEST_F(DeviceAttentionTest, WritesBF16Rows) {
  for (const KvFormat format : kKvFormats) {
    const PagedContext context({format, 6, 2, 64, 0, {200}});
    const std::vector<Rows> runs = {{0, 199, 1}, {0, 30, 25}};
    std::vector<float> wide = DeviceAttention(context).Attend(runs);
    for (float& x : wide) x = BF16ToFloat(FloatToBF16(x));
    EXPECT_TRUE(SameBits(wide, DeviceAttention(context, {.bf16 = true}).Attend(runs)));
  }
}

TEST_F(DeviceAttentionTest, AcceptsNothingToDo) {
  const PagedContext context({KvFormat::kInt8, 4, 2, 64, 0, {70}});
  EXPECT_TRUE(DeviceAttention(context).Attend({{0, 5, 0}}).empty());
}

}  // namespace
}  // namespace octet::kernels::test
