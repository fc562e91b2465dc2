#include "coordinator/workers/plan_message.h"

namespace octet::workers {
namespace {

void SetSampling(const schedule::SamplingSpec& from, v1::Sampling* to) {
  to->set_temperature(from.temperature);
  to->set_top_k(from.top_k);
  to->set_top_p(from.top_p);
  to->set_min_p(from.min_p);
  to->set_seed(from.seed);
  to->set_sample_index(from.sample_index);
  to->set_repetition_penalty(from.repetition_penalty);
  to->set_presence_penalty(from.presence_penalty);
  to->set_frequency_penalty(from.frequency_penalty);
  for (const schedule::TokenBias& bias : from.logit_bias) {
    v1::TokenBias* entry = to->add_logit_bias();
    entry->set_token(bias.token);
    entry->set_bias(bias.bias);
  }
  to->set_min_tokens(from.min_tokens);
  to->mutable_end_ids()->Add(from.end_tokens.begin(), from.end_tokens.end());
  to->set_logprobs(from.logprobs);
  to->set_prompt_logprobs(from.prompt_logprobs);
}

schedule::TokenLogprobs ToValue(const v1::RowLogprobs& message) {
  return {message.logprob(),
          {message.top_tokens().begin(), message.top_tokens().end()},
          {message.top_logprobs().begin(), message.top_logprobs().end()}};
}

}  // namespace

v1::StepPlan ToMessage(const schedule::StepPlan& plan) {
  v1::StepPlan out;
  out.set_step(plan.step);
  out.mutable_release_slots()->Add(plan.releases.begin(), plan.releases.end());
  for (const schedule::Admit& admit : plan.admits) {
    v1::Admit* to = out.add_admits();
    to->set_slot(admit.slot);
    to->set_prompt_tokens(admit.prompt_tokens);
    to->set_cached_tokens(admit.cached_tokens);
    to->mutable_cached_token_ids()->Add(admit.cached_token_ids.begin(),
                                        admit.cached_token_ids.end());
    SetSampling(admit.sampling, to->mutable_sampling());
  }
  for (const schedule::BlockUpdate& update : plan.blocks) {
    v1::BlockUpdate* to = out.add_blocks();
    to->set_slot(update.slot);
    to->mutable_appended_blocks()->Add(update.appended.begin(), update.appended.end());
  }
  for (const schedule::PrefillChunk& chunk : plan.prefills) {
    v1::PrefillChunk* to = out.add_prefills();
    to->set_slot(chunk.slot);
    to->set_first_position(chunk.first_position);
    to->mutable_tokens()->Add(chunk.tokens.begin(), chunk.tokens.end());
    to->set_sample(chunk.sample);
    to->set_logprob_row_begin(chunk.logprob_row_begin);
    to->set_logprob_row_end(chunk.logprob_row_end);
    if (chunk.next_token.has_value()) to->set_next_token(*chunk.next_token);
  }
  out.mutable_decode_slots()->Add(plan.decodes.begin(), plan.decodes.end());
  return out;
}

schedule::StepResult ToValue(const v1::StepResult& message) {
  schedule::StepResult result;
  result.step = message.step();
  result.slots.assign(message.slots().begin(), message.slots().end());
  result.tokens.assign(message.tokens().begin(), message.tokens().end());
  for (const v1::RowLogprobs& logprobs : message.logprobs())
    result.logprobs.push_back(ToValue(logprobs));
  for (const v1::PromptLogprobs& prompt : message.prompt_logprobs()) {
    schedule::PromptLogprobs& to = result.prompt_logprobs.emplace_back();
    to.slot = prompt.slot();
    to.first_position = prompt.first_position();
    for (const v1::RowLogprobs& logprobs : prompt.tokens()) to.tokens.push_back(ToValue(logprobs));
  }
  result.compute_us = message.compute_us();
  return result;
}

}  // namespace octet::workers
