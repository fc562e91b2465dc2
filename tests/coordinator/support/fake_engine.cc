#include "tests/coordinator/support/fake_engine.h"

#include "base/check.h"

namespace octet::fakes {

int32_t FakeNextToken(std::span<const int32_t> tokens, const v1::Sampling& sampling) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto mix = [&hash](uint64_t value) { hash = (hash ^ value) * 0x100000001b3u; };
  if (sampling.temperature() > 0) mix(sampling.seed());
  for (const int32_t token : tokens) mix(static_cast<uint64_t>(token) + 1);
  return static_cast<int32_t>((hash >> 32) % 256);
}

std::vector<int32_t> FakeAnswer(std::vector<int32_t> prompt, int64_t count, uint64_t seed,
                                float temperature) {
  v1::Sampling sampling;
  sampling.set_seed(seed);
  sampling.set_temperature(temperature);
  std::vector<int32_t> answer;
  for (int64_t i = 0; i < count; ++i) {
    answer.push_back(FakeNextToken(prompt, sampling));
    prompt.push_back(answer.back());
  }
  return answer;
}

void FakeEngine::Release(int32_t slot) {
  const auto released = slots_.extract(slot);
  OCTET_CHECK(!released.empty());
  for (const int32_t block : released.mapped().blocks) blocks_in_use_.erase(block);
}

void FakeEngine::Sample(int32_t slot, v1::StepResult* result) {
  Slot& state = slots_.at(slot);
  const int32_t token = FakeNextToken(state.tokens, state.sampling);
  state.tokens.push_back(token);
  result->add_slots(slot);
  result->add_tokens(token);
}

v1::StepResult FakeEngine::Apply(const v1::StepPlan& plan) {
  if (steps_ != 0) OCTET_CHECK_EQ(plan.step(), steps_ + 1);
  steps_ = plan.step();
  for (const int32_t slot : plan.release_slots()) Release(slot);
  for (const v1::Admit& admit : plan.admits()) {
    OCTET_CHECK(!slots_.contains(admit.slot()));
    slots_[admit.slot()].sampling = admit.sampling();
  }
  for (const v1::BlockUpdate& update : plan.blocks()) {
    for (const int32_t block : update.appended_blocks()) {
      OCTET_CHECK(blocks_in_use_.insert(block).second);
      slots_.at(update.slot()).blocks.push_back(block);
    }
  }
  v1::StepResult result;
  result.set_step(plan.step());
  for (const v1::PrefillChunk& chunk : plan.prefills()) {
    Slot& slot = slots_.at(chunk.slot());
    OCTET_CHECK_EQ(chunk.first_position(), static_cast<int64_t>(slot.tokens.size()));
    slot.tokens.insert(slot.tokens.end(), chunk.tokens().begin(), chunk.tokens().end());
    OCTET_CHECK_LE(static_cast<int64_t>(slot.tokens.size()),
                   static_cast<int64_t>(slot.blocks.size()) * block_tokens_);
    if (chunk.sample()) Sample(chunk.slot(), &result);
  }
  for (const int32_t slot : plan.decode_slots()) {
    // The row of the last token needs a place in the cache.
    OCTET_CHECK_LE(static_cast<int64_t>(slots_.at(slot).tokens.size()),
                   static_cast<int64_t>(slots_.at(slot).blocks.size()) * block_tokens_);
    Sample(slot, &result);
  }
  return result;
}

}  // namespace octet::fakes
