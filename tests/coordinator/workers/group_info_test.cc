// What a group that starts again must have in common with the first.
#include "coordinator/workers/group_info.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace octet::workers {
namespace {

GroupInfo Info() {
  return {.ranks = 2,
          .build_id = "b1",
          .isa = "avx2",
          .config_digest = "c1",
          .vocab = 1000,
          .context = 512,
          .kv_blocks = 40,
          .block_tokens = 64,
          .slots = 8,
          .step_rows_max = 100,
          .weights_keys = {"w0", "w1"}};
}

TEST(CheckSameGroup, OneOfTheSameKindMayGoOn) {
  EXPECT_TRUE(CheckSameGroup(Info(), Info(), true).ok());
  EXPECT_TRUE(CheckSameGroup(Info(), Info(), false).ok());
}

TEST(CheckSameGroup, WhatDiffersIsNamedWithBothValues) {
  const std::map<std::string, std::function<void(GroupInfo&)>> changes = {
      {"build b2; the first had b1", [](GroupInfo& info) { info.build_id = "b2"; }},
      {"instruction family plain; the first had avx2", [](GroupInfo& info) { info.isa = "plain"; }},
      {"configuration c2; the first had c1", [](GroupInfo& info) { info.config_digest = "c2"; }},
      {"vocabulary 999; the first had 1000", [](GroupInfo& info) { info.vocab = 999; }},
      {"context 511; the first had 512", [](GroupInfo& info) { info.context = 511; }},
      {"KV blocks 39; the first had 40", [](GroupInfo& info) { info.kv_blocks = 39; }},
      {"tokens per block 32; the first had 64", [](GroupInfo& info) { info.block_tokens = 32; }},
      {"slots 7; the first had 8", [](GroupInfo& info) { info.slots = 7; }},
      {"rows per step 99; the first had 100", [](GroupInfo& info) { info.step_rows_max = 99; }},
  };
  for (const auto& [wanted, change] : changes) {
    GroupInfo now = Info();
    change(now);
    const Status status = CheckSameGroup(Info(), now, false);
    ASSERT_FALSE(status.ok()) << wanted;
    EXPECT_NE(status.message().find(wanted), std::string::npos) << status.message();
  }
}

// Ranks elsewhere may read copies of the model with other times of their own.
TEST(CheckSameGroup, FilesAreComparedWhereTheyAreTheSameOnes) {
  GroupInfo now = Info();
  now.weights_keys[1] = "w2";
  EXPECT_FALSE(CheckSameGroup(Info(), now, true).ok());
  EXPECT_TRUE(CheckSameGroup(Info(), now, false).ok());
}

}  // namespace
}  // namespace octet::workers
