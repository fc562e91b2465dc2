#include "coordinator/engine/step_loop.h"

#include <utility>

#include "base/check.h"

namespace octet::engine {

StepLoop::StepLoop(PlanSink* plans) : plans_(plans), thread_([this] { Run(); }) {}

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
void StepLoop::StepDone(StepOutcome outcome) { Push(std::move(outcome)); }
void StepLoop::GroupLost(uint64_t epoch) { Push(LostEvent{epoch}); }
void StepLoop::FailAll(Status why) { Push(FailEvent{std::move(why)}); }

void StepLoop::Push(Event event) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(event));
  }
  inbox_filled_.notify_one();
}

LoopStats StepLoop::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void StepLoop::Run() {
  std::vector<Event> events;
  std::unique_lock lock(mutex_);
  while (true) {
    inbox_filled_.wait(lock, [this] { return stopping_ || !inbox_.empty(); });
    if (inbox_.empty()) return;
    events.swap(inbox_);
    lock.unlock();
    for (Event& event : events) std::visit([this](auto& e) { On(e); }, event);
    events.clear();
    SendPlans();
    lock.lock();
    if (scheduler_.has_value()) stats_.scheduler = scheduler_->counters();
  }
}

void StepLoop::SendPlans() {
  if (epoch_ == 0) return;
  while (const std::optional<schedule::StepPlan> plan = scheduler_->PlanStep())
    plans_->SendPlan(epoch_, *plan);
}

void StepLoop::On(intake::Submission& submission) {
  intake::Answer& answer = *submission.answer;
  if (answer.cancel_requested())
    return answer.Fail(Status(StatusCode::kCancelled, "cancelled by the client"));
  if (!failed_.ok()) return answer.Fail(failed_);
  // Intake opens only after a group was ready.
  OCTET_CHECK(scheduler_.has_value());
  const uint64_t id = submission.id;
  OCTET_CHECK_EQ(submission.sequences.size(), size_t{1});
  if (Status added = scheduler_->Add(std::move(submission.sequences[0])); !added.ok())
    return answer.Fail(added);
  answer.Accept();
  answers_.emplace(id, std::move(submission.answer));
}

void StepLoop::On(const CancelEvent& event) {
  // Not live: it has ended, or it is still on its way here and says so itself.
  if (!scheduler_.has_value() || !scheduler_->Cancel(event.id)) return;
  const auto answer = answers_.extract(event.id);
  OCTET_CHECK(!answer.empty());
  answer.mapped()->Fail(Status(StatusCode::kCancelled, "cancelled by the client"));
}

void StepLoop::On(const ReadyEvent& event) {
  if (!scheduler_.has_value()) scheduler_.emplace(event.limits);
  epoch_ = event.epoch;
}

void StepLoop::On(const StepOutcome& outcome) {
  if (epoch_ == 0 || outcome.epoch != epoch_) return;  // of a group that is gone
  const schedule::StepResult& result = outcome.result;
  if (Status status = scheduler_->CheckResult(result.step, result.slots, result.tokens);
      !status.ok()) {
    plans_->Condemn(epoch_, status);
    return On(LostEvent{epoch_});
  }
  for (const schedule::SequenceEvent& event :
       scheduler_->CommitStep(result.step, result.slots, result.tokens)) {
    const auto found = answers_.find(event.id);
    OCTET_CHECK(found != answers_.end());
    if (!found->second->Take(0, event)) continue;
    if (!event.finished) scheduler_->Cancel(event.id);  // a stop string ended it
    answers_.erase(found);
  }
}

void StepLoop::On(const LostEvent& event) {
  if (epoch_ == 0 || event.epoch != epoch_) return;
  epoch_ = 0;
  scheduler_->ResetAfterGroupLoss();
}

void StepLoop::On(const FailEvent& event) {
  failed_ = event.why;
  for (auto& [id, answer] : std::exchange(answers_, {})) {
    OCTET_CHECK(scheduler_->Cancel(id));
    answer->Fail(event.why);
  }
}

}  // namespace octet::engine
