// What a client asks, as plain values, before and after it is checked. Transport fills Request from
// its own wire format; CheckRequest turns it into what the scheduler takes. Knows nothing of gRPC,
// HTTP and threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::intake {

// Named limits on what one request may ask. The ones that depend on the model are in ModelLimits.
inline constexpr int64_t kRequestIdBytesMax = 128;
inline constexpr int64_t kStopTokenIdsMax = 256;
inline constexpr float kTemperatureMin = 0.001f;  // of those that are not 0
inline constexpr float kTemperatureMax = 100.0f;

struct IntakeLimits {
  // Accepted requests that may wait on top of those that run.
  int64_t waiting_max = 256;
  int64_t prompt_bytes_max = int64_t{1} << 20;
};

struct ModelLimits {
  int64_t vocab = 0;
  int64_t context = 0;  // prompt and answer together
  int64_t slots = 0;    // sequences that run at once
  std::vector<int32_t> eos_ids;
};

// An unset field means the default that proto/octet/v1/generation.proto states.
struct Request {
  std::string request_id;
  std::variant<std::monostate, std::string, std::vector<int32_t>> prompt;  // none, text, token ids
  bool add_special_tokens = true;
  bool parse_special_tokens = true;
  bool skip_special_tokens = true;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<uint64_t> seed;
  std::optional<int64_t> max_tokens;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
};

// The checks that need no tokens: cheap, done before a request takes a place in the queue.
Status CheckRequest(const Request& request, const IntakeLimits& limits, const ModelLimits& model);

// The checks that need the tokens, and what the scheduler takes. `random_seed` is used when the
// request names none. REQUIRES: CheckRequest was ok.
Result<schedule::NewSequence> MakeSequence(const Request& request, uint64_t id,
                                           std::vector<int32_t> prompt, uint64_t random_seed,
                                           const ModelLimits& model);

}  // namespace octet::intake
