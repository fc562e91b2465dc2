#include "coordinator/engine/step_loop.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace octet::engine {
namespace {

constexpr uint64_t kSelfTestId = ~uint64_t{0};  // of no request

Status CancelledByClient() { return {StatusCode::kCancelled, "cancelled by the client"}; }

}  // namespace

StepLoop::StepLoop(PlanSink* plans, double self_test_seconds, TokenRates::Clock clock)
    : plans_(plans),
      self_test_seconds_(self_test_seconds),
      rates_(std::move(clock)),
      thread_([this] { Run(); }) {}

StepLoop::~StepLoop() {
  FailAll(Unavailable("the service is shutting down"));
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  inbox_filled_.notify_one();
  thread_.join();
}

void StepLoop::Submit(intake::Submission submission) { Push(std::move(submission)); }
void StepLoop::Cancel(uint64_t id) { Push(CancelEvent{id}); }
void StepLoop::GroupReady(uint64_t epoch, const schedule::SchedulerLimits& limits) {
  Push(ReadyEvent{epoch, limits});
}

void StepLoop::StepDone(StepOutcome outcome) {
  std::unique_lock lock(mutex_);
  inbox_.push_back(std::move(outcome));
  if (in_turn_) return;
  TakeTurns(lock);
  // What the thread sleeps for may have changed.
  if (stopping_ || SelfTestDue().has_value()) inbox_filled_.notify_one();
}

void StepLoop::GroupLost(uint64_t epoch) { Push(LostEvent{epoch}); }
void StepLoop::FailAll(Status why) { Push(FailEvent{std::move(why)}); }

void StepLoop::Push(Event event) {
  const std::lock_guard lock(mutex_);
  inbox_.push_back(std::move(event));
  if (!in_turn_) inbox_filled_.notify_one();
}

LoopStats StepLoop::stats() const {
  const std::lock_guard lock(mutex_);
  LoopStats stats = stats_;
  const TokenRates::Rates rates = rates_.Over();
  stats.prompt_tokens_per_second = rates.prompt_tokens_per_second;
  stats.generated_tokens_per_second = rates.generated_tokens_per_second;
  stats.rate_seconds = rates.seconds;
  return stats;
}

void StepLoop::Run() {
  pthread_setname_np(pthread_self(), "octet-steps");
  std::unique_lock lock(mutex_);
  while (true) {
    const std::optional<double> due = in_turn_ ? std::nullopt : SelfTestDue();
    if (!in_turn_ && (!inbox_.empty() || due == 0))
      TakeTurns(lock);
    else if (!in_turn_ && stopping_)
      return;
    else if (due.has_value())
      inbox_filled_.wait_for(lock, std::chrono::duration<double>(*due));
    else
      inbox_filled_.wait(lock);  // whoever is in a turn takes what comes meanwhile
  }
}

// REQUIRES: mutex_ is held, and nobody is in a turn. Turns until the inbox is empty.
void StepLoop::TakeTurns(std::unique_lock<std::mutex>& lock) {
  in_turn_ = true;
  std::vector<Event> events;
  while (!inbox_.empty() || SelfTestDue() == 0) {
    events.swap(inbox_);
    lock.unlock();
    plans_->OnTurnBegin();
    for (Event& event : events) std::visit([this](auto& e) { On(e); }, event);
    events.clear();
    if (SelfTestDue() == 0) AddSelfTest();
    SendPlans();
    plans_->OnTurnEnd();
    lock.lock();
    if (scheduler_.has_value()) stats_.scheduler = scheduler_->counters();
    rates_.Observe({stats_.scheduler.prompt_tokens, stats_.scheduler.generated_tokens});
    stats_.requests_completed = completed_;
    stats_.requests_failed = failed_requests_;
    stats_.requests_cancelled = cancelled_;
  }
  in_turn_ = false;
}

void StepLoop::SendPlans() {
  if (epoch_ == 0) return;
  while (const std::optional<schedule::StepPlan> plan = scheduler_->PlanStep())
    plans_->SendPlan(epoch_, *plan);
}

// Seconds; nothing when none will be due before something else happens.
std::optional<double> StepLoop::SelfTestDue() {
  if (self_test_seconds_ <= 0 || epoch_ == 0 || self_testing_ || !samples_.empty())
    return std::nullopt;
  if (!group_works_) return 0;
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - last_step_;
  return std::max(0.0, self_test_seconds_ - since.count());
}

void StepLoop::AddSelfTest() {
  schedule::NewSequence sequence;
  sequence.id = kSelfTestId;
  sequence.prompt = {0};
  sequence.max_tokens = 1;
  sequence.is_self_test = true;
  OCTET_CHECK(scheduler_->Add(std::move(sequence)).ok());
  self_testing_ = true;
}

void StepLoop::On(intake::Submission& submission) {
  intake::Answer& answer = *submission.answer;
  if (answer.cancel_requested()) {
    ++cancelled_;
    return answer.Fail(CancelledByClient());
  }
  Request request{submission.id, static_cast<int64_t>(submission.sequences.size())};
  Status added = failed_;
  // Intake opens only after a group was ready.
  OCTET_CHECK(!failed_.ok() || scheduler_.has_value());
  if (added.ok()) added = AddSamples(std::move(submission.sequences));
  if (!added.ok()) {
    ++failed_requests_;
    return answer.Fail(added);
  }
  answer.Accept();
  request.answer = std::move(submission.answer);
  Request* const live = &requests_.emplace(request.id, std::move(request)).first->second;
  for (int64_t sample = 0; sample < live->samples; ++sample) {
    samples_.emplace(live->id + static_cast<uint64_t>(sample), live);
  }
}

// No plan is made in between, so nobody sees the samples of a request that is refused.
Status StepLoop::AddSamples(std::vector<schedule::NewSequence> sequences) {
  OCTET_CHECK(!sequences.empty());
  const uint64_t id = sequences[0].id;
  for (size_t sample = 0; sample < sequences.size(); ++sample) {
    OCTET_CHECK_EQ(sequences[sample].id, id + sample);
    const Status added = scheduler_->Add(std::move(sequences[sample]));
    if (added.ok()) continue;
    while (sample > 0) OCTET_CHECK(scheduler_->Cancel(id + --sample));
    return added;
  }
  return {};
}

std::unique_ptr<intake::Answer> StepLoop::Drop(Request* request) {
  const uint64_t id = request->id;
  for (uint64_t sample = id; sample < id + static_cast<uint64_t>(request->samples); ++sample) {
    if (samples_.erase(sample) == 1) scheduler_->Cancel(sample);
  }
  std::unique_ptr<intake::Answer> answer = std::move(request->answer);
  requests_.erase(id);
  return answer;
}

void StepLoop::On(const CancelEvent& event) {
  // Not live: it has ended, or it is still on its way here and says so itself.
  const auto found = requests_.find(event.id);
  if (found == requests_.end()) return;
  ++cancelled_;
  Drop(&found->second)->Fail(CancelledByClient());
}

void StepLoop::On(const ReadyEvent& event) {
  if (!scheduler_.has_value()) scheduler_.emplace(event.limits);
  epoch_ = event.epoch;
  group_works_ = self_test_seconds_ <= 0;
  if (group_works_) plans_->OnGroupWorks(epoch_);
}

void StepLoop::On(StepOutcome& outcome) {
  if (epoch_ == 0 || outcome.epoch != epoch_) return;  // of a group that is gone
  if (Status status = scheduler_->CheckResult(outcome.result); !status.ok()) {
    plans_->Condemn(epoch_, status);
    return On(LostEvent{epoch_});
  }
  last_step_ = std::chrono::steady_clock::now();
  bool passed = true;
  for (const schedule::SequenceEvent& event : scheduler_->CommitStep(std::move(outcome.result))) {
    if (event.id != kSelfTestId) {
      Deliver(event);
      continue;
    }
    self_testing_ = false;
    passed = event.reason != schedule::FinishReason::kFailed;
  }
  if (!passed) {
    plans_->Condemn(epoch_, Internal("the workers' self-test failed: no logit was a number"));
    return On(LostEvent{epoch_});
  }
  if (!std::exchange(group_works_, true)) plans_->OnGroupWorks(epoch_);
}

void StepLoop::Deliver(const schedule::SequenceEvent& event) {
  const auto found = samples_.find(event.id);
  if (found == samples_.end()) return;  // its request failed earlier in this step
  Request* const request = found->second;
  if (!Take(request, event)) return;
  if (event.finished && event.reason == schedule::FinishReason::kFailed) {
    // A request is answered whole: its other samples are over too, whatever they do.
    request->failed = true;
    schedule::SequenceEvent cancelled;
    cancelled.finished = true;
    cancelled.reason = schedule::FinishReason::kCancelled;
    const uint64_t end = request->id + static_cast<uint64_t>(request->samples);
    for (cancelled.id = request->id; cancelled.id < end; ++cancelled.id) {
      if (samples_.contains(cancelled.id)) OCTET_CHECK(Take(request, cancelled));
    }
  }
  if (request->samples_over < request->samples) return;
  ++(request->failed ? failed_requests_ : completed_);
  Drop(request);
}

// Whether the sample is over; then it is live no more.
bool StepLoop::Take(Request* request, const schedule::SequenceEvent& event) {
  const bool over = request->answer->Take(static_cast<int32_t>(event.id - request->id), event);
  OCTET_CHECK(over || !event.finished);
  if (!over) return false;
  scheduler_->Cancel(event.id);  // unless it has ended by itself
  samples_.erase(event.id);
  ++request->samples_over;
  return true;
}

void StepLoop::On(const LostEvent& event) {
  if (epoch_ == 0 || event.epoch != epoch_) return;
  epoch_ = 0;
  scheduler_->ResetAfterGroupLoss();
}

void StepLoop::On(const FailEvent& event) {
  failed_ = event.why;
  while (!requests_.empty()) {
    ++failed_requests_;
    Drop(&requests_.begin()->second)->Fail(event.why);
  }
}

}  // namespace octet::engine
