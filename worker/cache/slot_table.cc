#include "worker/cache/slot_table.h"

#include "base/check.h"
#include "kernels/formats/kv_layout.h"

namespace octet::worker {

SlotTable::SlotTable(int64_t slots, int64_t blocks_per_slot, int64_t blocks, int32_t* block_tables)
    : slots_(static_cast<size_t>(slots)),
      blocks_per_slot_(blocks_per_slot),
      blocks_(blocks),
      block_tables_(block_tables) {}

void SlotTable::Admit(int32_t slot, const kernels::SamplingParams& sampling) {
  Slot& s = (*this)[slot];
  OCTET_CHECK(!s.active);
  s = Slot{.active = true, .sampling = sampling};
}

void SlotTable::Release(int32_t slot) {
  Slot& s = (*this)[slot];
  OCTET_CHECK(s.active);
  s = Slot{};
}

void SlotTable::AppendBlocks(int32_t slot, std::span<const int32_t> blocks) {
  Slot& s = (*this)[slot];
  OCTET_CHECK(s.active);
  for (const int32_t block : blocks) {
    OCTET_CHECK_LT(s.block_count, blocks_per_slot_);
    OCTET_CHECK(block >= 0 && block < blocks_);
    block_tables_[slot * blocks_per_slot_ + s.block_count++] = block;
  }
}

SlotTable::Slot& SlotTable::operator[](int32_t slot) {
  OCTET_CHECK(slot >= 0 && slot < static_cast<int64_t>(slots_.size()));
  return slots_[slot];
}

const int32_t* SlotTable::block_table(int32_t slot) const {
  return block_tables_ + slot * blocks_per_slot_;
}

int64_t SlotTable::CacheSlot(int32_t slot, int64_t position) const {
  const int64_t block = position / kernels::kKvBlockTokens;
  OCTET_CHECK_LT(block, slots_[slot].block_count);
  return int64_t{block_table(slot)[block]} * kernels::kKvBlockTokens +
         position % kernels::kKvBlockTokens;
}

}  // namespace octet::worker
