#include "coordinator/intake/request.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <type_traits>
#include <utility>

#include "coordinator/tokenizer/utf8.h"

namespace octet::intake {
namespace {

template <typename Number>
std::string ToText(Number value) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(value)) return "not a finite number";
  }
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  return {text, end};
}

template <typename Number>
Status Refuse(std::string_view field, Number found, std::string_view expected) {
  return InvalidArgument(std::string(field) + " is " + ToText(found) + "; it must be " +
                         std::string(expected));
}

// An unset value is fine. NaN is within no bounds.
template <typename Number>
Status CheckWithin(std::string_view field, const std::optional<Number>& value, Number min,
                   Number max) {
  if (!value.has_value() || (*value >= min && *value <= max)) return {};
  return Refuse(field, *value, "between " + ToText(min) + " and " + ToText(max));
}

template <typename Number>
Status CheckAtLeast(std::string_view field, const std::optional<Number>& value, Number min) {
  if (!value.has_value() || *value >= min) return {};
  return Refuse(field, *value, "at least " + ToText(min));
}

Status CheckCount(std::string_view field, size_t count, int64_t max, int64_t left_out = 0) {
  const int64_t entries = static_cast<int64_t>(count) + left_out;
  if (entries <= max) return {};
  return InvalidArgument(std::string(field) + " has " + std::to_string(entries) +
                         " entries; the limit is " + std::to_string(max));
}

Status CheckId(std::string_view field, int32_t id, int64_t vocab) {
  if (id >= 0 && id < vocab) return {};
  return InvalidArgument(std::string(field) + " is " + std::to_string(id) +
                         "; the model's tokens are 0 to " + std::to_string(vocab - 1));
}

Status CheckIds(const std::string& field, const std::vector<int32_t>& ids, int64_t vocab) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab)
      return CheckId(field + "[" + std::to_string(i) + "]", ids[i], vocab);
  }
  return {};
}

Status CheckSampling(const Request& request) {
  if (request.temperature.has_value()) {
    const float t = *request.temperature;
    if (!(t == 0.0f || (t >= kTemperatureMin && t <= kTemperatureMax)))
      return Refuse(
          "temperature", t,
          "0 (greedy) or between " + ToText(kTemperatureMin) + " and " + ToText(kTemperatureMax));
  }
  if (request.top_p.has_value() && !(*request.top_p > 0.0f && *request.top_p <= 1.0f))
    return Refuse("top_p", *request.top_p, "above 0 and at most 1 (off)");
  if (request.top_k.has_value() && *request.top_k < -1)
    return Refuse("top_k", *request.top_k, "at least 1, or 0 or -1 (off)");
  if (request.min_p.has_value() && !(*request.min_p >= 0.0f && *request.min_p < 1.0f))
    return Refuse("min_p", *request.min_p, "at least 0 (off) and below 1");
  if (request.repetition_penalty.has_value() &&
      !(*request.repetition_penalty > 0.0f && *request.repetition_penalty <= kRepetitionPenaltyMax))
    return Refuse("repetition_penalty", *request.repetition_penalty,
                  "above 0 and at most " + ToText(kRepetitionPenaltyMax));
  OCTET_RETURN_IF_ERROR(
      CheckWithin("presence_penalty", request.presence_penalty, -kPenaltyMax, kPenaltyMax));
  OCTET_RETURN_IF_ERROR(
      CheckWithin("frequency_penalty", request.frequency_penalty, -kPenaltyMax, kPenaltyMax));
  OCTET_RETURN_IF_ERROR(CheckWithin("logprobs", request.logprobs, 0, kLogprobsMax));
  return CheckWithin("prompt_logprobs", request.prompt_logprobs, 0, kLogprobsMax);
}

Status CheckLength(const Request& request) {
  OCTET_RETURN_IF_ERROR(CheckAtLeast("max_tokens", request.max_tokens, int64_t{1}));
  OCTET_RETURN_IF_ERROR(CheckAtLeast("min_tokens", request.min_tokens, int64_t{0}));
  if (request.max_tokens.has_value() && request.min_tokens.value_or(0) > *request.max_tokens)
    return Refuse("min_tokens", *request.min_tokens,
                  "at most max_tokens, which is " + ToText(*request.max_tokens));
  return {};
}

Status CheckStops(const Request& request, const ModelLimits& model) {
  OCTET_RETURN_IF_ERROR(
      CheckCount("stop_token_ids", request.stop_token_ids.size(), kStopTokenIdsMax));
  OCTET_RETURN_IF_ERROR(CheckIds("stop_token_ids", request.stop_token_ids, model.vocab));
  OCTET_RETURN_IF_ERROR(
      CheckCount("stop", request.stop.size(), kStopStringsMax, request.stop_left_out));
  for (size_t i = 0; i < request.stop.size(); ++i) {
    const std::string& stop = request.stop[i];
    const std::string field = "stop[" + std::to_string(i) + "]";
    if (stop.empty() || static_cast<int64_t>(stop.size()) > kStopStringBytesMax)
      return InvalidArgument(field + " has " + std::to_string(stop.size()) +
                             " bytes; it must have between 1 and " +
                             std::to_string(kStopStringBytesMax));
    if (const auto offset = tokenizer::InvalidUtf8Offset(stop))
      return InvalidArgument(field + " is not UTF-8, at byte " + std::to_string(*offset) +
                             "; it must be a text");
  }
  return {};
}

Status CheckLogitBias(const Request& request, const ModelLimits& model) {
  OCTET_RETURN_IF_ERROR(CheckCount("logit_bias", request.logit_bias.size(), kLogitBiasesMax,
                                   request.logit_bias_left_out));
  for (const auto& [token, bias] : request.logit_bias) {
    OCTET_RETURN_IF_ERROR(CheckId("a token of logit_bias", token, model.vocab));
    OCTET_RETURN_IF_ERROR(CheckWithin("logit_bias[" + std::to_string(token) + "]",
                                      std::optional<float>(bias), -kLogitBiasMax, kLogitBiasMax));
  }
  return {};
}

Status CheckPrompt(const Prompt& prompt, const IntakeLimits& limits, const ModelLimits& model) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
    // Before the ids are looked at one by one: a list beyond the context is wrong whatever it
    // holds.
    if (static_cast<int64_t>(ids->size()) >= model.context)
      return InvalidArgument("token_ids has " + std::to_string(ids->size()) +
                             " tokens; the context of " + std::to_string(model.context) +
                             " leaves room for at most " + std::to_string(model.context - 1));
    return CheckIds("token_ids", *ids, model.vocab);
  }
  if (std::holds_alternative<std::monostate>(prompt))
    return InvalidArgument("prompt is missing; it must be one of text, token_ids and chat");
  return CheckPromptSize(prompt, limits);
}

// It is written into lines of logs: a line of one's own or a terminal's commands are no names.
Status CheckRequestId(const std::string& id) {
  if (static_cast<int64_t>(id.size()) > kRequestIdBytesMax)
    return InvalidArgument("request_id has " + std::to_string(id.size()) + " bytes; the limit is " +
                           std::to_string(kRequestIdBytesMax));
  for (size_t i = 0; i < id.size(); ++i) {
    const auto byte = static_cast<uint8_t>(id[i]);
    // U+0080 to U+009F are two bytes.
    const bool is_c1 = byte == 0xC2 && i + 1 < id.size() && static_cast<uint8_t>(id[i + 1]) < 0xA0;
    if (byte >= 0x20 && byte != 0x7F && !is_c1) continue;
    constexpr const char* kDigits = "0123456789ABCDEF";
    return InvalidArgument(std::string("request_id has a control character (byte 0x") +
                           kDigits[byte >> 4] + kDigits[byte & 15] + ") at byte " +
                           std::to_string(i) + "; it must have none");
  }
  return {};
}

// What all n samples have in common.
schedule::SamplingSpec MakeSampling(const Request& request, uint64_t random_seed) {
  schedule::SamplingSpec sampling;
  sampling.temperature = request.temperature.value_or(1.0f);
  sampling.top_k = std::max(request.top_k.value_or(0), 0);
  sampling.top_p = request.top_p.value_or(1.0f);
  sampling.min_p = request.min_p.value_or(0.0f);
  sampling.seed = request.seed.value_or(random_seed);
  sampling.repetition_penalty = request.repetition_penalty.value_or(1.0f);
  sampling.presence_penalty = request.presence_penalty.value_or(0.0f);
  sampling.frequency_penalty = request.frequency_penalty.value_or(0.0f);
  for (const auto& [token, bias] : request.logit_bias) sampling.logit_bias.push_back({token, bias});
  sampling.min_tokens = request.min_tokens.value_or(0);
  sampling.logprobs = request.logprobs.value_or(-1);
  sampling.prompt_logprobs = request.prompt_logprobs.value_or(-1);
  return sampling;
}

// The prompt's length and the model's context are known now.
Status CheckRoom(const Request& request, int64_t prompt_tokens, const ModelLimits& model) {
  if (prompt_tokens == 0) return InvalidArgument("prompt has 0 tokens; it must have at least 1");
  const int64_t room = model.context - prompt_tokens;
  if (room < 1)
    return InvalidArgument("prompt has " + std::to_string(prompt_tokens) +
                           " tokens; the context of " + std::to_string(model.context) +
                           " leaves room for at most " + std::to_string(model.context - 1));
  const auto check = [&](const char* field, int64_t tokens) -> Status {
    if (tokens <= room) return {};
    return InvalidArgument(std::string(field) + " is " + std::to_string(tokens) + "; a prompt of " +
                           std::to_string(prompt_tokens) + " tokens leaves " +
                           std::to_string(room) + " of the context of " +
                           std::to_string(model.context));
  };
  OCTET_RETURN_IF_ERROR(check("max_tokens", request.max_tokens.value_or(1)));
  return check("min_tokens", request.min_tokens.value_or(0));
}

}  // namespace

int64_t PromptBytes(const Prompt& prompt) {
  if (const auto* chat = std::get_if<ChatRequest>(&prompt)) return ChatBytes(*chat);
  const auto* text = std::get_if<std::string>(&prompt);
  return text != nullptr ? static_cast<int64_t>(text->size()) : 0;
}

Status CheckPromptSize(const Prompt& prompt, const IntakeLimits& limits) {
  if (const auto* chat = std::get_if<ChatRequest>(&prompt))
    return CheckChat(*chat, limits.prompt_bytes_max);
  const auto* text = std::get_if<std::string>(&prompt);
  if (text == nullptr || static_cast<int64_t>(text->size()) <= limits.prompt_bytes_max) return {};
  return InvalidArgument("text has " + std::to_string(text->size()) + " bytes; the limit is " +
                         std::to_string(limits.prompt_bytes_max));
}

Status CheckRequest(const Request& request, const IntakeLimits& limits, const ModelLimits& model) {
  OCTET_RETURN_IF_ERROR(CheckRequestId(request.request_id));
  OCTET_RETURN_IF_ERROR(CheckWithin("priority", request.priority, -kPriorityMax, kPriorityMax));
  OCTET_RETURN_IF_ERROR(CheckWithin("n", request.n, 1, kSamplesMax));
  // More than could ever be taken is wrong; more than there is room for now is not.
  const int64_t places = limits.waiting_max + model.slots;
  if (request.n.value_or(1) > places)
    return Refuse("n", *request.n, "at most " + ToText(places) + ", the places of the queue");
  OCTET_RETURN_IF_ERROR(CheckSampling(request));
  OCTET_RETURN_IF_ERROR(CheckLength(request));
  OCTET_RETURN_IF_ERROR(CheckStops(request, model));
  OCTET_RETURN_IF_ERROR(CheckLogitBias(request, model));
  return CheckPrompt(request.prompt, limits, model);
}

Result<std::vector<schedule::NewSequence>> MakeSequences(const Request& request, uint64_t first_id,
                                                         std::vector<int32_t> prompt,
                                                         uint64_t random_seed,
                                                         const ModelLimits& model) {
  const auto prompt_tokens = static_cast<int64_t>(prompt.size());
  OCTET_RETURN_IF_ERROR(CheckRoom(request, prompt_tokens, model));
  // The tokenizer may know more tokens than the model has.
  OCTET_RETURN_IF_ERROR(CheckIds("prompt", prompt, model.vocab));

  schedule::NewSequence sequence;
  sequence.id = first_id;
  sequence.prompt = std::move(prompt);
  sequence.prompt_tokens = prompt_tokens;
  sequence.max_tokens = request.max_tokens.value_or(model.context - prompt_tokens);
  sequence.priority = request.priority.value_or(0);
  if (!request.ignore_eos) sequence.stop_tokens = model.eos_ids;
  sequence.stop_tokens.insert(sequence.stop_tokens.end(), request.stop_token_ids.begin(),
                              request.stop_token_ids.end());
  sequence.sampling = MakeSampling(request, random_seed);
  if (sequence.sampling.min_tokens > 0) sequence.sampling.end_tokens = sequence.stop_tokens;

  std::vector<schedule::NewSequence> sequences(static_cast<size_t>(request.n.value_or(1)),
                                               sequence);
  for (size_t i = 1; i < sequences.size(); ++i) {
    sequences[i].id = first_id + i;
    sequences[i].sampling.sample_index = static_cast<uint32_t>(i);
    sequences[i].sampling.prompt_logprobs = -1;
  }
  return sequences;
}

}  // namespace octet::intake
