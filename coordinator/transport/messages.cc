#include "coordinator/transport/messages.h"

#include <algorithm>
#include <utility>

#include "base/build_id.h"

namespace octet::transport {
namespace {

// Of entries that are few bytes on the wire and many in our values, no more are copied than may be.
// Returns how many were left out.
int64_t LeftOut(int count, int64_t max) { return std::max<int64_t>(count - max, 0); }

intake::ChatRequest ToChat(const v1::ChatMessages& message) {
  intake::ChatRequest chat;
  chat.messages_left_out = LeftOut(message.messages_size(), intake::kChatMessagesMax);
  for (const v1::ChatMessage& from : message.messages()) {
    if (static_cast<int64_t>(chat.messages.size()) == intake::kChatMessagesMax) break;
    intake::ChatMessage& to = chat.messages.emplace_back();
    to.role = from.role();
    to.content = from.content();
    if (from.has_name()) to.name = from.name();
    if (from.has_tool_call_id()) to.tool_call_id = from.tool_call_id();
    to.tool_calls_json = from.tool_calls_json();
  }
  chat.tools_json = message.tools_json();
  if (message.has_add_generation_prompt())
    chat.add_generation_prompt = message.add_generation_prompt();
  chat.template_variables_json = message.template_variables_json();
  return chat;
}

void SetSampling(const v1::SamplingParams& from, intake::Request* to) {
  if (from.has_temperature()) to->temperature = from.temperature();
  if (from.has_top_p()) to->top_p = from.top_p();
  if (from.has_top_k()) to->top_k = from.top_k();
  if (from.has_min_p()) to->min_p = from.min_p();
  if (from.has_seed()) to->seed = from.seed();
  if (from.has_max_tokens()) to->max_tokens = from.max_tokens();
  to->stop_token_ids.assign(from.stop_token_ids().begin(), from.stop_token_ids().end());
  to->ignore_eos = from.ignore_eos();
  if (from.has_repetition_penalty()) to->repetition_penalty = from.repetition_penalty();
  if (from.has_presence_penalty()) to->presence_penalty = from.presence_penalty();
  if (from.has_frequency_penalty()) to->frequency_penalty = from.frequency_penalty();
  to->logit_bias_left_out =
      LeftOut(static_cast<int>(from.logit_bias_size()), intake::kLogitBiasesMax);
  for (const auto& [token, bias] : from.logit_bias()) {
    if (static_cast<int64_t>(to->logit_bias.size()) == intake::kLogitBiasesMax) break;
    to->logit_bias.emplace(token, bias);
  }
  if (from.has_min_tokens()) to->min_tokens = from.min_tokens();
  to->stop_left_out = LeftOut(from.stop_size(), intake::kStopStringsMax);
  to->stop.assign(from.stop().begin(), from.stop().end() - to->stop_left_out);
  to->include_stop_str_in_output = from.include_stop_str_in_output();
  if (from.has_n()) to->n = from.n();
  if (from.has_logprobs()) to->logprobs = from.logprobs();
  if (from.has_prompt_logprobs()) to->prompt_logprobs = from.prompt_logprobs();
}

// Returns about how many bytes of memory it takes.
int64_t SetLogprobs(const schedule::TokenLogprobs& from, v1::TokenLogprobs* to) {
  to->set_logprob(from.logprob);
  to->mutable_top_tokens()->Add(from.top_tokens.begin(), from.top_tokens.end());
  to->mutable_top_logprobs()->Add(from.top_logprobs.begin(), from.top_logprobs.end());
  return static_cast<int64_t>(sizeof(*to) + from.top_tokens.size() * sizeof(int32_t) +
                              from.top_logprobs.size() * sizeof(float));
}

}  // namespace

intake::Request ToRequest(const v1::GenerateRequest& message) {
  intake::Request request;
  request.request_id = message.request_id();
  if (message.has_text()) request.prompt = message.text();
  if (message.has_token_ids())
    request.prompt =
        std::vector<int32_t>(message.token_ids().ids().begin(), message.token_ids().ids().end());
  if (message.has_chat()) request.prompt = ToChat(message.chat());
  if (message.has_add_special_tokens()) request.add_special_tokens = message.add_special_tokens();
  if (message.has_parse_special_tokens())
    request.parse_special_tokens = message.parse_special_tokens();
  if (message.has_skip_special_tokens())
    request.skip_special_tokens = message.skip_special_tokens();
  request.echo = message.echo();
  if (message.has_priority()) request.priority = message.priority();
  SetSampling(message.sampling_params(), &request);
  return request;
}

intake::Prompt ToPrompt(const v1::TokenizeRequest& message) {
  if (message.has_chat()) return ToChat(message.chat());
  return message.text();  // none at all is the empty text
}

void SetAccepted(const intake::AcceptedAnswer& from, v1::GenerateResponse::Accepted* to) {
  to->set_request_id(from.request_id);
  to->set_seed(from.seed);
  to->set_prompt_tokens(from.prompt_tokens);
  to->set_max_tokens(from.max_tokens);
}

int64_t AppendTokens(const intake::PromptPiece& piece, int64_t begin, int64_t end,
                     v1::GenerateResponse::Prompt* to) {
  if (to->token_ids_size() == 0) to->set_first_position(piece.first_position + begin);
  to->mutable_token_ids()->Add(piece.tokens.begin() + begin, piece.tokens.begin() + end);
  auto bytes = (end - begin) * static_cast<int64_t>(sizeof(int32_t));
  if (begin == 0) {
    to->mutable_text()->append(piece.text);
    bytes += static_cast<int64_t>(piece.text.size());
  }
  if (piece.logprobs.empty()) return bytes;
  for (int64_t i = begin; i < end; ++i)
    bytes += SetLogprobs(piece.logprobs[static_cast<size_t>(i)], to->add_logprobs());
  return bytes;
}

int64_t Append(const intake::AnswerChunk& chunk, v1::GenerateResponse::Chunk* to) {
  if (to->token_ids_size() == 0) {
    to->set_first_position(chunk.position);
    to->set_index(chunk.sample);
  }
  to->add_token_ids(chunk.token);
  to->mutable_text()->append(chunk.text);
  const auto bytes = static_cast<int64_t>(sizeof(int32_t) + chunk.text.size());
  if (!chunk.logprobs.has_value()) return bytes;
  return bytes + SetLogprobs(*chunk.logprobs, to->add_logprobs());
}

void SetComplete(const intake::SampleEnd& from, v1::GenerateResponse::Complete* to) {
  to->set_index(from.sample);
  to->set_finish_reason(v1::FINISH_REASON_LENGTH);
  if (from.stop_token.has_value()) to->set_stop_token_id(*from.stop_token);
  if (from.stop_string.has_value()) to->set_stop_string(*from.stop_string);
  if (to->stop_reason_case() != v1::GenerateResponse::Complete::STOP_REASON_NOT_SET)
    to->set_finish_reason(v1::FINISH_REASON_STOP);
  to->mutable_usage()->set_prompt_tokens(from.prompt_tokens);
  to->mutable_usage()->set_completion_tokens(from.completion_tokens);
  to->mutable_usage()->set_cached_tokens(from.cached_tokens);
}

v1::GetStatsResponse ToMessage(const ServiceStats& stats) {
  v1::GetStatsResponse out;
  out.set_serving(stats.serving);
  out.set_uptime_seconds(stats.uptime_seconds);
  out.set_requests_waiting(stats.loop.scheduler.waiting);
  out.set_requests_running(stats.loop.scheduler.running);
  out.set_kv_blocks(stats.kv_blocks);
  out.set_kv_blocks_used(stats.loop.scheduler.used_blocks);
  out.set_kv_blocks_cached(stats.loop.scheduler.reusable_blocks);
  out.set_prompt_tokens_per_second(stats.loop.prompt_tokens_per_second);
  out.set_generated_tokens_per_second(stats.loop.generated_tokens_per_second);
  out.set_rate_seconds(stats.loop.rate_seconds);
  out.set_prompt_tokens(stats.loop.scheduler.prompt_tokens);
  out.set_generated_tokens(stats.loop.scheduler.generated_tokens);
  out.set_steps(stats.loop.scheduler.steps);
  out.set_preemptions(stats.loop.scheduler.preemptions);
  out.set_prefix_queried_tokens(stats.loop.scheduler.prefix_queried_tokens);
  out.set_prefix_hit_tokens(stats.loop.scheduler.prefix_hit_tokens);
  out.set_requests_completed(stats.loop.requests_completed);
  out.set_requests_failed(stats.loop.requests_failed);
  out.set_requests_cancelled(stats.loop.requests_cancelled);
  for (const workers::RankStats& rank : stats.group.ranks) {
    v1::StatsOfRank* to = out.add_ranks();
    to->set_rank(rank.rank);
    to->set_steps(rank.steps);
    to->set_step_ms(rank.step_ms);
    to->set_collective_ms(rank.collective_ms);
    to->set_sampling_ms(rank.sampling_ms);
    to->set_heartbeat_age_seconds(rank.heartbeat_age_seconds);
    to->set_loaded(rank.loaded);
    to->set_slowest_step_ms(rank.slowest_step_ms);
  }
  out.set_groups_lost(stats.group.groups_lost);
  out.set_last_loss(stats.group.last_loss);
  if (stats.group.last_recovery.has_value()) {
    const workers::RecoveryTimes& times = *stats.group.last_recovery;
    v1::RecoveryTimes* to = out.mutable_last_recovery();
    to->set_total_seconds(times.total_seconds);
    to->set_end_seconds(times.end_seconds);
    to->set_wait_seconds(times.wait_seconds);
    to->set_hello_seconds(times.hello_seconds);
    to->set_load_seconds(times.load_seconds);
    to->set_first_step_seconds(times.first_step_seconds);
  }
  return out;
}

v1::GetModelResponse ToMessage(const workers::GroupInfo& info, const std::string& served_name) {
  v1::GetModelResponse out;
  out.set_name(served_name);
  out.set_architecture(info.architecture);
  out.set_vocab_size(info.vocab);
  out.set_max_model_len(info.context);
  out.mutable_eos_token_ids()->Add(info.eos_ids.begin(), info.eos_ids.end());
  if (info.bos_id >= 0) out.set_bos_token_id(info.bos_id);
  out.set_tensor_parallel_size(info.ranks);
  out.set_weights(info.weights);
  out.set_kv_cache(info.kv);
  out.set_activations(info.activations);
  out.set_instruction_set(info.isa);
  out.set_kv_blocks(info.kv_blocks);
  out.set_block_tokens(info.block_tokens);
  out.set_max_num_seqs(info.slots);
  for (const workers::RankMemory& memory : info.memory) {
    v1::MemoryOfRank* to = out.add_memory();
    to->set_rank(memory.rank);
    to->set_weight_bytes(memory.weight_bytes);
    to->set_kv_bytes(memory.kv_bytes);
    to->set_activation_bytes(memory.activation_bytes);
    to->set_communication_bytes(memory.communication_bytes);
  }
  out.set_version(std::string(Version()));
  out.set_build_id(info.build_id);
  return out;
}

grpc::Status ToGrpc(const Status& status) {
  // A message travels in a header, and headers have a limit of 8 KiB in all.
  constexpr size_t kMessageBytesMax = 2048;
  const std::string& message = status.message();
  size_t bytes = std::min(message.size(), kMessageBytesMax);
  // Between characters: some clients end a call whose message is not UTF-8.
  while (bytes < message.size() && bytes > 0 && (message[bytes] & 0xC0) == 0x80) --bytes;
  return {static_cast<grpc::StatusCode>(status.code()), message.substr(0, bytes)};
}

}  // namespace octet::transport
