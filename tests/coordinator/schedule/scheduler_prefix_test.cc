// What sequences share, who goes first, and what is told of a prompt: on schedules small enough to
// write down.
#include <string>

#include "tests/coordinator/schedule/schedules.h"

namespace octet::schedule {
namespace {

// Every token is 50 and whatever is asked for is told, with the position as its log-probability.
std::vector<SequenceEvent> CommitTelling(Scheduler* scheduler, const StepPlan& plan) {
  StepResult result = ResultOf(plan, 50);
  for (const PrefillChunk& chunk : plan.prefills) {
    if (chunk.logprob_row_begin == chunk.logprob_row_end) continue;
    PromptLogprobs& told = result.prompt_logprobs.emplace_back();
    told.slot = chunk.slot;
    told.first_position = chunk.first_position + chunk.logprob_row_begin + 1;
    for (int64_t row = chunk.logprob_row_begin; row < chunk.logprob_row_end; ++row) {
      told.tokens.push_back({static_cast<float>(chunk.first_position + row + 1), {}, {}});
    }
  }
  return scheduler->CommitStep(result);
}

NewSequence Same(uint64_t id, int64_t prompt_tokens, int64_t max_tokens) {
  NewSequence sequence = Distinct(1, prompt_tokens, max_tokens);
  sequence.id = id;
  return sequence;
}

TEST(SchedulerPrefix, SamplesOfOnePromptComputeItsFullBlocksOnce) {
  Scheduler scheduler(Roomy());
  for (uint64_t id = 1; id <= 4; ++id) ASSERT_TRUE(scheduler.Add(Same(id, 8, 9)).ok());
  const StepPlan plan = Plan(&scheduler);
  ASSERT_EQ(plan.admits.size(), 3u);  // 8 + 4 + 4 rows
  EXPECT_EQ(plan.admits[0].cached_tokens, 0);
  EXPECT_EQ(plan.admits[1].cached_tokens, 4);  // 8 would leave no row to sample
  EXPECT_EQ(plan.prefills[1].first_position, 4);
  EXPECT_EQ(plan.prefills[1].tokens, (std::vector<int32_t>{104, 105, 106, 107}));
  EXPECT_EQ(plan.blocks[1].appended[0], plan.blocks[0].appended[0]);
  EXPECT_NE(plan.blocks[1].appended[1], plan.blocks[0].appended[1]);
  EXPECT_TRUE(plan.admits[1].cached_token_ids.empty());
  const SchedulerCounters counters = scheduler.counters();
  EXPECT_EQ(counters.prefix_queried_tokens, 24);
  EXPECT_EQ(counters.prefix_hit_tokens, 8);
  EXPECT_EQ(counters.used_blocks, 7);
  EXPECT_EQ(counters.cached_blocks, 2);
  EXPECT_EQ(Commit(&scheduler, plan, 50).at(1).cached_tokens, 4);
}

TEST(SchedulerPrefix, HistoryIsSentOnlyToWhomItIsNeeded) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Same(1, 6, 9)).ok());
  NewSequence penalized = Same(2, 6, 9);
  penalized.sampling.presence_penalty = 0.5f;
  ASSERT_TRUE(scheduler.Add(penalized).ok());
  EXPECT_EQ(Plan(&scheduler).admits.at(1).cached_token_ids,
            (std::vector<int32_t>{100, 101, 102, 103}));
}

TEST(SchedulerPrefix, TheAnswerOfOneIsTheBeginningOfTheNext) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Same(1, 3, 7)).ok());
  while (!scheduler.idle()) Commit(&scheduler, Plan(&scheduler), 50);
  EXPECT_EQ(scheduler.counters().free_blocks, 100);
  EXPECT_EQ(scheduler.counters().cached_blocks, 2);
  NewSequence next = Same(2, 3, 9);
  next.prompt.insert(next.prompt.end(), 9, 50);
  ASSERT_TRUE(scheduler.Add(next).ok());
  EXPECT_EQ(Plan(&scheduler).admits.at(0).cached_tokens, 8);
}

TEST(SchedulerPrefix, LengthsShareNothingWhenTheRotationDependsOnThem) {
  for (const int64_t beyond : {0, 4, 5, 6}) {
    SchedulerLimits limits = Roomy();
    limits.rope_scaled_beyond = beyond;
    Scheduler scheduler(limits);
    for (uint64_t id = 1; id <= 2; ++id) {  // of 5 and 6 tokens
      ASSERT_TRUE(scheduler.Add(Same(id, 4 + static_cast<int64_t>(id), 9)).ok());
    }
    const bool alike = beyond == 0 || beyond >= 6;
    EXPECT_EQ(Plan(&scheduler).admits.at(1).cached_tokens, alike ? 4 : 0) << beyond;
  }
}

TEST(SchedulerPrefix, NothingOfAFailedSequenceIsFoundAgain) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Same(1, 9, 9)).ok());
  ASSERT_TRUE(scheduler.Add(Same(2, 9, 9)).ok());  // lives on with what it shares
  Commit(&scheduler, Plan(&scheduler), 50);
  StepResult result = ResultOf(Plan(&scheduler), 50);
  result.tokens[0] = -1;
  scheduler.CommitStep(result);
  EXPECT_EQ(scheduler.counters().cached_blocks, 0);
  ASSERT_TRUE(scheduler.Add(Same(3, 9, 9)).ok());
  EXPECT_EQ(Plan(&scheduler).admits.at(0).cached_tokens, 0);
  EXPECT_TRUE(scheduler.Audit().ok());
}

TEST(SchedulerPrefix, AnEndingSequenceThatFailsIsForgottenToo) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Same(1, 9, 1)).ok());
  const StepPlan last = Plan(&scheduler);
  EXPECT_EQ(scheduler.counters().cached_blocks, 2);
  Commit(&scheduler, last, -1);
  EXPECT_EQ(scheduler.counters().cached_blocks, 0);
  EXPECT_EQ(scheduler.counters().free_blocks, 100);
}

TEST(SchedulerPrefix, AResumeFindsItsOwnBlocks) {
  SchedulerLimits limits = Roomy();
  limits.blocks = 5;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Add(Distinct(1, 2, 8)).ok());
  ASSERT_TRUE(scheduler.Add(Distinct(2, 7, 8)).ok());
  StepPlan plan;
  while (scheduler.counters().preemptions == 0) {
    plan = Plan(&scheduler);
    Commit(&scheduler, plan, 50);
  }
  do {
    plan = Plan(&scheduler);
    Commit(&scheduler, plan, 50);
  } while (plan.admits.empty());
  EXPECT_EQ(plan.admits[0].id, 2u);
  EXPECT_EQ(plan.admits[0].cached_tokens, 8);
  EXPECT_EQ(scheduler.counters().prefix_hit_tokens, 0);  // of first admissions alone
}

TEST(SchedulerPrompt, IsToldRowByRowAndTheNextTokenIsGivenWhereTheChunkEnds) {
  SchedulerLimits limits = Roomy();
  limits.step_rows_max = 4;
  Scheduler scheduler(limits);
  NewSequence sequence = Same(1, 6, 9);
  sequence.sampling.prompt_logprobs = 0;
  ASSERT_TRUE(scheduler.Add(sequence).ok());
  const StepPlan first = Plan(&scheduler);
  const StepPlan second = Plan(&scheduler);
  EXPECT_EQ(first.prefills[0].logprob_row_end, 4);
  EXPECT_EQ(first.prefills[0].next_token, 104);
  EXPECT_EQ(second.prefills[0].logprob_row_begin, 0);
  EXPECT_EQ(second.prefills[0].logprob_row_end, 1);  // the next row is sampled
  EXPECT_FALSE(second.prefills[0].next_token.has_value());
  EXPECT_EQ(scheduler.CheckResult(ResultOf(first, 50)).code(), StatusCode::kDataLoss);
  std::vector<SequenceEvent> events = CommitTelling(&scheduler, first);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].token, -1);
  EXPECT_FALSE(events[0].finished);
  EXPECT_EQ(events[0].prompt_position, 1);
  ASSERT_EQ(events[0].prompt_logprobs.size(), 4u);
  EXPECT_EQ(events[0].prompt_logprobs[3].logprob, 4.0f);
  events = CommitTelling(&scheduler, second);
  EXPECT_EQ(events.at(0).token, 50);
  EXPECT_EQ(events[0].prompt_position, 5);
  EXPECT_EQ(events[0].prompt_logprobs.size(), 1u);
}

TEST(SchedulerPrompt, WhatMustBeToldIsComputedAndWhatWasToldIsNot) {
  SchedulerLimits limits = Roomy();
  limits.step_rows_max = 12;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Add(Same(1, 8, 1)).ok());
  Commit(&scheduler, Plan(&scheduler), 50);
  NewSequence sequence = Same(2, 15, 9);
  sequence.sampling.prompt_logprobs = 0;
  ASSERT_TRUE(scheduler.Add(sequence).ok());
  const StepPlan begun = Plan(&scheduler);
  EXPECT_EQ(begun.admits.at(0).cached_tokens, 0);
  CommitTelling(&scheduler, begun);  // positions 1 to 12
  scheduler.ResetAfterGroupLoss();
  EXPECT_EQ(scheduler.counters().cached_blocks, 0);
  const StepPlan again = Plan(&scheduler);
  EXPECT_EQ(again.prefills[0].logprob_row_begin, again.prefills[0].logprob_row_end);
  CommitTelling(&scheduler, again);
  const StepPlan rest = Plan(&scheduler);
  EXPECT_EQ(rest.prefills[0].logprob_row_begin, 0);
  EXPECT_EQ(CommitTelling(&scheduler, rest).at(0).prompt_position, 13);
}

TEST(SchedulerPriority, OvertakesThoseWhoCameShortlyBefore) {
  SchedulerLimits limits = Roomy();
  limits.slots = 1;
  limits.priority_steps = 4;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Add(Distinct(1, 2, 6)).ok());
  const StepPlan first = Plan(&scheduler);
  ASSERT_TRUE(scheduler.Add(Distinct(2, 2, 1)).ok());  // when 1 step was planned
  Commit(&scheduler, first, 50);
  for (int step = 0; step < 2; ++step) Commit(&scheduler, Plan(&scheduler), 50);
  NewSequence urgent = Distinct(3, 2, 1);  // when 3 were: turn 3 - 4
  urgent.priority = -1;
  ASSERT_TRUE(scheduler.Add(urgent).ok());
  for (int step = 0; step < 3; ++step) Commit(&scheduler, Plan(&scheduler), 50);
  NewSequence late = Distinct(4, 2, 1);  // when 6 were: turn 6 - 4, no earlier than 2's
  late.priority = -1;
  ASSERT_TRUE(scheduler.Add(late).ok());
  std::vector<uint64_t> admitted;
  while (!scheduler.idle()) {
    const StepPlan plan = Plan(&scheduler);
    for (const Admit& admit : plan.admits) admitted.push_back(admit.id);
    Commit(&scheduler, plan, 50);
  }
  EXPECT_EQ(admitted, (std::vector<uint64_t>{3, 2, 4}));
}

TEST(SchedulerPriority, DoesNotWaitForTheEndOfALongPrompt) {
  SchedulerLimits limits = Roomy();
  limits.step_rows_max = 4;
  limits.slots = 4;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Add(Distinct(1, 20, 1)).ok());
  Commit(&scheduler, Plan(&scheduler), 50);
  ASSERT_TRUE(scheduler.Add(Distinct(2, 3, 1)).ok());  // in turn after it
  for (const uint64_t id : {3, 4}) {
    NewSequence urgent = Distinct(id, 3, 1);
    urgent.priority = -1;
    ASSERT_TRUE(scheduler.Add(urgent).ok());
  }
  const StepPlan both = Plan(&scheduler);  // three rows of one, the first of the next
  ASSERT_EQ(both.admits.size(), 2u);
  EXPECT_EQ(both.admits[0].id, 3u);
  EXPECT_EQ(both.admits[1].id, 4u);
  EXPECT_EQ(Commit(&scheduler, both, 50).at(0).id, 3u);
  const StepPlan then = Plan(&scheduler);
  ASSERT_EQ(then.prefills.size(), 2u);
  EXPECT_TRUE(then.admits.empty());
  EXPECT_EQ(then.prefills[1].tokens, (std::vector<int32_t>{104, 105}));  // the long one goes on
  EXPECT_EQ(Commit(&scheduler, then, 50).at(0).id, 4u);
  const StepPlan last = Plan(&scheduler);
  ASSERT_EQ(last.prefills.size(), 1u);
  EXPECT_EQ(last.prefills[0].tokens.front(), 106);
}

TEST(SchedulerPriority, TheLastInTurnIsPreempted) {
  SchedulerLimits limits = Roomy();
  limits.blocks = 4;
  Scheduler scheduler(limits);
  NewSequence patient = Distinct(1, 2, 12);
  patient.priority = 1;
  ASSERT_TRUE(scheduler.Add(patient).ok());
  ASSERT_TRUE(scheduler.Add(Distinct(2, 4, 12)).ok());
  StepPlan plan;
  while (scheduler.counters().preemptions == 0) {
    plan = Plan(&scheduler);
    Commit(&scheduler, plan, 50);
  }
  EXPECT_EQ(plan.decodes.size(), 1u);
  plan = Plan(&scheduler);
  EXPECT_EQ(Commit(&scheduler, plan, 50).at(0).id, 2u);
}

TEST(SchedulerBudget, ALongPromptAndTheDecodesGoOnSideBySide) {
  SchedulerLimits limits = Roomy();
  limits.step_rows_max = 4;
  limits.slots = 4;
  Scheduler scheduler(limits);
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(scheduler.Add(Distinct(id, 1, 40)).ok());
  ASSERT_TRUE(scheduler.Add(Distinct(4, 20, 9)).ok());
  Commit(&scheduler, Plan(&scheduler), 50);
  for (int step = 0; step < 19; ++step) {
    const StepPlan plan = Plan(&scheduler);
    ASSERT_EQ(plan.decodes.size(), 3u);
    ASSERT_EQ(plan.prefills.size(), 1u);
    Commit(&scheduler, plan, 50);
  }
  EXPECT_EQ(Plan(&scheduler).decodes.size(), 4u);
}

}  // namespace
}  // namespace octet::schedule
