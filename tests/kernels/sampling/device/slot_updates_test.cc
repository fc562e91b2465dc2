// The list of admissions as the host writes it.
#include "kernels/sampling/device/slot_updates.h"

#include <gtest/gtest.h>

#include <vector>

namespace octet::kernels::test {
namespace {

SlotUpdate Head(const std::vector<std::byte>& bytes, int64_t i) {
  return reinterpret_cast<const SlotUpdate*>(bytes.data())[i];
}

TEST(SlotUpdateListTest, AWorstCaseFitsAndNoMore) {
  constexpr int64_t kUpdates = 3;
  constexpr int64_t kCached = 40;
  std::vector<std::byte> bytes(static_cast<size_t>(SlotUpdateBytes(kUpdates, kCached)));
  SlotUpdateList list(bytes, kUpdates);
  const std::vector<TokenBias> bias(kLogitBiasMax);
  const std::vector<int32_t> ends(kEndIdsMax, 7);
  const std::vector<int32_t> cached(kCached, 9);
  EXPECT_EQ(list.used_bytes(), 0);
  for (int32_t slot = 0; slot < kUpdates; ++slot) {
    SlotAdmission admission{.slot = slot, .bias = bias, .end_ids = ends};
    if (slot == 1) admission.cached_tokens = cached;
    EXPECT_TRUE(list.Add(admission));
  }
  EXPECT_EQ(list.used_bytes(), static_cast<int64_t>(bytes.size()));
  EXPECT_FALSE(list.Add({.slot = 3}));
  list.Clear();
  const std::vector<int32_t> most(
      static_cast<size_t>(kCached + kUpdates * (2 * kLogitBiasMax + kEndIdsMax)), 1);
  EXPECT_TRUE(list.Add({.slot = 5, .cached_tokens = most}));
  EXPECT_FALSE(list.Add({.slot = 6, .cached_tokens = std::span(most).first(1)}));
  EXPECT_EQ(list.count(), 1);
}

TEST(SlotUpdateListTest, BiasesAreSortedAndFlagsSayWhatIsRead) {
  std::vector<std::byte> bytes(static_cast<size_t>(SlotUpdateBytes(8, 8)));
  SlotUpdateList list(bytes, 8);
  const std::vector<TokenBias> bias = {{9, 1}, {3, 2}, {9, 4}, {3, 8}};
  const std::vector<int32_t> ends = {4};
  EXPECT_TRUE(list.Add({.slot = 0}));
  EXPECT_TRUE(list.Add({.slot = 1, .bias = bias}));
  EXPECT_TRUE(list.Add({.slot = 2, .end_ids = ends}));
  EXPECT_TRUE(list.Add({.slot = 3, .penalties = {.repetition_penalty = 2}}));
  EXPECT_TRUE(list.Add({.slot = 4, .penalties = {.frequency_penalty = 2}}));
  const auto flags = [&](int64_t i) {
    const SlotRecord record = Head(bytes, i).record;
    return std::array<int32_t, 3>{record.has_marks, record.marks_prompt, record.marks_answer};
  };
  EXPECT_EQ(flags(0), (std::array<int32_t, 3>{0, 0, 0}));
  EXPECT_EQ(flags(1), (std::array<int32_t, 3>{1, 0, 0}));
  EXPECT_EQ(flags(2), (std::array<int32_t, 3>{1, 0, 0}));
  EXPECT_EQ(flags(3), (std::array<int32_t, 3>{1, 1, 1}));
  EXPECT_EQ(flags(4), (std::array<int32_t, 3>{1, 0, 1}));
  const auto* words = reinterpret_cast<const TokenBias*>(bytes.data() + 8 * sizeof(SlotUpdate) +
                                                         Head(bytes, 1).bias_begin * 4);
  EXPECT_EQ(std::vector<TokenBias>(words, words + 4),
            (std::vector<TokenBias>{{3, 2}, {3, 8}, {9, 1}, {9, 4}}));
}

}  // namespace
}  // namespace octet::kernels::test
