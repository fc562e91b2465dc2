// What one step computes, as plain values: the scheduler makes it, the link turns it into
// octet.v1.StepPlan (proto/octet/v1/worker_link.proto), the ranks apply it in the order of its
// fields. Immutable once made. Knows nothing of protobuf and of requests.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace octet::schedule {

struct TokenBias {
  int32_t token = 0;
  float bias = 0.0f;
};

struct SamplingSpec {
  float temperature = 0.0f;
  int32_t top_k = 0;
  float top_p = 1.0f;
  float min_p = 0.0f;
  uint64_t seed = 0;
  uint32_t sample_index = 0;
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  std::vector<TokenBias> logit_bias;
  int64_t min_tokens = 0;
  std::vector<int32_t> end_tokens;  // not chosen before min_tokens
  int32_t logprobs = -1;            // best tokens told with each sampled one; -1: nothing is told
  int32_t prompt_logprobs = -1;     // the same for prompt tokens

  // Whether the ranks must know every token of the sequence.
  bool needs_history() const {
    return repetition_penalty != 1.0f || presence_penalty != 0.0f || frequency_penalty != 0.0f;
  }
};

struct Admit {
  int32_t slot = 0;
  uint64_t id = 0;
  SamplingSpec sampling;
  int64_t prompt_tokens = 0;              // of the request, at its first admission
  int64_t cached_tokens = 0;              // found in the prefix cache: the first chunk begins here
  std::vector<int32_t> cached_token_ids;  // [cached_tokens], only if sampling.needs_history()
};

struct BlockUpdate {
  int32_t slot = 0;
  std::vector<int32_t> appended;  // added at the end of the slot's block table
};

struct PrefillChunk {
  int32_t slot = 0;
  int64_t first_position = 0;
  std::vector<int32_t> tokens;
  bool sample = false;  // the chunk ends the known tokens: its last row is sampled
  // Rows of the chunk that tell the log-probability of the token after them.
  int64_t logprob_row_begin = 0;
  int64_t logprob_row_end = 0;
  std::optional<int32_t> next_token;  // that follows the chunk, when its last row is among those
};

// Applied in this order: releases, admits, block updates; then the rows are computed, the prefill
// chunks in order and then one decode row for each slot of `decodes` in order.
struct StepPlan {
  uint64_t step = 0;
  std::vector<int32_t> releases;
  std::vector<Admit> admits;
  std::vector<BlockUpdate> blocks;
  std::vector<PrefillChunk> prefills;
  std::vector<int32_t> decodes;

  int64_t rows() const {
    auto rows = static_cast<int64_t>(decodes.size());
    for (const PrefillChunk& chunk : prefills) rows += static_cast<int64_t>(chunk.tokens.size());
    return rows;
  }
};

}  // namespace octet::schedule
