// What whoever asked is told of a request's answers. A sink is told: accepted (at most once,
// first), pieces of the prompt when asked for, chunks and one completion for each of the n samples,
// then exactly one end, after which it is never touched again. It lives until then: a client that
// goes away sets `cancel_requested`, asks for the cancel, and waits for the end like everyone. All
// calls but OnEnd come from the step loop's thread; none may block.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/step_result.h"

namespace octet::intake {

struct AcceptedAnswer {
  std::string request_id;
  uint64_t seed = 0;
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;
};

struct PromptPiece {
  int64_t first_position = 0;
  std::vector<int32_t> tokens;
  std::string text;  // with echo
  // [tokens] with prompt_logprobs; the one of position 0 says nothing.
  std::vector<schedule::TokenLogprobs> logprobs;
  bool is_last = false;
};

struct AnswerChunk {
  int32_t sample = 0;
  int32_t token = 0;
  int64_t position = 0;  // among the generated tokens
  std::string text;      // whole characters; may be empty
  std::optional<schedule::TokenLogprobs> logprobs;
};

// One of the n samples is complete: no chunk of it follows. It ended by its length unless one of
// the stops is set.
struct SampleEnd {
  int32_t sample = 0;
  std::optional<int32_t> stop_token;
  std::optional<std::string> stop_string;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;
};

class AnswerSink {
 public:
  virtual void OnAccepted(const AcceptedAnswer& accepted) = 0;
  virtual void OnPrompt(const PromptPiece& piece) = 0;
  virtual void OnChunk(const AnswerChunk& chunk) = 0;
  virtual void OnSampleEnd(const SampleEnd& end) = 0;
  // Ok: every sample is complete. Else the answers were cut short.
  virtual void OnEnd(const Status& status) = 0;

  std::atomic<bool> cancel_requested{false};

 protected:
  ~AnswerSink() = default;
};

}  // namespace octet::intake
