#include "worker/engine/token_sampler.h"

#include <algorithm>

#include "base/check.h"

namespace octet::worker {

RowShare ShareOf(const SlotTable::Slot& slot) {
  const bool tells = slot.logprobs >= 0;
  const int32_t candidates = kernels::CandidateCount(slot.sampling);
  return {.logits = RouteOf(slot.sampling) == kernels::SamplingRoute::kLogits,
          .candidates = candidates,
          .tiles = tells,
          .best = std::max(slot.logprobs, 0),
          .raw_logits = tells ? candidates : 0};
}

RowShare PromptShareOf(const SlotTable::Slot& slot) {
  OCTET_CHECK_GE(slot.prompt_logprobs, 0);
  return {.tiles = true, .best = slot.prompt_logprobs, .raw_logits = 1};
}

}  // namespace octet::worker
