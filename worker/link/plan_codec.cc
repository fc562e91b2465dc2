#include "worker/link/plan_codec.h"

namespace octet::worker {
namespace {

Admit DecodeAdmit(const v1::Admit& wire) {
  const v1::Sampling& s = wire.sampling();
  Admit admit{.slot = wire.slot(),
              .sampling = {.temperature = s.temperature(),
                           .top_k = s.top_k(),
                           .top_p = s.top_p(),
                           .min_p = s.min_p(),
                           .seed = s.seed(),
                           .sample_index = s.sample_index()},
              .adjustments = {.repetition_penalty = s.repetition_penalty(),
                              .presence_penalty = s.presence_penalty(),
                              .frequency_penalty = s.frequency_penalty(),
                              .logit_bias = {},
                              .min_tokens = s.min_tokens(),
                              .end_ids = {s.end_ids().begin(), s.end_ids().end()}},
              .logprobs = s.logprobs(),
              .prompt_logprobs = s.prompt_logprobs(),
              .prompt_tokens = wire.prompt_tokens(),
              .cached_tokens = wire.cached_tokens(),
              .cached_token_ids = {wire.cached_token_ids().begin(), wire.cached_token_ids().end()}};
  for (const v1::TokenBias& entry : s.logit_bias()) {
    admit.adjustments.logit_bias.push_back({.token = entry.token(), .bias = entry.bias()});
  }
  return admit;
}

PrefillChunk DecodeChunk(const v1::PrefillChunk& wire) {
  PrefillChunk chunk{.slot = wire.slot(),
                     .first_position = wire.first_position(),
                     .tokens = {wire.tokens().begin(), wire.tokens().end()},
                     .sample = wire.sample(),
                     .logprob_row_begin = wire.logprob_row_begin(),
                     .logprob_row_end = wire.logprob_row_end(),
                     .next_token = std::nullopt};
  if (wire.has_next_token()) chunk.next_token = wire.next_token();
  return chunk;
}

void EncodeRow(const RowLogprobs& row, v1::RowLogprobs* wire) {
  wire->set_logprob(row.logprob);
  const auto* tokens = row.top_tokens.data();
  const auto* logprobs = row.top_logprobs.data();
  wire->mutable_top_tokens()->Add(tokens, tokens + row.top_count);
  wire->mutable_top_logprobs()->Add(logprobs, logprobs + row.top_count);
}

}  // namespace

Result<StepPlan> DecodePlan(const std::string& serialized) {
  v1::StepPlan wire;
  if (!wire.ParseFromString(serialized)) {
    return DataLoss("a step plan of " + std::to_string(serialized.size()) +
                    " bytes does not parse as octet.v1.StepPlan");
  }
  StepPlan plan;
  plan.step = wire.step();
  plan.release_slots.assign(wire.release_slots().begin(), wire.release_slots().end());
  for (const v1::Admit& admit : wire.admits()) plan.admits.push_back(DecodeAdmit(admit));
  for (const v1::BlockUpdate& update : wire.blocks()) {
    plan.blocks.push_back(
        {.slot = update.slot(),
         .appended_blocks = {update.appended_blocks().begin(), update.appended_blocks().end()}});
  }
  for (const v1::PrefillChunk& chunk : wire.prefills()) {
    plan.prefills.push_back(DecodeChunk(chunk));
  }
  plan.decode_slots.assign(wire.decode_slots().begin(), wire.decode_slots().end());
  return plan;
}

v1::StepResult EncodeResult(const StepResult& result, int64_t compute_us) {
  v1::StepResult wire;
  wire.set_step(result.step);
  wire.mutable_slots()->Add(result.slots.begin(), result.slots.end());
  wire.mutable_tokens()->Add(result.tokens.begin(), result.tokens.end());
  wire.set_compute_us(compute_us);
  for (const RowLogprobs& row : result.logprobs) EncodeRow(row, wire.add_logprobs());
  for (const PromptLogprobs& prompt : result.prompt_logprobs) {
    v1::PromptLogprobs* to = wire.add_prompt_logprobs();
    to->set_slot(prompt.slot);
    to->set_first_position(prompt.first_position);
    for (int64_t i = 0; i < prompt.row_count; ++i) {
      EncodeRow(result.prompt_rows[prompt.row_begin + i], to->add_tokens());
    }
  }
  return wire;
}

}  // namespace octet::worker
