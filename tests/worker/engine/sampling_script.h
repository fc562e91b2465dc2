// Requests with everything that sampling knows, and plans that run them in a batch: whoever has
// prompt left gets a chunk, whoever has none decodes. What a request was told is its trace.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/engine_group.h"
#include "tests/worker/engine/odd_model.h"

namespace octet::worker::test {

struct Request {
  Admit admit;                  // of its first admission, with its slot
  std::vector<int32_t> prompt;  // tokens known at first
  std::vector<int32_t> blocks;
  int64_t decodes = 0;  // tokens drawn after the one that the prompt's end draws
};

inline constexpr int64_t kBudget = 160;  // rows of a step

// Adds the request's next chunk. Rows that tell log-probabilities are those whose next token is of
// the prompt.
inline int64_t AddChunk(const Request& r, int64_t begin, int64_t rows_max, StepPlan* plan) {
  const auto known = static_cast<int64_t>(r.prompt.size());
  const int64_t end = std::min(known, begin + rows_max);
  PrefillChunk chunk{.slot = r.admit.slot,
                     .first_position = begin,
                     .tokens = {r.prompt.begin() + begin, r.prompt.begin() + end},
                     .sample = end == known,
                     .next_token = std::nullopt};
  if (r.admit.prompt_logprobs >= 0) {
    const int64_t told_end = std::min(end, r.admit.prompt_tokens - 1);
    chunk.logprob_row_end = std::max<int64_t>(told_end - begin, 0);
    if (chunk.logprob_row_end == end - begin) chunk.next_token = r.prompt[end];
  }
  plan->prefills.push_back(chunk);
  return end;
}

// Runs all requests together, prompts in chunks of at most `chunk` tokens.
inline std::vector<StepPlan> Batch(const std::vector<Request>& requests, int64_t chunk) {
  std::vector<StepPlan> plans;
  std::vector<int64_t> done(requests.size());
  std::vector<int64_t> decoded(requests.size(), 0);
  for (bool first = true, busy = true; busy; first = false) {
    StepPlan plan{.step = plans.size() + 1};
    int64_t rows = kBudget - static_cast<int64_t>(requests.size());
    busy = false;
    for (size_t i = 0; i < requests.size(); ++i) {
      const Request& r = requests[i];
      if (first) {
        plan.admits.push_back(r.admit);
        plan.blocks.push_back({.slot = r.admit.slot, .appended_blocks = r.blocks});
        done[i] = r.admit.cached_tokens;
      }
      if (done[i] < static_cast<int64_t>(r.prompt.size())) {
        busy = true;
        if (rows <= 0) continue;
        const int64_t end = AddChunk(r, done[i], std::min(chunk, rows), &plan);
        rows -= end - done[i];
        done[i] = end;
      } else if (decoded[i] < r.decodes) {
        busy = true;
        ++decoded[i];
        plan.decode_slots.push_back(r.admit.slot);
      }
    }
    if (busy) plans.push_back(plan);
  }
  return plans;
}

inline StepPlan ReleaseAll(const std::vector<Request>& requests) {
  StepPlan plan;
  for (const Request& r : requests) plan.release_slots.push_back(r.admit.slot);
  return plan;
}

// What was told of a request, in order.
struct Trace {
  std::vector<int32_t> tokens;
  std::vector<RowLogprobs> logprobs;
  std::vector<int64_t> prompt_positions;
  std::vector<RowLogprobs> prompt;
  bool operator==(const Trace&) const = default;
};

// Of the request in `slot`, from the results of steps in which all of `requests` may run.
inline Trace TraceOf(const std::vector<testing::StepOutput>& outputs,
                     const std::vector<Request>& requests, int32_t slot) {
  const auto tells = [&](int32_t other) {
    return std::any_of(requests.begin(), requests.end(), [&](const Request& r) {
      return r.admit.slot == other && r.admit.logprobs >= 0;
    });
  };
  Trace trace;
  for (const testing::StepOutput& output : outputs) {
    const StepResult& result = output.result;
    size_t told = 0;
    for (size_t i = 0; i < result.slots.size(); ++i) {
      if (result.slots[i] == slot) {
        trace.tokens.push_back(result.tokens[i]);
        if (tells(slot)) trace.logprobs.push_back(result.logprobs.at(told));
      }
      told += tells(result.slots[i]) ? 1 : 0;
    }
    OCTET_CHECK_EQ(told, result.logprobs.size());
    for (const PromptLogprobs& prompt : result.prompt_logprobs) {
      for (int64_t i = 0; prompt.slot == slot && i < prompt.row_count; ++i) {
        trace.prompt_positions.push_back(prompt.first_position + i);
        trace.prompt.push_back(result.prompt_rows[prompt.row_begin + i]);
      }
    }
  }
  return trace;
}

}  // namespace octet::worker::test
