#include "coordinator/workers/plan_message.h"

namespace octet::workers {

v1::StepPlan ToMessage(const schedule::StepPlan& plan) {
  v1::StepPlan out;
  out.set_step(plan.step);
  out.mutable_release_slots()->Add(plan.releases.begin(), plan.releases.end());
  for (const schedule::Admit& admit : plan.admits) {
    v1::Admit* to = out.add_admits();
    to->set_slot(admit.slot);
    to->set_rope_length(admit.rope_length);
    v1::Sampling* sampling = to->mutable_sampling();
    sampling->set_temperature(admit.sampling.temperature);
    sampling->set_top_k(admit.sampling.top_k);
    sampling->set_top_p(admit.sampling.top_p);
    sampling->set_min_p(admit.sampling.min_p);
    sampling->set_seed(admit.sampling.seed);
    sampling->set_sample_index(admit.sampling.sample_index);
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
  }
  out.mutable_decode_slots()->Add(plan.decodes.begin(), plan.decodes.end());
  return out;
}

}  // namespace octet::workers
