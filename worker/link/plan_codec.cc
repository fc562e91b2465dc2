#include "worker/link/plan_codec.h"

namespace octet::worker {

Result<StepPlan> DecodePlan(const std::string& serialized) {
  v1::StepPlan wire;
  if (!wire.ParseFromString(serialized)) {
    return DataLoss("a step plan of " + std::to_string(serialized.size()) +
                    " bytes does not parse as octet.v1.StepPlan");
  }
  StepPlan plan;
  plan.step = wire.step();
  plan.release_slots.assign(wire.release_slots().begin(), wire.release_slots().end());
  for (const v1::Admit& admit : wire.admits()) {
    const v1::Sampling& s = admit.sampling();
    plan.admits.push_back({.slot = admit.slot(),
                           .sampling = {.temperature = s.temperature(),
                                        .top_k = s.top_k(),
                                        .top_p = s.top_p(),
                                        .min_p = s.min_p(),
                                        .seed = s.seed(),
                                        .sample_index = s.sample_index()},
                           .prompt_tokens = admit.prompt_tokens()});
  }
  for (const v1::BlockUpdate& update : wire.blocks()) {
    plan.blocks.push_back(
        {.slot = update.slot(),
         .appended_blocks = {update.appended_blocks().begin(), update.appended_blocks().end()}});
  }
  for (const v1::PrefillChunk& chunk : wire.prefills()) {
    plan.prefills.push_back({.slot = chunk.slot(),
                             .first_position = chunk.first_position(),
                             .tokens = {chunk.tokens().begin(), chunk.tokens().end()},
                             .sample = chunk.sample()});
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
  return wire;
}

}  // namespace octet::worker
