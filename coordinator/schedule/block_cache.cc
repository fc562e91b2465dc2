#include "coordinator/schedule/block_cache.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace octet::schedule {
namespace {

uint64_t Mix(uint64_t x) {  // the finalizer of MurmurHash3, public domain, Austin Appleby
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

uint64_t HashOf(ChainLink parent, const BlockKey& key) {
  return Mix(Mix(key.tokens_hash ^ parent.stamp) + static_cast<uint64_t>(key.rope_tokens));
}

}  // namespace

uint64_t HashTokens(std::span<const int32_t> tokens) {
  uint64_t hash = 0;
  for (const int32_t token : tokens) hash = Mix(hash + static_cast<uint32_t>(token) + 1);
  return hash;
}

BlockCache::BlockCache(int64_t blocks, int64_t block_tokens)
    : block_tokens_(block_tokens),
      blocks_(blocks),
      tokens_(blocks * block_tokens),
      buckets_(std::bit_ceil(static_cast<uint64_t>(blocks))) {
  free_.reserve(blocks);
  Clear();
}

void BlockCache::Clear() {
  std::fill(blocks_.begin(), blocks_.end(), Block{});
  std::fill(buckets_.begin(), buckets_.end(), -1);
  free_.clear();
  for (auto block = static_cast<int32_t>(blocks_.size()) - 1; block >= 0; --block) {
    free_.push_back(block);
  }
  unheld_first_ = unheld_last_ = -1;
  unheld_blocks_ = findable_blocks_ = leaving_blocks_ = 0;
}

std::span<int32_t> BlockCache::TokensOf(int32_t block) {
  return std::span(tokens_).subspan(block * block_tokens_, block_tokens_);
}

std::span<const int32_t> BlockCache::TokensOf(int32_t block) const {
  return std::span(tokens_).subspan(block * block_tokens_, block_tokens_);
}

bool BlockCache::IsLive(ChainLink link) const {
  return link == kChainRoot || (link.block >= 0 && blocks_[link.block].stamp == link.stamp);
}

int32_t BlockCache::Take() {
  OCTET_CHECK_GT(free_blocks(), 0);
  if (free_.empty()) Evict();
  const int32_t block = free_.back();
  free_.pop_back();
  OCTET_CHECK_EQ(blocks_[block].holds, 0);
  blocks_[block].holds = 1;
  return block;
}

// A chain is let go deepest block first, so that the first of the list has no unheld children but
// where a sequence went on from a block that holds the same as its own.
void BlockCache::Evict() {
  int32_t block = unheld_first_;
  for (int32_t child = blocks_[block].child; child >= 0;) {
    if (blocks_[child].holds == 0) {
      block = child;
      child = blocks_[block].child;
    } else {
      child = blocks_[child].sibling_next;
    }
  }
  Forget(block);
}

void BlockCache::Hold(int32_t block) {
  Block& held = blocks_[block];
  OCTET_CHECK_NE(held.stamp, uint64_t{0});
  if (held.holds == 0) RemoveUnheld(block);
  if (held.holds > 0 && held.holds == held.leaving) --leaving_blocks_;
  ++held.holds;
}

void BlockCache::Leave(std::span<const int32_t> table) {
  for (const int32_t block : table) {
    Block& held = blocks_[block];
    OCTET_CHECK_LT(held.leaving, held.holds);
    if (++held.leaving == held.holds) ++leaving_blocks_;
  }
}

void BlockCache::Drop(std::span<const int32_t> table) {
  for (size_t left = table.size(); left > 0; --left) {
    Block& held = blocks_[table[left - 1]];
    OCTET_CHECK_GT(held.leaving, 0);
    --held.leaving;
    if (--held.holds > 0) continue;
    --leaving_blocks_;
    if (held.stamp != 0) {
      AppendUnheld(table[left - 1]);
    } else {
      free_.push_back(table[left - 1]);
    }
  }
}

ChainLink BlockCache::Find(ChainLink parent, const BlockKey& key) const {
  const uint64_t hash = HashOf(parent, key);
  int32_t block = buckets_[hash & (buckets_.size() - 1)];
  for (; block >= 0; block = blocks_[block].bucket_next) {
    const Block& found = blocks_[block];
    if (found.hash == hash && found.parent_stamp == parent.stamp &&
        found.rope_tokens == key.rope_tokens && std::ranges::equal(TokensOf(block), key.tokens)) {
      return {block, found.stamp};
    }
  }
  return kNoLink;
}

ChainLink BlockCache::Publish(ChainLink parent, const BlockKey& key, int32_t block) {
  if (!IsLive(parent)) return kNoLink;
  if (const ChainLink found = Find(parent, key); found != kNoLink) return found;
  Block& published = blocks_[block];
  OCTET_CHECK_GT(published.holds, 0);
  OCTET_CHECK_EQ(published.stamp, uint64_t{0});
  published.stamp = ++stamps_;
  published.parent_stamp = parent.stamp;
  published.hash = HashOf(parent, key);
  published.rope_tokens = key.rope_tokens;
  std::ranges::copy(key.tokens, TokensOf(block).begin());
  published.bucket_next = std::exchange(BucketOf(published.hash), block);
  published.parent = parent.block;
  if (parent.block >= 0) {
    published.sibling_next = std::exchange(blocks_[parent.block].child, block);
    if (published.sibling_next >= 0) blocks_[published.sibling_next].sibling_before = block;
  }
  ++findable_blocks_;
  return {block, published.stamp};
}

void BlockCache::Forget(int32_t block) {
  if (blocks_[block].stamp == 0) return;
  forgotten_.assign(1, block);
  while (!forgotten_.empty()) {
    const int32_t deepest = forgotten_.back();
    if (blocks_[deepest].child >= 0) {
      forgotten_.push_back(blocks_[deepest].child);
    } else {
      forgotten_.pop_back();
      Unlink(deepest);
    }
  }
}

void BlockCache::Unlink(int32_t block) {
  Block& unlinked = blocks_[block];
  int32_t* link = &BucketOf(unlinked.hash);
  while (*link != block) link = &blocks_[*link].bucket_next;
  *link = unlinked.bucket_next;
  if (unlinked.sibling_before >= 0) {
    blocks_[unlinked.sibling_before].sibling_next = unlinked.sibling_next;
  } else if (unlinked.parent >= 0) {
    blocks_[unlinked.parent].child = unlinked.sibling_next;
  }
  if (unlinked.sibling_next >= 0) {
    blocks_[unlinked.sibling_next].sibling_before = unlinked.sibling_before;
  }
  if (unlinked.holds == 0) {
    RemoveUnheld(block);
    free_.push_back(block);
  }
  Block cleared;
  cleared.holds = unlinked.holds;
  cleared.leaving = unlinked.leaving;
  unlinked = cleared;
  --findable_blocks_;
}

void BlockCache::AppendUnheld(int32_t block) {
  blocks_[block].unheld_before = unheld_last_;
  blocks_[block].unheld_next = -1;
  (unheld_last_ >= 0 ? blocks_[unheld_last_].unheld_next : unheld_first_) = block;
  unheld_last_ = block;
  ++unheld_blocks_;
}

void BlockCache::RemoveUnheld(int32_t block) {
  const Block& removed = blocks_[block];
  (removed.unheld_before >= 0 ? blocks_[removed.unheld_before].unheld_next : unheld_first_) =
      removed.unheld_next;
  (removed.unheld_next >= 0 ? blocks_[removed.unheld_next].unheld_before : unheld_last_) =
      removed.unheld_before;
  --unheld_blocks_;
}

Status BlockCache::Audit(std::span<const int64_t> holds) const {
  const auto wrong = [](const std::string& what, int64_t found, int64_t expected) {
    return Internal(what + ": " + std::to_string(found) + "; " + std::to_string(expected) +
                    " is expected");
  };
  std::vector<int64_t> free_times(blocks_.size(), 0);
  for (const int32_t block : free_) ++free_times[block];
  int64_t unheld = 0;
  for (int32_t block = unheld_first_; block >= 0; block = blocks_[block].unheld_next) {
    if (blocks_[block].stamp == 0) return wrong("unheld block that is not findable", block, -1);
    ++free_times[block];
    if (++unheld > unheld_blocks_) break;
  }
  if (unheld != unheld_blocks_) return wrong("unheld blocks", unheld, unheld_blocks_);
  int64_t findable = 0;
  int64_t leaving = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const std::string name = "of block " + std::to_string(i) + ", ";
    if (block.holds != holds[i]) return wrong(name + "tables", block.holds, holds[i]);
    if (free_times[i] != (holds[i] == 0 ? 1 : 0)) {
      return wrong(name + "times free", free_times[i], holds[i] == 0 ? 1 : 0);
    }
    leaving += block.holds > 0 && block.holds == block.leaving ? 1 : 0;
    if (block.stamp == 0) continue;
    ++findable;
    const bool parent_lives = block.parent < 0 || blocks_[block.parent].stamp == block.parent_stamp;
    if (!parent_lives) return wrong(name + "a parent that is not findable", block.parent, -1);
  }
  if (findable != findable_blocks_) return wrong("findable blocks", findable_blocks_, findable);
  if (leaving != leaving_blocks_) return wrong("leaving blocks", leaving_blocks_, leaving);
  return {};
}

}  // namespace octet::schedule
