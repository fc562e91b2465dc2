// Small schedules that can be written down, for tests of one rule each.
#pragma once

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "coordinator/schedule/scheduler.h"

namespace octet::schedule {

inline constexpr int32_t kEnd = 2;

inline SchedulerLimits Roomy() {
  SchedulerLimits limits;
  limits.blocks = 100;
  limits.block_tokens = 4;
  limits.slots = 8;
  limits.step_rows_max = 16;
  limits.context = 64;
  limits.waiting_max = 8;
  return limits;
}

// Its prompt shares no block with those of other ids.
inline NewSequence Distinct(uint64_t id, int64_t prompt_tokens, int64_t max_tokens) {
  NewSequence sequence;
  sequence.id = id;
  sequence.prompt.resize(prompt_tokens);
  std::iota(sequence.prompt.begin(), sequence.prompt.end(), static_cast<int32_t>(100 * id));
  sequence.max_tokens = max_tokens;
  sequence.stop_tokens = {kEnd};
  return sequence;
}

inline StepPlan Plan(Scheduler* scheduler) {
  std::optional<StepPlan> plan = scheduler->PlanStep();
  EXPECT_TRUE(plan.has_value());
  return plan.value_or(StepPlan{});
}

// What ranks answer to `plan` when every token is `token`, without log-probabilities.
inline StepResult ResultOf(const StepPlan& plan, int32_t token) {
  StepResult result;
  result.step = plan.step;
  for (const PrefillChunk& chunk : plan.prefills) {
    if (chunk.sample) result.slots.push_back(chunk.slot);
  }
  result.slots.insert(result.slots.end(), plan.decodes.begin(), plan.decodes.end());
  result.tokens.assign(result.slots.size(), token);
  return result;
}

inline std::vector<SequenceEvent> Commit(Scheduler* scheduler, const StepPlan& plan,
                                         int32_t token) {
  return scheduler->CommitStep(ResultOf(plan, token));
}

}  // namespace octet::schedule
