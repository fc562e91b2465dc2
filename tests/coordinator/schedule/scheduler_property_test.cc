// Random schedules against a simulated worker group and an oracle. Each draws limits, arrivals,
// cancels, group losses and the moment of every commit from its seed, then stops the arrivals and
// runs until all have ended. What must hold after every call stands in RandomSchedule.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <string>

#include "tests/coordinator/schedule/simulated_ranks.h"

namespace octet::schedule {
namespace {

constexpr int64_t kSchedules = 20000;
constexpr int64_t kReplayedSchedules = 1000;
constexpr int64_t kCallsPerSchedule = 120;
// A sequence that is the oldest gets a row in every plan but those that wait for blocks, at most
// one per plan in flight. So it ends within this many plans per row.
constexpr int64_t kPlansPerRowMax = 2;

// What the generator reached; a run that missed a case proves nothing about it.
struct Coverage {
  int64_t tokens = 0, stopped = 0, ended_by_length = 0, cancelled = 0, refused = 0, chunked = 0;
  int64_t losses = 0, losses_in_flight = 0, preemptions = 0, discarded = 0, recomputed = 0;
  int64_t ids_again = 0, waited_for_plan = 0, full_steps = 0;
};

class RandomSchedule {
 public:
  RandomSchedule(uint64_t seed, Coverage* coverage)
      : random_(seed),
        limits_(DrawLimits()),
        model_{static_cast<uint64_t>(Draw(2, 40))},
        scheduler_(limits_),
        ranks_(limits_, model_),
        coverage_(coverage) {
    arrivals_percent_ = Draw(5, 40);
    cancels_percent_ = Draw(0, 1) * Draw(1, 10);
    losses_percent_ = Draw(0, 3) == 0 ? Draw(1, 5) : 0;
    commits_percent_ = Draw(10, 90);
  }

  void Run() {
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

  uint64_t digest() const { return digest_; }  // of all plans

 private:
  struct Expected {
    uint64_t arrival = 0;
    std::vector<int32_t> tokens;  // all that it must generate
    FinishReason reason = FinishReason::kStop;
    int64_t prompt_tokens = 0;
    int64_t seen = 0;         // events so far
    int64_t plans_limit = 0;  // it must have ended when this many plans were made
  };

  static bool Broken() { return testing::Test::HasFailure(); }

  int64_t Draw(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }

  SchedulerLimits DrawLimits() {
    SchedulerLimits limits;
    limits.blocks = Draw(1, 14);
    limits.block_tokens = Draw(1, 4);
    limits.slots = Draw(1, 6);
    limits.step_rows_max = Draw(1, 10);
    limits.context = Draw(2, 32);
    limits.waiting_max = Draw(1, 8);
    return limits;
  }

  int64_t ContextMax() const {
    return std::min(limits_.context, limits_.blocks * limits_.block_tokens);
  }

  void Call() {
    if (Draw(1, 100) <= arrivals_percent_) Arrive();
    if (Draw(1, 100) <= cancels_percent_) Cancel();
    if (Draw(1, 100) <= losses_percent_) LoseGroup();
    PlanOrCommit();
  }

  void PlanOrCommit() {
    const bool commit_first = Draw(1, 100) <= commits_percent_;
    if (commit_first && !results_.empty()) return Commit();
    if (Plan()) return;
    if (!live_.empty() && results_.size() < kPlansInFlightMax) ++coverage_->waited_for_plan;
    // Without a plan in flight there is always something to run for a live sequence.
    ASSERT_TRUE(live_.empty() || !results_.empty()) << "no progress";
    if (!results_.empty()) Commit();
  }

  NewSequence DrawSequence() {
    NewSequence sequence;
    sequence.id = static_cast<uint64_t>(Draw(1, 12));
    sequence.prompt.resize(Draw(0, 20) == 0 ? Draw(0, 40)
                                            : Draw(1, std::max<int64_t>(1, ContextMax() / 2)));
    for (int32_t& token : sequence.prompt) token = static_cast<int32_t>(Draw(0, 1000));
    sequence.sampling.seed = random_();
    sequence.max_tokens = Draw(0, 30) == 0 ? 0 : Draw(1, Draw(1, 40));
    if (Draw(0, 3) != 0) sequence.stop_tokens = {3, kStopToken};
    if (Draw(0, 3) == 0) sequence.rope_length = Draw(1, 64);
    return sequence;
  }

  void Arrive() {
    const NewSequence sequence = DrawSequence();
    const auto prompt_tokens = static_cast<int64_t>(sequence.prompt.size());
    const SchedulerCounters before = scheduler_.counters();
    const Status status = scheduler_.Add(sequence);
    StatusCode expected_code = StatusCode::kOk;
    if (prompt_tokens == 0 || sequence.max_tokens < 1 || prompt_tokens + 1 > ContextMax()) {
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
    expected.arrival = ++arrivals_;
    expected.prompt_tokens = prompt_tokens;
    const int64_t tokens_max = std::min(sequence.max_tokens, ContextMax() - prompt_tokens);
    expected.tokens = model_.Generate(sequence, tokens_max);
    const auto& stops = sequence.stop_tokens;
    const bool stopped =
        std::find(stops.begin(), stops.end(), expected.tokens.back()) != stops.end();
    expected.reason = stopped ? FinishReason::kStop : FinishReason::kLength;
    SetPlansLimit(&expected);
    CheckCounters();
  }

  // First come, first served: only the rows of those that came before may delay a sequence, however
  // many came after.
  void SetPlansLimit(Expected* expected) {
    int64_t rows = 0;
    for (const auto& [id, other] : live_) {
      if (other.arrival > expected->arrival) continue;
      rows += other.prompt_tokens + static_cast<int64_t>(other.tokens.size()) + 1;
    }
    expected->plans_limit = plans_ + kPlansInFlightMax + kPlansPerRowMax * rows;
  }

  void Cancel() {
    const auto id = static_cast<uint64_t>(Draw(1, 12));
    const bool was_live = live_.erase(id) == 1;
    ASSERT_EQ(scheduler_.Cancel(id), was_live);
    coverage_->cancelled += was_live ? 1 : 0;
    CheckCounters();
  }

  void LoseGroup() {
    ++coverage_->losses;
    coverage_->losses_in_flight += results_.empty() ? 0 : 1;
    scheduler_.ResetAfterGroupLoss();
    ranks_ = SimulatedRanks(limits_, model_);
    results_.clear();
    const SchedulerCounters counters = scheduler_.counters();
    ASSERT_EQ(counters.free_blocks, limits_.blocks);
    ASSERT_EQ(counters.waiting, static_cast<int64_t>(live_.size()));
    for (auto& [id, expected] : live_) SetPlansLimit(&expected);
    CheckCounters();
  }

  bool Plan() {
    const std::optional<StepPlan> plan = scheduler_.PlanStep();
    CheckCounters();
    if (!plan.has_value()) return false;
    ++plans_;
    Digest(*plan);
    Result<SimulatedResult> result = ranks_.Apply(*plan);
    EXPECT_TRUE(result.ok()) << "step " << plan->step << ": " << result.status().message();
    if (!result.ok()) return true;
    results_.push_back(*result);
    EXPECT_LE(results_.size(), static_cast<size_t>(kPlansInFlightMax));
    // The ranks were told of every release, so both sides count the same blocks.
    EXPECT_EQ(ranks_.held_blocks() + scheduler_.counters().free_blocks, limits_.blocks);
    CheckAdmits(*plan);
    coverage_->full_steps += plan->rows() == limits_.step_rows_max ? 1 : 0;
    for (const PrefillChunk& chunk : plan->prefills) coverage_->chunked += chunk.sample ? 0 : 1;
    return true;
  }

  // No sequence is admitted while one that came before it waits.
  void CheckAdmits(const StepPlan& plan) {
    for (const Admit& admit : plan.admits) {
      const auto admitted = live_.find(admit.id);
      ASSERT_NE(admitted, live_.end()) << "sequence " << admit.id << " is not live";
      for (const auto& [id, other] : live_) {
        if (other.arrival >= admitted->second.arrival) continue;
        ASSERT_TRUE(ranks_.Holds(id)) << admit.id << " overtook " << id;
      }
    }
  }

  void Commit() {
    const SimulatedResult result = results_.front();
    results_.pop_front();
    const Status status = scheduler_.CheckResult(result.step, result.slots, result.tokens);
    ASSERT_TRUE(status.ok()) << status.message();
    const std::vector<SequenceEvent> events =
        scheduler_.CommitStep(result.step, result.slots, result.tokens);
    ranks_.Committed();
    for (const SequenceEvent& event : events) CheckEvent(event);
    for (const auto& [id, expected] : live_) {
      ASSERT_LE(plans_, expected.plans_limit) << "sequence " << id << " waits too long";
    }
    ASSERT_GE(ranks_.held_blocks() + scheduler_.counters().free_blocks, limits_.blocks);
    CheckCounters();
  }

  void CheckEvent(const SequenceEvent& event) {
    const auto found = live_.find(event.id);
    ASSERT_NE(found, live_.end()) << "an event of sequence " << event.id << ", which ended";
    Expected& expected = found->second;
    ASSERT_EQ(event.position, expected.seen);
    ASSERT_LT(event.position, static_cast<int64_t>(expected.tokens.size()));
    ASSERT_EQ(event.token, expected.tokens[event.position]) << "position " << event.position;
    ++expected.seen;
    ++coverage_->tokens;
    ASSERT_EQ(event.finished, event.position + 1 == static_cast<int64_t>(expected.tokens.size()));
    if (!event.finished) return;
    ASSERT_EQ(event.reason, expected.reason);
    ++(event.reason == FinishReason::kStop ? coverage_->stopped : coverage_->ended_by_length);
    live_.erase(found);
  }

  void CheckCounters() {
    const SchedulerCounters counters = scheduler_.counters();
    ASSERT_EQ(counters.waiting + counters.running, static_cast<int64_t>(live_.size()));
    ASSERT_GE(counters.waiting, 0);
    ASSERT_GE(counters.running, 0);
    ASSERT_LE(counters.free_blocks, limits_.blocks);
    ASSERT_EQ(scheduler_.idle(), live_.empty());
  }

  void Digest(const StepPlan& plan) {
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

  std::mt19937_64 random_;
  const SchedulerLimits limits_;
  const FakeModel model_;
  Scheduler scheduler_;
  SimulatedRanks ranks_;
  Coverage* coverage_;
  int64_t arrivals_percent_ = 0, cancels_percent_ = 0, losses_percent_ = 0, commits_percent_ = 0;
  std::map<uint64_t, Expected> live_;    // by id
  std::set<uint64_t> ids_;               // ever used
  std::deque<SimulatedResult> results_;  // of the plans in flight
  uint64_t arrivals_ = 0;
  int64_t plans_ = 0;
  uint64_t digest_ = 0;
};

TEST(SchedulerProperty, RandomSchedulesKeepTheirPromises) {
  Coverage coverage;
  for (int64_t seed = 0; seed < kSchedules; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomSchedule(static_cast<uint64_t>(seed), &coverage).Run();
    if (HasFailure()) return;
  }
  for (const auto& [name, count] : std::map<std::string, int64_t>{
           {"tokens", coverage.tokens},
           {"stopped", coverage.stopped},
           {"ended by length", coverage.ended_by_length},
           {"cancelled", coverage.cancelled},
           {"refused", coverage.refused},
           {"chunks without a sample", coverage.chunked},
           {"group losses", coverage.losses},
           {"group losses with plans in flight", coverage.losses_in_flight},
           {"preemptions", coverage.preemptions},
           {"rows discarded", coverage.discarded},
           {"rows recomputed", coverage.recomputed},
           {"ids used again", coverage.ids_again},
           {"plans put off until a commit", coverage.waited_for_plan},
           {"full steps", coverage.full_steps}}) {
    EXPECT_GE(count, 1000) << name;
    std::printf("%-36s %lld\n", name.c_str(), static_cast<long long>(count));
  }
}

TEST(SchedulerProperty, TheSameCallsGiveTheSamePlans) {
  Coverage coverage;
  for (uint64_t seed = 0; seed < kReplayedSchedules; ++seed) {
    RandomSchedule first(seed, &coverage);
    RandomSchedule second(seed, &coverage);
    first.Run();
    second.Run();
    ASSERT_EQ(first.digest(), second.digest()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace octet::schedule
