#include "worker/cache/slot_table.h"

#include "base/check.h"
#include "kernels/formats/kv_layout.h"
#include "kernels/sampling/adjust.h"
#include "kernels/sampling/logprobs.h"

namespace octet::worker {

using kernels::kEndIdsMax;
using kernels::kLogitBiasMax;
using kernels::kLogprobsMax;

SlotTable::SlotTable(const SlotTableShape& shape, int32_t* block_tables)
    : shape_(shape), block_tables_(block_tables), slots_(static_cast<size_t>(shape.slots)) {}

void SlotTable::Admit(const worker::Admit& admit) {
  Slot& s = (*this)[admit.slot];
  OCTET_CHECK(!s.active);
  s = Slot{.active = true,
           .length = admit.cached_tokens,
           .sampling = admit.sampling,
           .logprobs = admit.logprobs,
           .prompt_logprobs = admit.prompt_logprobs};
  OCTET_CHECK(s.logprobs >= -1 && s.logprobs <= kLogprobsMax);
  OCTET_CHECK(s.prompt_logprobs >= -1 && s.prompt_logprobs <= kLogprobsMax);
  const Adjustments& a = admit.adjustments;
  OCTET_CHECK_GT(a.repetition_penalty, 0.0f);
  OCTET_CHECK_LE(static_cast<int64_t>(a.logit_bias.size()), kLogitBiasMax);
  OCTET_CHECK_LE(static_cast<int64_t>(a.end_ids.size()), kEndIdsMax);

  OCTET_CHECK(admit.cached_tokens >= 0 && admit.cached_tokens < shape_.context);
  OCTET_CHECK_EQ(admit.cached_tokens % kernels::kKvBlockTokens, 0);
  const auto known = static_cast<int64_t>(admit.cached_token_ids.size());
  const bool penalizes_answer = a.presence_penalty != 0.0f || a.frequency_penalty != 0.0f;
  const bool needed = a.repetition_penalty != 1.0f ||
                      (penalizes_answer && admit.cached_tokens > admit.prompt_tokens);
  OCTET_CHECK(known == admit.cached_tokens || (known == 0 && !needed));
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
    OCTET_CHECK_LT(s.block_count, shape_.blocks_per_slot);
    OCTET_CHECK(block >= 0 && block < shape_.blocks);
    block_tables_[slot * shape_.blocks_per_slot + s.block_count++] = block;
  }
}

SlotTable::Slot& SlotTable::operator[](int32_t slot) {
  OCTET_CHECK(slot >= 0 && slot < static_cast<int64_t>(slots_.size()));
  return slots_[slot];
}

const int32_t* SlotTable::block_table(int32_t slot) const {
  return block_tables_ + slot * shape_.blocks_per_slot;
}

int64_t SlotTable::CacheSlot(int32_t slot, int64_t position) const {
  const int64_t block = position / kernels::kKvBlockTokens;
  OCTET_CHECK_LT(block, slots_[slot].block_count);
  return int64_t{block_table(slot)[block]} * kernels::kKvBlockTokens +
         position % kernels::kKvBlockTokens;
}

}  // namespace octet::worker
