// The sequences a rank is working on: for each slot its blocks, its length, its last token and how
// it is sampled. All ranks hold the same table, because they apply the same plans; the scheduler in
// the coordinator decides, this only remembers. Block tables lie in one planned buffer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling/sampling.h"

namespace octet::worker {

class SlotTable {
 public:
  // `block_tables` has room for slots * blocks_per_slot ids.
  SlotTable(int64_t slots, int64_t blocks_per_slot, int64_t blocks, int32_t* block_tables);

  void Admit(int32_t slot, const kernels::SamplingParams& sampling);
  void Release(int32_t slot);
  void AppendBlocks(int32_t slot, std::span<const int32_t> blocks);

  struct Slot {
    bool active = false;
    bool has_token = false;  // last_token is known: the slot can decode
    int32_t last_token = 0;
    int64_t length = 0;  // tokens in the cache
    int64_t block_count = 0;
    kernels::SamplingParams sampling;
  };
  Slot& operator[](int32_t slot);
  const int32_t* block_table(int32_t slot) const;

  // block id * 64 + position inside the block. REQUIRES: the slot holds that block.
  int64_t CacheSlot(int32_t slot, int64_t position) const;

 private:
  std::vector<Slot> slots_;
  int64_t blocks_per_slot_;
  int64_t blocks_;
  int32_t* block_tables_;  // [slots, blocks_per_slot]
};

}  // namespace octet::worker
