// What a device keeps of each sequence from step to step, so that a step names a slot and nothing
// else: how the slot is sampled, its last token, and for every token of the vocabulary whether the
// request or the history says anything of it. Written by ApplySlotUpdates (admission) and
// TakeTokens (each row of a step), read by OfferRows and ChooseRows.
//
// A mark is a word: kInPrompt, kEndsAnswer, kHasBias, and above them how often the token stands in
// the answer. A token whose mark is 0 keeps its raw logit. Marks are kept only for slots that
// adjust their logits; of the others they may hold anything.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/sampling/adjust.h"
#include "kernels/sampling/sampling.h"

namespace octet::kernels {

inline constexpr uint32_t kInPrompt = 1;
inline constexpr uint32_t kEndsAnswer = 2;
inline constexpr uint32_t kHasBias = 4;
inline constexpr uint32_t kOnceInAnswer = 8;

struct SlotRecord {
  SamplingParams sampling;
  Penalties penalties;
  int32_t bias_count = 0;
  int64_t prompt_tokens = 0;
  int64_t min_tokens = 0;    // until the answer has so many, no token that ends it is chosen
  int32_t has_marks = 0;     // 1: ends, biases or penalizes something
  int32_t marks_prompt = 0;  // 1: the repetition penalty reads the prompt
  int32_t marks_answer = 0;  // 1: a penalty reads the answer
};

struct SlotStateShape {
  int64_t slots = 0;
  int64_t vocab = 0;  // of the model: every rank adjusts whole rows
};

// Device memory.
struct SlotState {
  SlotStateShape shape;
  SlotRecord* records = nullptr;   // [slots]
  int32_t* last_tokens = nullptr;  // [slots]
  TokenBias* bias = nullptr;  // [slots, kLogitBiasMax], by token, equal ones as they were given
  uint32_t* marks = nullptr;  // [slots, vocab]
};

int64_t SlotStateBytes(const SlotStateShape& shape);
// The state in `bytes` [SlotStateBytes] of device memory, aligned to 16; what they hold is of no
// matter: a slot is written when it is admitted.
SlotState SlotStateIn(std::byte* bytes, const SlotStateShape& shape);

}  // namespace octet::kernels
