// Who holds which KV block, and which full blocks can be found again by what they hold. One owner,
// the scheduler, on its thread. Knows nothing of sequences, slots and plans.
//
// A block is held by one or more tables, or it is free. A full block can be published: it is then
// findable under its parent in the chain, its tokens and its rope identity, compared exactly; the
// hash only leads there. A findable block that nobody holds is free too, keeps what it holds as
// long as other free blocks last, and is evicted then: the longest unheld first, of a chain the
// deepest first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace octet::schedule {

// A findable block as the place to go on from. The stamp belongs to one publication and is never
// used again, so that a link to what can no longer be found leads nowhere.
struct ChainLink {
  int32_t block = -1;
  uint64_t stamp = 0;
  bool operator==(const ChainLink&) const = default;
};
inline constexpr ChainLink kChainRoot{-1, 0};
inline constexpr ChainLink kNoLink{-1, ~uint64_t{0}};

// What a full block holds, besides what came before it.
struct BlockKey {
  std::span<const int32_t> tokens;  // [block_tokens]
  uint64_t tokens_hash = 0;         // HashTokens(tokens)
  int64_t rope_tokens = 0;          // prompt length that the keys were rotated by; 0: by none
};

uint64_t HashTokens(std::span<const int32_t> tokens);

class BlockCache {
 public:
  BlockCache(int64_t blocks, int64_t block_tokens);

  // Free, whether findable or not.
  int64_t free_blocks() const { return static_cast<int64_t>(free_.size()) + unheld_blocks_; }
  int64_t findable_blocks() const { return findable_blocks_; }
  int64_t unheld_blocks() const { return unheld_blocks_; }  // findable and free
  // Held, but by nothing else than tables that leave: they come back.
  int64_t leaving_blocks() const { return leaving_blocks_; }
  bool is_held(int32_t block) const { return blocks_[block].holds > 0; }

  // A block that nobody holds, now held once and not findable. The same calls give the same block.
  // REQUIRES: free_blocks() > 0.
  int32_t Take();
  // One more table holds a findable block.
  void Hold(int32_t block);
  // A table is about to let go of its blocks: Drop follows.
  void Leave(std::span<const int32_t> table);
  // The end of a hold; the deepest block of the table is the first to be evicted.
  // REQUIRES: Leave(table) came before.
  void Drop(std::span<const int32_t> table);

  // kNoLink when there is no such block.
  ChainLink Find(ChainLink parent, const BlockKey& key) const;
  // Makes `block` findable, unless another with the same chain is. Returns whichever can be found,
  // or kNoLink when the parent no longer can.
  // REQUIRES: `block` is held, and all its rows are computed or planned.
  ChainLink Publish(ChainLink parent, const BlockKey& key, int32_t block);
  // What `block` holds is not to be found again, nor what was computed from it.
  void Forget(int32_t block);

  // The worker group is gone with all that it held. Links of before lead nowhere.
  void Clear();

  // Whether `holds`, counted from the tables, and every list here agree. For tests: O(blocks).
  Status Audit(std::span<const int64_t> holds) const;

 private:
  struct Block {
    int64_t holds = 0;    // tables
    int64_t leaving = 0;  // of these, about to let go
    // While findable:
    uint64_t stamp = 0;  // 0: not findable
    uint64_t parent_stamp = 0;
    uint64_t hash = 0;
    int64_t rope_tokens = 0;
    int32_t bucket_next = -1;
    int32_t parent = -1;
    int32_t child = -1;  // the last one published
    int32_t sibling_next = -1;
    int32_t sibling_before = -1;
    // While findable and not held:
    int32_t unheld_next = -1;
    int32_t unheld_before = -1;
  };

  bool IsLive(ChainLink link) const;
  std::span<int32_t> TokensOf(int32_t block);
  std::span<const int32_t> TokensOf(int32_t block) const;
  int32_t& BucketOf(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  void Evict();
  void Unlink(int32_t block);  // from its bucket, parent and list; its children are gone already
  void AppendUnheld(int32_t block);
  void RemoveUnheld(int32_t block);

  int64_t block_tokens_;
  std::vector<Block> blocks_;
  std::vector<int32_t> tokens_;     // [blocks, block_tokens], of the findable ones
  std::vector<int32_t> buckets_;    // [power of two >= blocks] heads of lists; -1: empty
  std::vector<int32_t> free_;       // not findable; the next one at the end
  std::vector<int32_t> forgotten_;  // scratch of Forget
  int32_t unheld_first_ = -1;       // the next to be evicted
  int32_t unheld_last_ = -1;
  int64_t unheld_blocks_ = 0;
  int64_t findable_blocks_ = 0;
  int64_t leaving_blocks_ = 0;
  uint64_t stamps_ = 0;
};

}  // namespace octet::schedule
