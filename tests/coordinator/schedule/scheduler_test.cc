// The scheduler's rules one by one, on schedules small enough to write down. What must hold on all
// schedules is in scheduler_property_test.cc.
#include "coordinator/schedule/scheduler.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/coordinator/schedule/schedules.h"

namespace octet::schedule {
namespace {

TEST(SchedulerAdd, RefusesWhatCanNeverRun) {
  SchedulerLimits limits = Roomy();
  limits.blocks = 4;  // 16 tokens, less than the context
  Scheduler scheduler(limits);
  EXPECT_EQ(scheduler.Add(Distinct(1, 0, 1)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler.Add(Distinct(1, 1, 0)).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(scheduler.Add(Distinct(1, 16, 1)).code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(scheduler.Add(Distinct(1, 15, 1)).ok());
  EXPECT_EQ(scheduler.Add(Distinct(1, 1, 1)).code(), StatusCode::kAlreadyExists);
}

TEST(SchedulerAdd, RefusesWhenTheQueueIsFull) {
  SchedulerLimits limits = Roomy();
  limits.waiting_max = 2;
  Scheduler scheduler(limits);
  EXPECT_TRUE(scheduler.Add(Distinct(1, 4, 1)).ok());
  EXPECT_TRUE(scheduler.Add(Distinct(2, 4, 1)).ok());
  const Status full = scheduler.Add(Distinct(3, 4, 1));
  EXPECT_EQ(full.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(full.message(), "2 sequences wait; at most 2 may");
  Plan(&scheduler);
  EXPECT_TRUE(scheduler.Add(Distinct(3, 4, 1)).ok());
}

TEST(SchedulerPlan, CutsAPromptIntoChunksAfterTheDecodes) {
  SchedulerLimits limits = Roomy();
  limits.step_rows_max = 4;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Add(Distinct(1, 2, 9)).ok());
  ASSERT_TRUE(scheduler.Add(Distinct(2, 6, 9)).ok());
  const StepPlan first = Plan(&scheduler);
  ASSERT_EQ(first.prefills.size(), 2u);
  EXPECT_EQ(first.prefills[0].tokens, (std::vector<int32_t>{100, 101}));
  EXPECT_TRUE(first.prefills[0].sample);
  EXPECT_EQ(first.prefills[1].tokens, (std::vector<int32_t>{200, 201}));
  EXPECT_FALSE(first.prefills[1].sample);
  ASSERT_EQ(first.blocks.size(), 2u);
  EXPECT_EQ(first.blocks[0].appended.size(), 1u);  // 2 + 1 tokens
  EXPECT_EQ(first.blocks[1].appended.size(), 2u);  // 6 + 1 tokens
  const StepPlan second = Plan(&scheduler);
  EXPECT_EQ(second.decodes, (std::vector<int32_t>{first.admits[0].slot}));
  ASSERT_EQ(second.prefills.size(), 1u);
  EXPECT_EQ(second.prefills[0].first_position, 2);
  EXPECT_EQ(second.prefills[0].tokens, (std::vector<int32_t>{202, 203, 204}));
  EXPECT_EQ(second.rows(), 4);
  EXPECT_FALSE(scheduler.PlanStep().has_value());  // two are in flight
  EXPECT_EQ(Commit(&scheduler, first, 50).size(), 1u);
  const StepPlan third = Plan(&scheduler);
  EXPECT_EQ(third.prefills.at(0).tokens, (std::vector<int32_t>{205}));
  EXPECT_TRUE(third.prefills[0].sample);
}

TEST(SchedulerPlan, CoversPromptAndOneTokenAtAdmission) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Distinct(1, 4, 9)).ok());
  EXPECT_EQ(Plan(&scheduler).blocks.at(0).appended.size(), 2u);
  EXPECT_TRUE(Plan(&scheduler).blocks.empty());
}

TEST(SchedulerPlan, LeavesTheWatermarkFreeUnlessNothingRuns) {
  SchedulerLimits limits = Roomy();
  limits.blocks = 4;
  Scheduler scheduler(limits);
  ASSERT_TRUE(scheduler.Add(Distinct(1, 5, 2)).ok());  // 2 blocks
  ASSERT_TRUE(scheduler.Add(Distinct(2, 5, 2)).ok());  // 2 more would leave none
  ASSERT_TRUE(scheduler.Add(Distinct(3, 1, 2)).ok());  // would fit, but came later
  const StepPlan first = Plan(&scheduler);
  ASSERT_EQ(first.admits.size(), 1u);
  EXPECT_EQ(first.admits[0].id, 1u);
  Commit(&scheduler, first, 50);
  const StepPlan last = Plan(&scheduler);
  EXPECT_EQ(Commit(&scheduler, last, 50).at(0).reason, FinishReason::kLength);
  const StepPlan next = Plan(&scheduler);
  EXPECT_EQ(next.releases, (std::vector<int32_t>{first.admits[0].slot}));
  ASSERT_EQ(next.admits.size(), 2u);
  EXPECT_EQ(next.admits[0].id, 2u);
  EXPECT_EQ(next.admits[1].id, 3u);
}

TEST(SchedulerCommit, NeverPlansBeyondMaxTokens) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Distinct(1, 3, 2)).ok());
  const StepPlan first = Plan(&scheduler);
  const StepPlan second = Plan(&scheduler);
  EXPECT_EQ(Commit(&scheduler, first, 50).at(0).position, 0);
  EXPECT_FALSE(scheduler.PlanStep().has_value());
  EXPECT_EQ(scheduler.counters().running, 1);
  const SequenceEvent last = Commit(&scheduler, second, kEnd).at(0);
  EXPECT_EQ(last.position, 1);
  EXPECT_EQ(last.token, kEnd);
  EXPECT_TRUE(last.finished);
  EXPECT_EQ(last.reason, FinishReason::kStop);  // the end token says more than the length
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(scheduler.counters().free_blocks, 100);
  EXPECT_EQ(scheduler.counters().discarded_rows, 0);
}

TEST(SchedulerCommit, DiscardsTheRowAfterAStop) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Distinct(1, 3, 9)).ok());
  const StepPlan first = Plan(&scheduler);
  const StepPlan second = Plan(&scheduler);
  const SequenceEvent stop = Commit(&scheduler, first, kEnd).at(0);
  EXPECT_TRUE(stop.finished);
  EXPECT_EQ(stop.token, kEnd);
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(scheduler.counters().free_blocks, 99);  // the second plan still names it
  // The id may be used again while the row of its first use is in flight.
  ASSERT_TRUE(scheduler.Add(Distinct(1, 3, 9)).ok());
  const StepPlan third = Plan(&scheduler);
  EXPECT_TRUE(third.releases.empty());
  EXPECT_NE(third.admits.at(0).slot, first.admits.at(0).slot);
  EXPECT_TRUE(Commit(&scheduler, second, 50).empty());
  EXPECT_EQ(scheduler.counters().discarded_rows, 1);
  EXPECT_EQ(Plan(&scheduler).releases, (std::vector<int32_t>{first.admits[0].slot}));
}

TEST(SchedulerCancel, AnswersAtOnceAndFreesWhatNoPlanNames) {
  Scheduler scheduler(Roomy());
  ASSERT_TRUE(scheduler.Add(Distinct(1, 3, 9)).ok());
  const StepPlan plan = Plan(&scheduler);
  ASSERT_TRUE(scheduler.Add(Distinct(2, 3, 9)).ok());
  EXPECT_TRUE(scheduler.Cancel(1));
  EXPECT_TRUE(scheduler.Cancel(2));
  EXPECT_FALSE(scheduler.Cancel(2));
  EXPECT_TRUE(scheduler.idle());
  EXPECT_EQ(scheduler.counters().free_blocks, 99);
  EXPECT_TRUE(Commit(&scheduler, plan, 50).empty());
  EXPECT_EQ(scheduler.counters().free_blocks, 100);
}

// Two sequences fill four blocks in five steps; the older then needs a fifth block.
class SchedulerPressure : public testing::Test {
 protected:
  SchedulerPressure() : scheduler_(Limits()) {}

  static SchedulerLimits Limits() {
    SchedulerLimits limits = Roomy();
    limits.blocks = 4;
    return limits;
  }

  void AddBoth(int64_t younger_max_tokens) {
    EXPECT_TRUE(scheduler_.Add(Distinct(1, 4, 12)).ok());
    NewSequence younger = Distinct(2, 2, younger_max_tokens);
    younger.prompt_tokens = 1;
    EXPECT_TRUE(scheduler_.Add(younger).ok());
  }

  StepPlan Step() {
    const StepPlan plan = Plan(&scheduler_);
    Commit(&scheduler_, plan, 50);
    return plan;
  }

  Scheduler scheduler_;
};

TEST_F(SchedulerPressure, TheYoungestMakesRoomAndIsComputedAgain) {
  AddBoth(12);
  for (int step = 0; step < 5; ++step) Step();
  EXPECT_EQ(scheduler_.counters().free_blocks, 0);
  const StepPlan plan = Step();
  EXPECT_EQ(scheduler_.counters().preemptions, 1);
  EXPECT_EQ(plan.releases.size(), 1u);
  EXPECT_EQ(plan.decodes.size(), 1u);
  EXPECT_EQ(plan.blocks.at(0).appended.size(), 1u);
  StepPlan again;
  while (again.admits.empty()) again = Step();
  EXPECT_EQ(again.admits[0].id, 2u);
  EXPECT_EQ(again.admits[0].prompt_tokens, 1);
  EXPECT_EQ(again.admits[0].cached_tokens, 0);  // the first has its blocks
  EXPECT_EQ(again.prefills.at(0).tokens, (std::vector<int32_t>{200, 201, 50, 50, 50, 50, 50}));
  EXPECT_TRUE(again.prefills[0].sample);
  EXPECT_EQ(scheduler_.counters().recomputed_rows, 7);
}

TEST_F(SchedulerPressure, ATokenInFlightAtPreemptionIsAccepted) {
  AddBoth(12);
  for (int step = 0; step < 4; ++step) Step();
  const StepPlan fifth = Plan(&scheduler_);
  EXPECT_FALSE(scheduler_.PlanStep().has_value());  // the blocks of 2 come after this commit
  EXPECT_EQ(scheduler_.counters().preemptions, 1);
  EXPECT_EQ(scheduler_.counters().waiting, 1);
  EXPECT_EQ(scheduler_.counters().free_blocks, 0);
  const std::vector<SequenceEvent> events = Commit(&scheduler_, fifth, 50);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].id, 2u);
  EXPECT_EQ(events[1].position, 4);
  EXPECT_EQ(scheduler_.counters().free_blocks, 2);
}

TEST_F(SchedulerPressure, NobodyIsPreemptedWhenBlocksAreAboutToComeBack) {
  AddBoth(5);
  for (int step = 0; step < 4; ++step) Step();
  const StepPlan fifth = Plan(&scheduler_);  // the last row of 2
  EXPECT_FALSE(scheduler_.PlanStep().has_value());
  EXPECT_TRUE(Commit(&scheduler_, fifth, 50).at(1).finished);
  const StepPlan sixth = Step();
  EXPECT_EQ(sixth.releases.size(), 1u);
  EXPECT_EQ(sixth.decodes.size(), 1u);
  EXPECT_EQ(scheduler_.counters().preemptions, 0);
}

TEST(SchedulerReset, EveryoneWaitsAgainInOrderWithItsTokens) {
  SchedulerLimits limits = Roomy();
  limits.slots = 2;
  Scheduler scheduler(limits);
  for (uint64_t id = 1; id <= 3; ++id) ASSERT_TRUE(scheduler.Add(Distinct(id, 2, 2)).ok());
  const StepPlan first = Plan(&scheduler);
  const StepPlan second = Plan(&scheduler);  // the last rows of 1 and 2
  Commit(&scheduler, first, 50);
  scheduler.ResetAfterGroupLoss();
  const SchedulerCounters counters = scheduler.counters();
  EXPECT_EQ(counters.waiting, 3);
  EXPECT_EQ(counters.running, 0);
  EXPECT_EQ(counters.free_blocks, limits.blocks);
  EXPECT_EQ(counters.plans_in_flight, 0);
  EXPECT_FALSE(scheduler.CheckResult(ResultOf(second, 50)).ok());
  const StepPlan third = Plan(&scheduler);
  EXPECT_EQ(third.step, second.step + 1);
  EXPECT_FALSE(scheduler.CheckResult(ResultOf(second, 50)).ok());
  EXPECT_TRUE(third.releases.empty());
  ASSERT_EQ(third.admits.size(), 2u);
  EXPECT_EQ(third.admits[0].id, 1u);
  EXPECT_EQ(third.admits[0].prompt_tokens, 2);
  EXPECT_EQ(third.prefills.at(0).tokens, (std::vector<int32_t>{100, 101, 50}));
  EXPECT_EQ(Commit(&scheduler, third, 51).at(0).position, 1);
}

TEST(SchedulerResult, RefusesWhatIsNotDue) {
  Scheduler scheduler(Roomy());
  const StepResult good{1, {0}, {50}};
  EXPECT_EQ(scheduler.CheckResult(good).code(), StatusCode::kDataLoss);
  ASSERT_TRUE(scheduler.Add(Distinct(1, 2, 9)).ok());
  const StepPlan plan = Plan(&scheduler);
  Plan(&scheduler);
  ASSERT_EQ(plan.admits.at(0).slot, 0);
  EXPECT_TRUE(scheduler.CheckResult(good).ok());
  EXPECT_EQ(scheduler.CheckResult({2, {0}, {50}}).message(),
            "the result of step 2 came; step 1 is due");
  EXPECT_FALSE(scheduler.CheckResult({1, {1}, {50}}).ok());
  EXPECT_FALSE(scheduler.CheckResult({1, {0}, {-2}}).ok());
  EXPECT_FALSE(scheduler.CheckResult({1, {0}, {}}).ok());
  EXPECT_FALSE(scheduler.CheckResult({1, {}, {}}).ok());
  EXPECT_EQ(scheduler.CheckResult({1, {0}, {50}, {TokenLogprobs{}}}).message(),
            "the result of step 1 has 1 tokens with log-probabilities; 0 are due");
  EXPECT_FALSE(scheduler.CheckResult({1, {0}, {50}, {}, {PromptLogprobs{}}}).ok());
  EXPECT_DEATH(scheduler.CommitStep({2, {0}, {50}}), "step 1 is due");
}

TEST(SchedulerResult, LogprobsGoToTheRowsThatAskedAndNobodyElse) {
  Scheduler scheduler(Roomy());
  for (uint64_t id = 1; id <= 3; ++id) {
    NewSequence sequence = Distinct(id, 2, 9);
    sequence.sampling.logprobs = id == 2 ? 1 : -1;
    ASSERT_TRUE(scheduler.Add(sequence).ok());
  }
  StepResult result = ResultOf(Plan(&scheduler), 50);
  EXPECT_EQ(scheduler.CheckResult(result).code(), StatusCode::kDataLoss);
  result.logprobs = {{-1.5f, {50}, {-1.5f}}};
  std::vector<SequenceEvent> events = scheduler.CommitStep(result);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_FALSE(events[0].logprobs.has_value());
  EXPECT_EQ(events[1].logprobs, result.logprobs[0]);
  EXPECT_FALSE(events[2].logprobs.has_value());
  result = ResultOf(Plan(&scheduler), 50);
  result.logprobs = {{-1.5f, {50}, {}}};
  EXPECT_FALSE(scheduler.CheckResult(result).ok());
}

TEST(SchedulerResult, WithoutATokenASequenceFailsAndTheOthersGoOn) {
  Scheduler scheduler(Roomy());
  for (uint64_t id = 1; id <= 2; ++id) ASSERT_TRUE(scheduler.Add(Distinct(id, 2, 3)).ok());
  const StepPlan first = Plan(&scheduler);
  const StepPlan second = Plan(&scheduler);
  StepResult result = ResultOf(first, 50);
  result.tokens[0] = -1;
  const std::vector<SequenceEvent> events = scheduler.CommitStep(result);
  EXPECT_EQ(events.at(0).token, -1);
  EXPECT_TRUE(events[0].finished);
  EXPECT_EQ(events[0].reason, FinishReason::kFailed);
  EXPECT_FALSE(events.at(1).finished);
  EXPECT_EQ(Commit(&scheduler, second, 50).size(), 1u);  // the first one's token is discarded
  EXPECT_EQ(scheduler.counters().discarded_rows, 1);
  EXPECT_TRUE(Commit(&scheduler, Plan(&scheduler), 50).at(0).finished);
}

}  // namespace
}  // namespace octet::schedule
