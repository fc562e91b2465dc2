// What a rank is told to do in one step, and what it answers: the plain form of octet.v1.StepPlan
// and StepResult (proto/octet/v1/worker_link.proto says what the fields mean).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/sampling/adjust.h"
#include "kernels/sampling/logprobs.h"
#include "kernels/sampling/sampling.h"

namespace octet::worker {

// What a request changes of its logits. At most kLogitBiasMax and kEndIdsMax entries.
struct Adjustments {
  float repetition_penalty = 1.0f;  // above 0; 1: off
  float presence_penalty = 0.0f;    // 0: off
  float frequency_penalty = 0.0f;   // 0: off
  std::vector<kernels::TokenBias> logit_bias;
  int64_t min_tokens = 0;  // until the answer has so many, none of end_ids is chosen
  std::vector<int32_t> end_ids;
  bool operator==(const Adjustments&) const = default;
};

struct Admit {
  int32_t slot = 0;
  kernels::SamplingParams sampling;
  Adjustments adjustments;
  int32_t logprobs = -1;         // best tokens told with each sampled one; -1: nothing is told
  int32_t prompt_logprobs = -1;  // the same for prompt tokens
  int64_t prompt_tokens = 0;     // of the request, at its first admission
  int64_t cached_tokens = 0;     // whose blocks hold their keys and values already
  std::vector<int32_t> cached_token_ids;  // [cached_tokens], or none where no penalty needs them
};

struct BlockUpdate {
  int32_t slot = 0;
  std::vector<int32_t> appended_blocks;
};

struct PrefillChunk {
  int32_t slot = 0;
  int64_t first_position = 0;
  std::vector<int32_t> tokens;
  bool sample = false;
  int64_t logprob_row_begin = 0;  // rows that tell the log-probability of the token that follows
  int64_t logprob_row_end = 0;
  std::optional<int32_t> next_token;  // that follows the chunk, when its last row is among those
};

struct StepPlan {
  uint64_t step = 0;
  std::vector<int32_t> release_slots;
  std::vector<Admit> admits;
  std::vector<BlockUpdate> blocks;
  std::vector<PrefillChunk> prefills;
  std::vector<int32_t> decode_slots;
};

using kernels::RowLogprobs;

// Prompt tokens [first_position, first_position + row_count) of a slot.
struct PromptLogprobs {
  int32_t slot = 0;
  int64_t first_position = 0;
  int64_t row_begin = 0;  // in StepResult::prompt_rows
  int64_t row_count = 0;
  bool operator==(const PromptLogprobs&) const = default;
};

struct StepResult {
  uint64_t step = 0;
  std::vector<int32_t> slots;                   // sampled, in plan order
  std::vector<int32_t> tokens;                  // [slots]; -1: no logit was a number
  std::vector<RowLogprobs> logprobs;            // of the sampled rows that tell them, in plan order
  std::vector<PromptLogprobs> prompt_logprobs;  // of the chunks that tell them, in plan order
  std::vector<RowLogprobs> prompt_rows;         // of all of those, one after the other
};

}  // namespace octet::worker
