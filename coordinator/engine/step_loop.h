// The heart: owns the scheduler, turns what happens (submissions, cancels, results, workers that
// come and go) into plans, and feeds answers. Nothing else touches the scheduler. It goes on by
// turns, one at a time: on the thread that brings a result, so that no other has to wake in a step,
// and on a thread of its own for everything else.
//
// Plan N + 1 goes out before the result of plan N is back; with nothing to do the thread sleeps.
// Everyone else talks to it through an inbox whose calls never block. When the workers are lost it
// keeps every live sequence, and goes on where they were when others are ready. Knows nothing of
// gRPC, processes and text.
//
// A group that has nothing to do computes a self-test now and then, a sequence of one token through
// all that a request goes through: its deadlines find out when it can not. It is in no counter but
// that of steps.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/status.h"
#include "coordinator/engine/token_rates.h"
#include "coordinator/intake/answer.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::engine {

// Where plans go. Called within turns; must not block.
class PlanSink {
 public:
  // A plan for the worker group `epoch`. When that group is gone the plan is dropped: its loss is
  // reported anyway.
  virtual void SendPlan(uint64_t epoch, const schedule::StepPlan& plan) = 0;
  // The group answered what it can not have computed: it must not be used any more.
  virtual void Condemn(uint64_t epoch, const Status& why) = 0;
  // The group has computed its first step, once per group: it does not only say that it can.
  virtual void OnGroupWorks(uint64_t epoch) = 0;
  // Around everything that the loop does at once: between the two, answers are fed and plans sent.
  virtual void OnTurnBegin() = 0;
  virtual void OnTurnEnd() = 0;

 protected:
  ~PlanSink() = default;
};

struct StepOutcome {
  uint64_t epoch = 0;
  schedule::StepResult result;
};

// Counters are as of the last event and go on over losses of the worker group; rates are as of now.
struct LoopStats {
  schedule::SchedulerCounters scheduler;
  int64_t requests_completed = 0;
  int64_t requests_failed = 0;  // refused here, or ended by an error
  int64_t requests_cancelled = 0;
  double prompt_tokens_per_second = 0;  // over the last rate_seconds
  double generated_tokens_per_second = 0;
  double rate_seconds = 0;
};

class StepLoop {
 public:
  // The clock serves the rates alone. A group is tested when it is new, and again when no step was
  // done for `self_test_seconds`; 0: never, and a group works when it is ready.
  explicit StepLoop(PlanSink* plans, double self_test_seconds = 0,
                    TokenRates::Clock clock = &std::chrono::steady_clock::now);
  // Stops the thread; what is still live fails as UNAVAILABLE. REQUIRES: nobody brings results now.
  ~StepLoop();
  StepLoop(const StepLoop&) = delete;
  StepLoop& operator=(const StepLoop&) = delete;

  // Any thread, at any time. A submission's answer gets its end from here.
  void Submit(intake::Submission submission);
  void Cancel(uint64_t id);  // of a request, with all its samples
  // Steps of group `epoch` may begin. Every group has the limits of the first.
  void GroupReady(uint64_t epoch, const schedule::SchedulerLimits& limits);
  // Takes a turn before it returns, unless another thread is in one. REQUIRES: the caller holds no
  // lock that the plan sink or an answer takes.
  void StepDone(StepOutcome outcome);
  // Live sequences wait for another group.
  void GroupLost(uint64_t epoch);
  // Every live sequence, and every later submission, ends with `why`.
  void FailAll(Status why);

  LoopStats stats() const;

 private:
  struct Request {
    uint64_t id = 0;  // and of its first sample; the others follow
    int64_t samples = 0;
    int64_t samples_over = 0;
    bool failed = false;
    std::unique_ptr<intake::Answer> answer;
  };
  struct CancelEvent {
    uint64_t id;
  };
  struct ReadyEvent {
    uint64_t epoch;
    schedule::SchedulerLimits limits;
  };
  struct LostEvent {
    uint64_t epoch;
  };
  struct FailEvent {
    Status why;
  };
  using Event =
      std::variant<intake::Submission, CancelEvent, ReadyEvent, StepOutcome, LostEvent, FailEvent>;

  void Push(Event event);
  void Run();
  void TakeTurns(std::unique_lock<std::mutex>& lock);
  void SendPlans();
  // How long the thread may sleep. REQUIRES: in a turn, or mutex_ is held and nobody is in one.
  std::optional<double> SelfTestDue();
  void AddSelfTest();
  void On(intake::Submission& submission);
  void On(const CancelEvent& event);
  void On(const ReadyEvent& event);
  void On(StepOutcome& outcome);
  void On(const LostEvent& event);
  void On(const FailEvent& event);
  // All samples, or none.
  Status AddSamples(std::vector<schedule::NewSequence> sequences);
  void Deliver(const schedule::SequenceEvent& event);
  bool Take(Request* request, const schedule::SequenceEvent& event);
  // The request is live no more, nor are its samples. The answer, whose end is the caller's.
  std::unique_ptr<intake::Answer> Drop(Request* request);

  // Of whoever is in a turn.
  PlanSink* plans_;
  std::optional<schedule::Scheduler> scheduler_;    // from the first ready group on
  std::unordered_map<uint64_t, Request> requests_;  // live, by id
  std::unordered_map<uint64_t, Request*> samples_;  // those that are not over, by sequence
  int64_t completed_ = 0, failed_requests_ = 0, cancelled_ = 0;
  uint64_t epoch_ = 0;  // of the group in use; 0: none
  const double self_test_seconds_;
  bool group_works_ = false;  // it has computed a step
  bool self_testing_ = false;
  std::chrono::steady_clock::time_point last_step_{};
  Status failed_;  // not ok: nothing is taken any more

  mutable std::mutex mutex_;
  std::condition_variable inbox_filled_;
  std::vector<Event> inbox_;
  bool in_turn_ = false;
  bool stopping_ = false;
  LoopStats stats_;  // but the rates
  TokenRates rates_;

  std::thread thread_;
};

}  // namespace octet::engine
