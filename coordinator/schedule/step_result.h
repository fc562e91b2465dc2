// What the ranks answer to a plan, as plain values: octet.v1.StepResult without protobuf.
#pragma once

#include <cstdint>
#include <vector>

namespace octet::schedule {

// Of the model's own distribution: before penalties, bias and temperature.
struct TokenLogprobs {
  float logprob = 0.0f;             // of the token itself
  std::vector<int32_t> top_tokens;  // the most likely ones, best first, ties to the lowest id
  std::vector<float> top_logprobs;  // [top_tokens]
  bool operator==(const TokenLogprobs&) const = default;
};

struct PromptLogprobs {
  int32_t slot = 0;
  int64_t first_position = 0;         // of the first token that is told, in the sequence
  std::vector<TokenLogprobs> tokens;  // one position after the other
};

struct StepResult {
  uint64_t step = 0;
  std::vector<int32_t> slots;                   // that were sampled, in plan order
  std::vector<int32_t> tokens;                  // [slots]; -1: no logit was a number
  std::vector<TokenLogprobs> logprobs;          // of the sampled slots that asked, in plan order
  std::vector<PromptLogprobs> prompt_logprobs;  // of the chunks that asked, in plan order
  int64_t compute_us = 0;
};

}  // namespace octet::schedule
