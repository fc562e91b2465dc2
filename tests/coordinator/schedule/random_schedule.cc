#include "tests/coordinator/schedule/random_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace octet::schedule {
namespace {

constexpr int64_t kCallsPerSchedule = 120;
// Whoever is the first in turn of those that run gets a row in every plan but those that wait for
// blocks, at most one per plan in flight. So it ends within this many plans per row.
constexpr int64_t kPlansPerRowMax = 2;

bool Broken() { return testing::Test::HasFailure(); }

}  // namespace

RandomSchedule::RandomSchedule(uint64_t seed, Coverage* coverage)
    : random_(seed),
      limits_(DrawLimits()),
      model_{static_cast<uint64_t>(Draw(2, 40)), Draw(0, 2) == 0 ? 50u : 100000u,
             limits_.rope_scaled_beyond},
      scheduler_(limits_),
      ranks_(limits_, model_),
      coverage_(coverage) {
  arrivals_percent_ = Draw(5, 40);
  cancels_percent_ = Draw(0, 1) * Draw(1, 10);
  losses_percent_ = Draw(0, 3) == 0 ? Draw(1, 5) : 0;
  commits_percent_ = Draw(10, 90);
  priority_max_ = Draw(0, 3);
}

void RandomSchedule::Run() {
  for (int64_t call = 0; call < kCallsPerSchedule && !Broken(); ++call) Call();
  while (!live_.empty() && !Broken()) PlanOrCommit();
  while (!results_.empty() && !Broken()) Commit();
  if (Broken()) return;
  const SchedulerCounters counters = scheduler_.counters();
  EXPECT_TRUE(scheduler_.idle());
  EXPECT_FALSE(scheduler_.PlanStep().has_value());
  EXPECT_EQ(counters.free_blocks, limits_.blocks);
  EXPECT_EQ(counters.waiting + counters.running + counters.plans_in_flight, 0);
  coverage_->preemptions += counters.preemptions;
  coverage_->discarded += counters.discarded_rows;
  coverage_->recomputed += counters.recomputed_rows;
}

int64_t RandomSchedule::Draw(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
}

SchedulerLimits RandomSchedule::DrawLimits() {
  SchedulerLimits limits;
  limits.blocks = Draw(1, 14);
  limits.block_tokens = Draw(1, 4);
  limits.slots = Draw(1, 6);
  limits.step_rows_max = Draw(1, 10);
  limits.context = Draw(2, 32);
  limits.waiting_max = Draw(1, 8);
  limits.priority_steps = Draw(0, 20);
  if (Draw(0, 2) == 0) limits.rope_scaled_beyond = Draw(1, 30);
  return limits;
}

int64_t RandomSchedule::ContextMax() const {
  return std::min(limits_.context, limits_.blocks * limits_.block_tokens);
}

void RandomSchedule::Call() {
  if (Draw(1, 100) <= arrivals_percent_) Arrive();
  if (Draw(1, 100) <= cancels_percent_) Cancel();
  if (Draw(1, 100) <= losses_percent_) LoseGroup();
  PlanOrCommit();
}

void RandomSchedule::PlanOrCommit() {
  const bool commit_first = Draw(1, 100) <= commits_percent_;
  if (commit_first && !results_.empty()) return Commit();
  if (Plan()) return;
  if (!live_.empty() && results_.size() < kPlansInFlightMax) ++coverage_->waited_for_plan;
  // Without a plan in flight there is always something to run for a live sequence.
  ASSERT_TRUE(live_.empty() || !results_.empty()) << "no progress";
  if (!results_.empty()) Commit();
}

// One of three beginnings as far as it goes, then something that few others have.
std::vector<int32_t> RandomSchedule::DrawPrompt() {
  const int64_t tokens =
      Draw(0, 20) == 0 ? Draw(0, 40) : Draw(1, std::max<int64_t>(1, ContextMax() * 2 / 3));
  const int64_t beginning = 100 * Draw(1, 3);
  const int64_t shared_tokens = Draw(0, 3) == 0 ? 0 : Draw(0, tokens);
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < tokens; ++i) {
    prompt.push_back(static_cast<int32_t>(i < shared_tokens ? beginning + i : Draw(0, 2)));
  }
  return prompt;
}

NewSequence RandomSchedule::DrawSequence() {
  NewSequence sequence;
  sequence.prompt = DrawPrompt();
  sequence.sampling.seed = static_cast<uint64_t>(Draw(0, 5));
  if (Draw(0, 2) == 0) sequence.sampling.repetition_penalty = 1.5f;
  if (Draw(0, 3) == 0) sequence.sampling.logprobs = static_cast<int32_t>(Draw(0, 2));
  if (Draw(0, 3) == 0) sequence.sampling.prompt_logprobs = static_cast<int32_t>(Draw(0, 2));
  sequence.max_tokens = Draw(0, 30) == 0 ? 0 : Draw(1, Draw(1, 40));
  if (Draw(0, 3) != 0) sequence.stop_tokens = {3, kStopToken};
  const auto given_tokens = static_cast<int64_t>(sequence.prompt.size());
  if (Draw(0, 3) == 0) sequence.prompt_tokens = Draw(0, given_tokens + (Draw(0, 9) == 0 ? 1 : 0));
  const bool over_limit = Draw(0, 60) == 0;
  sequence.priority =
      static_cast<int32_t>(over_limit ? kPriorityMax + 1 : Draw(-priority_max_, priority_max_));
  return sequence;
}

void RandomSchedule::Arrive() {
  NewSequence sequence = DrawSequence();
  const auto samples = static_cast<uint32_t>(Draw(0, 3) == 0 ? Draw(2, 4) : 1);
  for (uint32_t sample = 0; sample < samples && !Broken(); ++sample) {
    sequence.id = static_cast<uint64_t>(Draw(1, 12));
    sequence.sampling.sample_index = sample;
    Add(sequence);
  }
}

void RandomSchedule::Add(const NewSequence& sequence) {
  const auto given_tokens = static_cast<int64_t>(sequence.prompt.size());
  const SchedulerCounters before = scheduler_.counters();
  const Status status = scheduler_.Add(sequence);
  StatusCode expected_code = StatusCode::kOk;
  if (given_tokens == 0 || sequence.max_tokens < 1 || given_tokens + 1 > ContextMax() ||
      sequence.prompt_tokens > given_tokens || sequence.priority > kPriorityMax) {
    expected_code = StatusCode::kInvalidArgument;
  } else if (live_.count(sequence.id) != 0) {
    expected_code = StatusCode::kAlreadyExists;
  } else if (before.waiting >= limits_.waiting_max) {
    expected_code = StatusCode::kResourceExhausted;
  }
  ASSERT_EQ(status.code(), expected_code) << status.message();
  coverage_->refused += status.ok() ? 0 : 1;
  if (!status.ok()) return;
  coverage_->ids_again += ids_.insert(sequence.id).second ? 0 : 1;
  Expected& expected = live_[sequence.id];
  expected.turn = {plans_ + sequence.priority * limits_.priority_steps, ++arrivals_};
  expected.given_tokens = given_tokens;
  const int64_t tokens_max = std::min(sequence.max_tokens, ContextMax() - given_tokens);
  expected.answer = Generate(model_, sequence, tokens_max);
  const auto& stops = sequence.stop_tokens;
  const int32_t last = expected.answer.tokens.back();
  const bool stopped = std::find(stops.begin(), stops.end(), last) != stops.end();
  expected.reason = last < 0  ? FinishReason::kFailed
                    : stopped ? FinishReason::kStop
                              : FinishReason::kLength;
  SetPlansLimits(&expected);
  CheckState();
}

// While a sequence waits nobody after it in turn is admitted, and the first in turn of those that
// run goes on in every plan: so it waits at most for the rows of all that are there when it comes.
// Whoever comes later and has an earlier turn may delay it by its own rows, and by those that are
// computed again because it took their blocks.
void RandomSchedule::SetPlansLimits(Expected* newcomer) {
  int64_t rows = 0;
  for (const auto& [id, other] : live_) rows += other.rows();
  newcomer->plans_limit = plans_ + kPlansInFlightMax + kPlansPerRowMax * rows;
  for (auto& [id, other] : live_) {
    if (other.turn > newcomer->turn) {
      other.plans_limit += kPlansPerRowMax * (newcomer->rows() + rows);
    }
  }
}

void RandomSchedule::Cancel() {
  const auto id = static_cast<uint64_t>(Draw(1, 12));
  const bool was_live = live_.erase(id) == 1;
  ASSERT_EQ(scheduler_.Cancel(id), was_live);
  coverage_->cancelled += was_live ? 1 : 0;
  CheckState();
}

void RandomSchedule::LoseGroup() {
  ++coverage_->losses;
  coverage_->losses_in_flight += results_.empty() ? 0 : 1;
  scheduler_.ResetAfterGroupLoss();
  ranks_ = SimulatedRanks(limits_, model_);
  results_.clear();
  const SchedulerCounters counters = scheduler_.counters();
  ASSERT_EQ(counters.free_blocks, limits_.blocks);
  ASSERT_EQ(counters.cached_blocks, 0);
  ASSERT_EQ(counters.waiting, static_cast<int64_t>(live_.size()));
  for (auto& [id, expected] : live_) expected.plans_limit = 0;
  for (auto& [id, expected] : live_) {
    const int64_t limit = expected.plans_limit;
    SetPlansLimits(&expected);
    expected.plans_limit += limit;
  }
  CheckState();
}

bool RandomSchedule::Plan() {
  const int64_t cached_before = scheduler_.counters().cached_blocks;
  const std::optional<StepPlan> plan = scheduler_.PlanStep();
  CheckState();
  if (!plan.has_value()) return false;
  ++plans_;
  Digest(*plan);
  Result<StepResult> result = ranks_.Apply(*plan);
  EXPECT_TRUE(result.ok()) << "step " << plan->step << ": " << result.status().message();
  if (!result.ok()) return true;
  results_.push_back(*std::move(result));
  EXPECT_LE(results_.size(), static_cast<size_t>(kPlansInFlightMax));
  // The ranks were told of every release, so both sides count the same blocks.
  const SchedulerCounters counters = scheduler_.counters();
  EXPECT_EQ(ranks_.held_blocks(), counters.used_blocks);
  coverage_->evicted += counters.cached_blocks < cached_before ? 1 : 0;
  CheckAdmits(*plan);
  coverage_->full_steps += plan->rows() == limits_.step_rows_max ? 1 : 0;
  for (const PrefillChunk& chunk : plan->prefills) coverage_->chunked += chunk.sample ? 0 : 1;
  return true;
}

// No sequence is admitted while one waits that came before it, unless that one's priority is so
// much worse that the bound allows it.
void RandomSchedule::CheckAdmits(const StepPlan& plan) {
  for (const Admit& admit : plan.admits) {
    const auto found = live_.find(admit.id);
    ASSERT_NE(found, live_.end()) << "sequence " << admit.id << " is not live";
    Expected& admitted = found->second;
    if (++admitted.admissions == 1) admitted.cached_tokens = admit.cached_tokens;
    coverage_->cached_tokens += admit.cached_tokens;
    coverage_->shared_in_flight += admit.cached_tokens > 0 && !results_.empty() ? 1 : 0;
    if (admitted.admissions > 1 && admitted.told > 0 &&
        admitted.told < static_cast<int64_t>(admitted.answer.prompt_logprobs.size())) {
      ++coverage_->told_after_resume;
    }
    for (const auto& [id, other] : live_) {
      if (id == admit.id || ranks_.Holds(id)) continue;
      ASSERT_LT(admitted.turn, other.turn) << admit.id << " overtook " << id;
      coverage_->overtaken += other.turn.arrival < admitted.turn.arrival ? 1 : 0;
    }
  }
}

void RandomSchedule::Commit() {
  const StepResult result = results_.front();
  results_.pop_front();
  const Status status = scheduler_.CheckResult(result);
  ASSERT_TRUE(status.ok()) << status.message();
  const std::vector<SequenceEvent> events = scheduler_.CommitStep(result);
  ranks_.Committed();
  for (const SequenceEvent& event : events) CheckEvent(event);
  for (const auto& [id, expected] : live_) {
    ASSERT_LE(plans_, expected.plans_limit) << "sequence " << id << " waits too long";
  }
  ASSERT_GE(ranks_.held_blocks(), scheduler_.counters().used_blocks);
  CheckState();
}

void RandomSchedule::CheckEvent(const SequenceEvent& event) {
  const auto found = live_.find(event.id);
  ASSERT_NE(found, live_.end()) << "an event of sequence " << event.id << ", which ended";
  Expected& expected = found->second;
  for (size_t i = 0; i < event.prompt_logprobs.size(); ++i) {
    ASSERT_EQ(event.prompt_position + static_cast<int64_t>(i), expected.told + 1);
    ASSERT_LT(expected.told, static_cast<int64_t>(expected.answer.prompt_logprobs.size()));
    ASSERT_EQ(event.prompt_logprobs[i], expected.answer.prompt_logprobs[expected.told]);
    ++expected.told;
    ++coverage_->prompt_told;
  }
  const bool has_token = event.token >= 0 || event.finished;
  ASSERT_TRUE(has_token || !event.prompt_logprobs.empty()) << "an event of nothing";
  if (!has_token) return;
  ASSERT_NO_FATAL_FAILURE(CheckToken(event, &expected));
  if (event.finished) live_.erase(found);
}

void RandomSchedule::CheckToken(const SequenceEvent& event, Expected* expected) {
  const FakeAnswer& answer = expected->answer;
  ASSERT_EQ(event.position, expected->seen);
  ASSERT_LT(event.position, static_cast<int64_t>(answer.tokens.size()));
  ASSERT_EQ(event.token, answer.tokens[event.position]) << "position " << event.position;
  // The prompt is told before the first token, or with it.
  ASSERT_EQ(expected->told, static_cast<int64_t>(answer.prompt_logprobs.size()));
  ASSERT_EQ(event.logprobs.has_value(), event.token >= 0 && !answer.logprobs.empty());
  if (event.logprobs.has_value()) {
    ASSERT_EQ(*event.logprobs, answer.logprobs[event.position]);
  }
  if (event.token >= 0 && event.position == 0) {
    ASSERT_EQ(event.cached_tokens, expected->cached_tokens);
  }
  ++expected->seen;
  ++coverage_->tokens;
  ASSERT_EQ(event.finished, event.position + 1 == static_cast<int64_t>(answer.tokens.size()));
  if (!event.finished) return;
  ASSERT_EQ(event.reason, expected->reason);
  switch (event.reason) {
    case FinishReason::kStop:
      ++coverage_->stopped;
      break;
    case FinishReason::kLength:
      ++coverage_->ended_by_length;
      break;
    default:
      ++coverage_->failed;
  }
}

void RandomSchedule::CheckState() {
  const Status audit = scheduler_.Audit();
  ASSERT_TRUE(audit.ok()) << audit.message();
  const SchedulerCounters counters = scheduler_.counters();
  ASSERT_EQ(counters.waiting + counters.running, static_cast<int64_t>(live_.size()));
  ASSERT_EQ(counters.used_blocks + counters.free_blocks, limits_.blocks);
  ASSERT_EQ(scheduler_.idle(), live_.empty());
}

void RandomSchedule::Digest(const StepPlan& plan) {
  const auto add = [this](int64_t value) {
    digest_ = (digest_ ^ static_cast<uint64_t>(value)) * 0x100000001b3u;  // FNV-1a's prime
  };
  add(static_cast<int64_t>(plan.step));
  for (const int32_t slot : plan.releases) add(slot);
  for (const Admit& admit : plan.admits) add(admit.slot), add(static_cast<int64_t>(admit.id));
  for (const BlockUpdate& update : plan.blocks) {
    for (const int32_t block : update.appended) add(update.slot), add(block);
  }
  for (const PrefillChunk& chunk : plan.prefills) {
    add(chunk.slot), add(chunk.first_position), add(static_cast<int64_t>(chunk.tokens.size()));
  }
  for (const int32_t slot : plan.decodes) add(slot);
}

}  // namespace octet::schedule
