// The sequences a rank is working on: for each slot its blocks, its length, and how it is sampled.
// All ranks hold the same table, because they apply the same plans; the scheduler in the
// coordinator decides, this only remembers. A block may be in the tables of several slots: nothing
// here owns one. Tokens are not known here: see slot_history.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling/sampling.h"
#include "worker/engine/step_plan.h"

namespace octet::worker {

struct SlotTableShape {
  int64_t slots = 0;
  int64_t context = 0;          // tokens a sequence may have
  int64_t blocks_per_slot = 0;  // ceil(context / 64)
  int64_t blocks = 0;           // in the pool
};

class SlotTable {
 public:
  // `block_tables` [slots, blocks_per_slot], of the host.
  SlotTable(const SlotTableShape& shape, int32_t* block_tables);

  void Admit(const Admit& admit);
  void Release(int32_t slot);
  void AppendBlocks(int32_t slot, std::span<const int32_t> blocks);

  struct Slot {
    bool active = false;
    bool has_token = false;  // its last token was drawn, or is being drawn: the slot can decode
    int64_t length = 0;      // tokens in the cache
    int64_t block_count = 0;
    kernels::SamplingParams sampling;
    int32_t logprobs = -1;
    int32_t prompt_logprobs = -1;
  };
  Slot& operator[](int32_t slot);
  const int32_t* block_table(int32_t slot) const;

  // block id * 64 + position inside the block. REQUIRES: the slot holds that block.
  int64_t CacheSlot(int32_t slot, int64_t position) const;

 private:
  SlotTableShape shape_;
  int32_t* block_tables_;
  std::vector<Slot> slots_;
};

}  // namespace octet::worker
