#include "coordinator/intake/request.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

namespace octet::intake {
namespace {

std::string ToText(float value) {
  if (!std::isfinite(value)) return "not a finite number";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  return {text, end};
}

Status CheckSampling(const Request& request) {
  if (request.temperature.has_value()) {
    const float t = *request.temperature;
    if (!(t == 0.0f || (t >= kTemperatureMin && t <= kTemperatureMax)))
      return InvalidArgument("temperature is " + ToText(t) + "; it must be 0 (greedy) or between " +
                             ToText(kTemperatureMin) + " and " + ToText(kTemperatureMax));
  }
  if (request.top_p.has_value() && !(*request.top_p > 0.0f && *request.top_p <= 1.0f))
    return InvalidArgument("top_p is " + ToText(*request.top_p) +
                           "; it must be above 0 and at most 1 (off)");
  if (request.top_k.has_value() && *request.top_k < -1)
    return InvalidArgument("top_k is " + std::to_string(*request.top_k) +
                           "; it must be at least 1, or 0 or -1 (off)");
  if (request.min_p.has_value() && !(*request.min_p >= 0.0f && *request.min_p < 1.0f))
    return InvalidArgument("min_p is " + ToText(*request.min_p) +
                           "; it must be at least 0 (off) and below 1");
  if (request.max_tokens.has_value() && *request.max_tokens < 1)
    return InvalidArgument("max_tokens is " + std::to_string(*request.max_tokens) +
                           "; it must be at least 1");
  return {};
}

Status CheckIds(std::string_view field, const std::vector<int32_t>& ids, int64_t vocab) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab)
      return InvalidArgument(std::string(field) + "[" + std::to_string(i) + "] is " +
                             std::to_string(ids[i]) + "; the model's tokens are 0 to " +
                             std::to_string(vocab - 1));
  }
  return {};
}

}  // namespace

Status CheckRequest(const Request& request, const IntakeLimits& limits, const ModelLimits& model) {
  if (static_cast<int64_t>(request.request_id.size()) > kRequestIdBytesMax)
    return InvalidArgument("request_id has " + std::to_string(request.request_id.size()) +
                           " bytes; the limit is " + std::to_string(kRequestIdBytesMax));
  OCTET_RETURN_IF_ERROR(CheckSampling(request));
  if (static_cast<int64_t>(request.stop_token_ids.size()) > kStopTokenIdsMax)
    return InvalidArgument("stop_token_ids has " + std::to_string(request.stop_token_ids.size()) +
                           " entries; the limit is " + std::to_string(kStopTokenIdsMax));
  OCTET_RETURN_IF_ERROR(CheckIds("stop_token_ids", request.stop_token_ids, model.vocab));

  if (const auto* text = std::get_if<std::string>(&request.prompt)) {
    if (static_cast<int64_t>(text->size()) > limits.prompt_bytes_max)
      return InvalidArgument("text has " + std::to_string(text->size()) + " bytes; the limit is " +
                             std::to_string(limits.prompt_bytes_max));
    return {};
  }
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&request.prompt)) {
    // Before the ids are looked at one by one: a list beyond the context is wrong whatever it
    // holds.
    if (static_cast<int64_t>(ids->size()) >= model.context)
      return InvalidArgument("token_ids has " + std::to_string(ids->size()) +
                             " tokens; the context of " + std::to_string(model.context) +
                             " leaves room for at most " + std::to_string(model.context - 1));
    return CheckIds("token_ids", *ids, model.vocab);
  }
  return InvalidArgument("prompt is missing; it must be one of text and token_ids");
}

Result<schedule::NewSequence> MakeSequence(const Request& request, uint64_t id,
                                           std::vector<int32_t> prompt, uint64_t random_seed,
                                           const ModelLimits& model) {
  const auto prompt_tokens = static_cast<int64_t>(prompt.size());
  if (prompt_tokens == 0) return InvalidArgument("prompt has 0 tokens; it must have at least 1");
  const int64_t room = model.context - prompt_tokens;
  if (room < 1)
    return InvalidArgument("prompt has " + std::to_string(prompt_tokens) +
                           " tokens; the context of " + std::to_string(model.context) +
                           " leaves room for at most " + std::to_string(model.context - 1));
  // The tokenizer may know more tokens than the model has.
  OCTET_RETURN_IF_ERROR(CheckIds("prompt", prompt, model.vocab));
  if (request.max_tokens.value_or(1) > room)
    return InvalidArgument("max_tokens is " + std::to_string(*request.max_tokens) +
                           "; a prompt of " + std::to_string(prompt_tokens) + " tokens leaves " +
                           std::to_string(room) + " of the context of " +
                           std::to_string(model.context));

  schedule::NewSequence sequence;
  sequence.id = id;
  sequence.prompt = std::move(prompt);
  sequence.prompt_tokens = prompt_tokens;
  sequence.max_tokens = request.max_tokens.value_or(room);
  sequence.sampling.temperature = request.temperature.value_or(1.0f);
  sequence.sampling.top_k = request.top_k.value_or(0) > 0 ? *request.top_k : 0;
  sequence.sampling.top_p = request.top_p.value_or(1.0f);
  sequence.sampling.min_p = request.min_p.value_or(0.0f);
  sequence.sampling.seed = request.seed.value_or(random_seed);
  if (!request.ignore_eos) sequence.stop_tokens = model.eos_ids;
  sequence.stop_tokens.insert(sequence.stop_tokens.end(), request.stop_token_ids.begin(),
                              request.stop_token_ids.end());
  return sequence;
}

}  // namespace octet::intake
