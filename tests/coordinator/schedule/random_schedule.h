// One random schedule against a simulated worker group and an oracle. It draws limits, arrivals,
// priorities, shared beginnings, cancels, group losses and the moment of every commit from its
// seed, then stops the arrivals and runs until all have ended. What must hold after every call is
// checked in place, with GoogleTest's expectations.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "tests/coordinator/schedule/simulated_ranks.h"

namespace octet::schedule {

// What the generator reached; a run that missed a case proves nothing about it.
struct Coverage {
  int64_t tokens = 0, stopped = 0, ended_by_length = 0, failed = 0, cancelled = 0, refused = 0;
  int64_t chunked = 0, losses = 0, losses_in_flight = 0, preemptions = 0, discarded = 0;
  int64_t recomputed = 0, ids_again = 0, waited_for_plan = 0, full_steps = 0;
  int64_t cached_tokens = 0, shared_in_flight = 0, prompt_told = 0, told_after_resume = 0;
  int64_t overtaken = 0, evicted = 0;
};

class RandomSchedule {
 public:
  RandomSchedule(uint64_t seed, Coverage* coverage);
  void Run();
  uint64_t digest() const { return digest_; }  // of all plans

 private:
  struct Expected {
    Turn turn;
    int64_t given_tokens = 0;
    FakeAnswer answer;
    FinishReason reason = FinishReason::kStop;
    int64_t seen = 0;         // tokens so far
    int64_t told = 0;         // prompt positions so far
    int64_t plans_limit = 0;  // it must have ended when this many plans were made
    int64_t admissions = 0;
    int64_t cached_tokens = 0;  // at the first of these
    int64_t rows() const { return given_tokens + static_cast<int64_t>(answer.tokens.size()) + 1; }
  };

  int64_t Draw(int64_t low, int64_t high);  // both included
  SchedulerLimits DrawLimits();
  NewSequence DrawSequence();
  std::vector<int32_t> DrawPrompt();
  int64_t ContextMax() const;

  void Call();
  void PlanOrCommit();
  void Arrive();
  void Add(const NewSequence& sequence);
  void Cancel();
  void LoseGroup();
  bool Plan();
  void Commit();

  void SetPlansLimits(Expected* newcomer);
  void CheckAdmits(const StepPlan& plan);
  void CheckEvent(const SequenceEvent& event);
  void CheckToken(const SequenceEvent& event, Expected* expected);
  void CheckState();
  void Digest(const StepPlan& plan);

  std::mt19937_64 random_;
  const SchedulerLimits limits_;
  FakeModel model_;
  Scheduler scheduler_;
  SimulatedRanks ranks_;
  Coverage* coverage_;
  int64_t arrivals_percent_ = 0, cancels_percent_ = 0, losses_percent_ = 0, commits_percent_ = 0;
  int64_t priority_max_ = 0;
  std::map<uint64_t, Expected> live_;  // by id
  std::set<uint64_t> ids_;             // ever used
  std::deque<StepResult> results_;     // of the plans in flight
  uint64_t arrivals_ = 0;
  int64_t plans_ = 0;
  uint64_t digest_ = 0;
};

}  // namespace octet::schedule
