// What a client asks, as plain values, before and after it is checked. Transport fills Request from
// its own wire format; CheckRequest and MakeSequences turn it into what the scheduler takes. Knows
// nothing of gRPC, HTTP and threads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "coordinator/intake/chat.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::intake {

// Named limits on what one request may ask. The ones that depend on the model are in ModelLimits.
inline constexpr int64_t kRequestIdBytesMax = 128;
inline constexpr int32_t kSamplesMax = 128;
inline constexpr int64_t kStopTokenIdsMax = 256;
inline constexpr int64_t kStopStringsMax = 16;
inline constexpr int64_t kStopStringBytesMax = 256;
inline constexpr int64_t kLogitBiasesMax = 512;
inline constexpr float kLogitBiasMax = 100.0f;  // up and down
inline constexpr int32_t kLogprobsMax = 20;
inline constexpr int32_t kPriorityMax = 100;      // up and down
inline constexpr float kTemperatureMin = 0.001f;  // of those that are not 0
inline constexpr float kTemperatureMax = 100.0f;
inline constexpr float kRepetitionPenaltyMax = 2.0f;
inline constexpr float kPenaltyMax = 2.0f;  // presence and frequency, up and down

struct IntakeLimits {
  // Sequences of accepted requests that may wait on top of those that run. A request has n.
  int64_t waiting_max = 256;
  int64_t prompt_bytes_max = int64_t{1} << 20;
};

struct ModelLimits {
  int64_t vocab = 0;
  int64_t context = 0;  // prompt and answer together
  int64_t slots = 0;    // sequences that run at once
  std::vector<int32_t> eos_ids;
};

// None, text, token ids, messages.
using Prompt = std::variant<std::monostate, std::string, std::vector<int32_t>, ChatRequest>;

// An unset field means the default that proto/octet/v1/generation.proto states.
struct Request {
  std::string request_id;
  Prompt prompt;
  bool add_special_tokens = true;
  bool parse_special_tokens = true;
  bool skip_special_tokens = true;
  bool echo = false;
  std::optional<int32_t> priority;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<uint64_t> seed;
  std::optional<int64_t> max_tokens;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::map<int32_t, float> logit_bias;  // by token: the ranks get it in one order always
  std::optional<int64_t> min_tokens;
  std::vector<std::string> stop;
  bool include_stop_str_in_output = false;
  std::optional<int32_t> n;
  std::optional<int32_t> logprobs;
  std::optional<int32_t> prompt_logprobs;
  // Entries beyond their limit need not be copied to be refused: so many were not.
  int64_t stop_left_out = 0;
  int64_t logit_bias_left_out = 0;
};

// Of the text that is tokenized; token ids are none.
int64_t PromptBytes(const Prompt& prompt);

// What a prompt must be before it is tokenized, whatever the model: its bytes are within their
// limit.
Status CheckPromptSize(const Prompt& prompt, const IntakeLimits& limits);

// The checks that need no tokens: cheap, done before a request takes a place in the queue.
Status CheckRequest(const Request& request, const IntakeLimits& limits, const ModelLimits& model);

// The checks that need the tokens, and what the scheduler takes: one sequence for each of the n
// samples, with the ids first_id, first_id + 1, ... `random_seed` is used when the request names
// none. Log-probabilities of the prompt are asked of the first sample alone. REQUIRES: CheckRequest
// was ok.
Result<std::vector<schedule::NewSequence>> MakeSequences(const Request& request, uint64_t first_id,
                                                         std::vector<int32_t> prompt,
                                                         uint64_t random_seed,
                                                         const ModelLimits& model);

}  // namespace octet::intake
