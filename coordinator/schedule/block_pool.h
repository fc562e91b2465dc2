// The numbers of the KV blocks that no sequence owns. One owner, the scheduler, on its thread.
// Knows nothing of what a block holds; a block that comes back twice is a bug and ends the process.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"

namespace octet::schedule {

class BlockPool {
 public:
  explicit BlockPool(int64_t blocks) : is_free_(blocks, true) {
    for (int64_t block = blocks - 1; block >= 0; --block) {
      free_.push_back(static_cast<int32_t>(block));
    }
  }

  int64_t free_blocks() const { return static_cast<int64_t>(free_.size()); }

  // REQUIRES: free_blocks() > 0. The block that came back last, so that a replay gives the same.
  int32_t Take() {
    OCTET_CHECK(!free_.empty());
    const int32_t block = free_.back();
    free_.pop_back();
    is_free_[block] = false;
    return block;
  }

  void Return(const std::vector<int32_t>& blocks) {
    for (const int32_t block : blocks) {
      OCTET_CHECK(!is_free_[block]);
      is_free_[block] = true;
      free_.push_back(block);
    }
  }

 private:
  std::vector<int32_t> free_;
  std::vector<bool> is_free_;
};

}  // namespace octet::schedule
