#include "worker/cache/slot_table.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/formats/kv_layout.h"
#include "kernels/sampling/logprobs.h"

namespace octet::worker {

using kernels::kEndIdsMax;
using kernels::kLogitBiasMax;
using kernels::kLogprobsMax;

SlotTable::SlotTable(const SlotTableShape& shape, const SlotTableBuffers& buffers)
    : shape_(shape), buffers_(buffers), slots_(static_cast<size_t>(shape.slots)) {}

void SlotTable::Admit(const worker::Admit& admit) {
  Slot& s = (*this)[admit.slot];
  OCTET_CHECK(!s.active);
  const Adjustments& a = admit.adjustments;
  s = Slot{.active = true,
           .length = admit.cached_tokens,
           .prompt_tokens = admit.prompt_tokens,
           .sampling = admit.sampling,
           .repetition_penalty = a.repetition_penalty,
           .presence_penalty = a.presence_penalty,
           .frequency_penalty = a.frequency_penalty,
           .min_tokens = a.min_tokens,
           .bias_count = static_cast<int64_t>(a.logit_bias.size()),
           .end_count = static_cast<int64_t>(a.end_ids.size()),
           .logprobs = admit.logprobs,
           .prompt_logprobs = admit.prompt_logprobs};
  OCTET_CHECK_GT(s.repetition_penalty, 0.0f);
  OCTET_CHECK_LE(s.bias_count, kLogitBiasMax);
  OCTET_CHECK_LE(s.end_count, kEndIdsMax);
  OCTET_CHECK(s.logprobs >= -1 && s.logprobs <= kLogprobsMax);
  OCTET_CHECK(s.prompt_logprobs >= -1 && s.prompt_logprobs <= kLogprobsMax);
  std::copy(a.logit_bias.begin(), a.logit_bias.end(),
            buffers_.logit_bias + admit.slot * kLogitBiasMax);
  std::copy(a.end_ids.begin(), a.end_ids.end(), buffers_.end_ids + admit.slot * kEndIdsMax);

  OCTET_CHECK(admit.cached_tokens >= 0 && admit.cached_tokens < shape_.context);
  OCTET_CHECK_EQ(admit.cached_tokens % kernels::kKvBlockTokens, 0);
  const auto known = static_cast<int64_t>(admit.cached_token_ids.size());
  const bool penalizes_answer = s.presence_penalty != 0.0f || s.frequency_penalty != 0.0f;
  const bool needed = s.repetition_penalty != 1.0f ||
                      (penalizes_answer && admit.cached_tokens > admit.prompt_tokens);
  OCTET_CHECK(known == admit.cached_tokens || (known == 0 && !needed));
  for (int64_t i = 0; i < known; ++i) SetToken(admit.slot, i, admit.cached_token_ids[i]);
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
    buffers_.block_tables[slot * shape_.blocks_per_slot + s.block_count++] = block;
  }
}

void SlotTable::SetToken(int32_t slot, int64_t position, int32_t token) {
  OCTET_CHECK(position >= 0 && position < shape_.context);
  OCTET_CHECK(token >= 0 && token < shape_.vocab);
  buffers_.history[slot * shape_.context + position] = token;
}

SlotTable::Slot& SlotTable::operator[](int32_t slot) {
  OCTET_CHECK(slot >= 0 && slot < static_cast<int64_t>(slots_.size()));
  return slots_[slot];
}

const int32_t* SlotTable::block_table(int32_t slot) const {
  return buffers_.block_tables + slot * shape_.blocks_per_slot;
}

kernels::Adjustment SlotTable::AdjustmentAt(int32_t slot, int64_t position) const {
  const Slot& s = slots_[slot];
  const int32_t* history = buffers_.history + slot * shape_.context;
  const int64_t border = std::min(s.prompt_tokens, position);
  const bool banned = position - s.prompt_tokens < s.min_tokens;
  return {.banned = {buffers_.end_ids + slot * kEndIdsMax,
                     banned ? static_cast<size_t>(s.end_count) : 0},
          .bias = {buffers_.logit_bias + slot * kLogitBiasMax, static_cast<size_t>(s.bias_count)},
          .repetition_penalty = s.repetition_penalty,
          .presence_penalty = s.presence_penalty,
          .frequency_penalty = s.frequency_penalty,
          .prompt = {history, static_cast<size_t>(border)},
          .answer = {history + border, static_cast<size_t>(position - border)}};
}

int64_t SlotTable::CacheSlot(int32_t slot, int64_t position) const {
  const int64_t block = position / kernels::kKvBlockTokens;
  OCTET_CHECK_LT(block, slots_[slot].block_count);
  return int64_t{block_table(slot)[block]} * kernels::kKvBlockTokens +
         position % kernels::kKvBlockTokens;
}

}  // namespace octet::worker
