// Blocks one by one: who holds them, what they are found by, which is evicted.
#include "coordinator/schedule/block_cache.h"

#include <gtest/gtest.h>

#include <vector>

namespace octet::schedule {
namespace {

constexpr int64_t kBlockTokens = 4;

class BlockCacheTest : public ::testing::Test {
 protected:
  static BlockKey Key(const std::vector<int32_t>& tokens, int64_t rope_tokens = 0) {
    return {tokens, HashTokens(tokens), rope_tokens};
  }
  // A table of published blocks, one for each of `chain`.
  std::vector<int32_t> Publish(const std::vector<std::vector<int32_t>>& chain) {
    std::vector<int32_t> table;
    ChainLink end = kChainRoot;
    for (const std::vector<int32_t>& tokens : chain) {
      table.push_back(cache_.Take());
      end = cache_.Publish(end, Key(tokens), table.back());
    }
    return table;
  }
  void Release(const std::vector<int32_t>& table) {
    cache_.Leave(table);
    cache_.Drop(table);
  }
  void ExpectHolds(std::vector<int64_t> holds) {
    const Status audit = cache_.Audit(holds);
    EXPECT_TRUE(audit.ok()) << audit.message();
  }

  const std::vector<int32_t> a_{1, 2, 3, 4}, b_{5, 6, 7, 8}, c_{9, 9, 9, 9};
  BlockCache cache_{4, kBlockTokens};
};

TEST_F(BlockCacheTest, ABlockIsFoundByItsWholeChain) {
  const std::vector<int32_t> table = Publish({a_, b_});
  const ChainLink first = cache_.Find(kChainRoot, Key(a_));
  EXPECT_EQ(first.block, table[0]);
  EXPECT_EQ(cache_.Find(first, Key(b_)).block, table[1]);
  EXPECT_EQ(cache_.Find(kChainRoot, Key(b_)), kNoLink);  // not what it comes after
  EXPECT_EQ(cache_.Find(first, Key(c_)), kNoLink);
  EXPECT_EQ(cache_.Find(kChainRoot, Key(a_, 7)), kNoLink);
}

TEST_F(BlockCacheTest, ParentsAreComparedNotOnlyTheHash) {
  Publish({a_, b_});
  const ChainLink first = cache_.Find(kChainRoot, Key(a_));
  const BlockKey collides{b_, HashTokens(b_) ^ first.stamp, 0};  // the stamp is all of the parent
  EXPECT_EQ(cache_.Find(kChainRoot, collides), kNoLink);
}

TEST_F(BlockCacheTest, TokensAreComparedNotOnlyTheirHash) {
  Publish({a_});
  const BlockKey collides{b_, HashTokens(a_), 0};
  EXPECT_EQ(cache_.Find(kChainRoot, collides), kNoLink);
  const int32_t other = cache_.Take();
  EXPECT_EQ(cache_.Publish(kChainRoot, collides, other).block, other);
  EXPECT_EQ(cache_.Find(kChainRoot, collides).block, other);
}

TEST_F(BlockCacheTest, ABlockIsFreeWhenNobodyHoldsItAndCanStillBeFound) {
  const std::vector<int32_t> table = Publish({a_});
  cache_.Hold(table[0]);
  ExpectHolds({2, 0, 0, 0});
  Release(table);
  EXPECT_EQ(cache_.free_blocks(), 3);
  EXPECT_EQ(cache_.leaving_blocks(), 0);
  cache_.Leave(table);
  EXPECT_EQ(cache_.leaving_blocks(), 1);
  cache_.Drop(table);
  EXPECT_EQ(cache_.free_blocks(), 4);
  EXPECT_EQ(cache_.findable_blocks(), 1);
  cache_.Hold(cache_.Find(kChainRoot, Key(a_)).block);
  EXPECT_EQ(cache_.free_blocks(), 3);
  ExpectHolds({1, 0, 0, 0});
}

TEST_F(BlockCacheTest, TheLongestUnheldIsEvictedTheDeepestFirst) {
  const std::vector<int32_t> first = Publish({a_, b_});
  const std::vector<int32_t> second = Publish({c_});
  Release(first);
  Release(second);
  const int32_t unused = cache_.Take();
  EXPECT_EQ(cache_.findable_blocks(), 3);  // an empty block is taken before any is evicted
  EXPECT_EQ(cache_.Take(), first[1]);
  EXPECT_EQ(cache_.Take(), first[0]);
  EXPECT_EQ(cache_.Take(), second[0]);
  EXPECT_EQ(cache_.free_blocks(), 0);
  EXPECT_EQ(cache_.findable_blocks(), 0);
  EXPECT_NE(unused, first[0]);
  ExpectHolds({1, 1, 1, 1});
}

// Somebody computed what another has already, and went on from the other's block.
TEST_F(BlockCacheTest, WhatFollowsAnEvictedBlockIsNotFoundAndALinkToItLeadsNowhere) {
  const std::vector<int32_t> owner = Publish({a_});
  const std::vector<int32_t> twin = {cache_.Take(), cache_.Take()};
  const ChainLink found = cache_.Publish(kChainRoot, Key(a_), twin[0]);
  EXPECT_EQ(found.block, owner[0]);
  const ChainLink follower = cache_.Publish(found, Key(b_), twin[1]);
  EXPECT_EQ(follower.block, twin[1]);
  Release(owner);
  const std::vector<int32_t> last = {cache_.Take(), cache_.Take()};  // the second one evicts
  EXPECT_EQ(last[1], owner[0]);
  EXPECT_EQ(cache_.findable_blocks(), 0);
  EXPECT_EQ(cache_.Publish(found, Key(c_), last[0]), kNoLink);
  // The same number, published again, is another place.
  EXPECT_EQ(cache_.Publish(kChainRoot, Key(c_), last[1]).block, found.block);
  EXPECT_EQ(cache_.Publish(found, Key(b_), twin[1]), kNoLink);
  ExpectHolds({1, 1, 1, 1});
}

TEST_F(BlockCacheTest, ForgettingABlockForgetsWhatWasComputedFromIt) {
  const std::vector<int32_t> table = Publish({a_, b_, c_});
  Release(table);
  cache_.Forget(table[1]);
  EXPECT_EQ(cache_.free_blocks(), 4);
  EXPECT_EQ(cache_.findable_blocks(), 1);
  EXPECT_EQ(cache_.Find(cache_.Find(kChainRoot, Key(a_)), Key(b_)), kNoLink);
  ExpectHolds({0, 0, 0, 0});
}

}  // namespace
}  // namespace octet::schedule
