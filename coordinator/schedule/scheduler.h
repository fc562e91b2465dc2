// Decides, step by step, what runs: continuous batching with chunked prefill over a pool of KV
// blocks. Owns every live sequence (its tokens, slot and blocks); one thread calls it, the step
// loop. Pure: no I/O, clock, thread or randomness, so the same calls give the same plans. It
// refuses to know text, requests, transport and what a rank does with a plan.
//
// A sequence is waiting, running (it owns a slot and blocks) or ending (its last row is planned,
// its last tokens are in flight). Plans are pipelined: plan N + 1 may be made before the result of
// plan N is known, and a row that turns out to be past the end of its sequence is discarded at its
// commit.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/block_pool.h"
#include "coordinator/schedule/step_plan.h"
#include "coordinator/schedule/step_result.h"

namespace octet::schedule {

inline constexpr int64_t kPlansInFlightMax = 2;

// REQUIRES: every limit >= 1.
struct SchedulerLimits {
  int64_t blocks = 0;  // in the KV pool
  int64_t block_tokens = 64;
  int64_t slots = 0;          // sequences that may run at once; never more than step_rows_max do
  int64_t step_rows_max = 0;  // rows one step may compute
  int64_t context = 0;        // tokens a sequence may have; never more than the pool holds
  int64_t waiting_max = 0;    // sequences in the queue
};

enum class FinishReason {
  kStop,  // end or stop token
  kLength,
  kCancelled,
  kFailed,  // no token could be chosen: no logit was a number
};

struct NewSequence {
  uint64_t id = 0;
  std::vector<int32_t> prompt;
  SamplingSpec sampling;
  int64_t max_tokens = 0;            // >= 1; clamped to what context leaves after the prompt
  std::vector<int32_t> stop_tokens;  // the model's end tokens and the request's; may be empty
  int64_t rope_length = 0;           // 0: prompt.size()
  int32_t priority = 0;              // lower goes first
};

// What a step brought to one sequence: a generated token, or log-probabilities of its prompt, or
// both (then the prompt's come first). A stop token is reported too, as the last one of its
// sequence. Each prompt position is told once, in order, whatever was computed twice.
struct SequenceEvent {
  uint64_t id = 0;
  int32_t token = -1;    // -1: none
  int64_t position = 0;  // index among the generated tokens
  bool finished = false;
  FinishReason reason = FinishReason::kStop;  // when finished
  std::optional<TokenLogprobs> logprobs;      // of the token, when asked for
  int64_t cached_tokens = 0;    // with position 0: of the prompt, found in the prefix cache
  int64_t prompt_position = 0;  // in the prompt, of the first of:
  std::vector<TokenLogprobs> prompt_logprobs;  // may be empty
};

struct SchedulerCounters {
  int64_t waiting = 0;
  int64_t running = 0;  // running and ending
  int64_t free_blocks = 0;
  int64_t plans_in_flight = 0;
  // Since the start:
  int64_t preemptions = 0;
  int64_t recomputed_rows = 0;  // prefill rows of sequences that ran before
  int64_t discarded_rows = 0;   // sampled past the end of their sequence
};

class Scheduler {
 public:
  explicit Scheduler(SchedulerLimits limits);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // InvalidArgument: an empty prompt, max_tokens < 1, prompt + 1 token over the context or over the
  // whole pool. AlreadyExists: a live sequence has this id. ResourceExhausted: the queue is full.
  Status Add(NewSequence sequence);

  // True when the sequence was live. It ended then, with kCancelled: the return value is the only
  // word of it and no event follows. Its blocks are free once no plan in flight names them. After
  // true the id may be used again.
  bool Cancel(uint64_t id);

  // The next step, or nothing: there is nothing to run, or kPlansInFlightMax plans are in flight,
  // or all that could run waits for a plan in flight. Steps are numbered from 1, without gaps.
  std::optional<StepPlan> PlanStep();

  // Whether a result belongs to the oldest plan in flight: its step, its sampled slots in plan
  // order (sampled prefill chunks, then decodes), tokens >= 0. DataLoss when not: the group is lost
  // then.
  Status CheckResult(uint64_t step, std::span<const int32_t> slots,
                     std::span<const int32_t> tokens) const;

  // Takes the result of the oldest plan in flight and returns what was generated, in plan order.
  // REQUIRES: CheckResult(step, slots, tokens).ok().
  std::vector<SequenceEvent> CommitStep(uint64_t step, std::span<const int32_t> slots,
                                        std::span<const int32_t> tokens);

  // The worker group is gone, and its plans in flight with it. Every live sequence waits again, in
  // order of arrival, with prompt + accepted tokens; all blocks and slots are free and the next
  // plan is for a group that holds nothing. Steps go on counting: a result of before is never due
  // again.
  void ResetAfterGroupLoss();

  SchedulerCounters counters() const;
  bool idle() const { return live_.empty(); }

 private:
  enum class State { kWaiting, kRunning, kEnding };

  struct Sequence {
    uint64_t id = 0;
    uint64_t arrival = 0;         // never used twice, unlike the id
    std::vector<int32_t> tokens;  // prompt + accepted
    int64_t prompt_tokens = 0;
    int64_t max_tokens = 0;
    SamplingSpec sampling;
    std::vector<int32_t> stop_tokens;
    int64_t rope_length = 0;
    bool ran_before = false;

    State state = State::kWaiting;
    int64_t samples_in_flight = 0;
    // While running:
    int32_t slot = -1;
    std::vector<int32_t> blocks;
    int64_t prefill_tokens = 0;  // known at admission: computed in chunks, then decode rows follow
    int64_t rows_planned = 0;    // positions [0, rows_planned) are computed or in flight
    uint64_t last_step = 0;      // the last plan that names the slot
  };

  // A slot and blocks that left their sequence while plans up to last_step still name them.
  struct Leaving {
    int32_t slot = 0;
    std::vector<int32_t> blocks;
    uint64_t last_step = 0;
  };

  struct SampledRow {
    int32_t slot = 0;
    uint64_t id = 0;
    uint64_t arrival = 0;
  };

  struct PlanInFlight {
    uint64_t step = 0;
    std::vector<SampledRow> sampled;
  };

  int64_t BlocksFor(int64_t tokens) const;
  // The parts of PlanStep, in this order; each adds to `plan` and to the samples it will bring.
  void PlanDecodes(StepPlan* plan, PlanInFlight* sampled);
  void PlanPrefills(StepPlan* plan, PlanInFlight* sampled);
  void PlanAdmissions(StepPlan* plan, PlanInFlight* sampled);
  // As much of the sequence's prefill as the step still has rows for.
  void PlanChunk(Sequence* sequence, StepPlan* plan, PlanInFlight* sampled);
  // The plan samples a token for `sequence`; its last one makes the sequence end.
  void PlanSample(Sequence* sequence, PlanInFlight* sampled);
  bool CoverNextRow(Sequence* sequence, int64_t* blocks_awaited, StepPlan* plan);
  bool Admissible(const Sequence& sequence) const;
  void PreemptYoungest();
  // Parts the sequence from its slot and blocks.
  void Leave(Sequence* sequence);
  // Frees what left and is named by no plan in flight any more.
  void Reclaim();
  SequenceEvent Accept(Sequence* sequence, int32_t token);
  void Forget(Sequence* sequence);
  void FreeAllSlots();

  SchedulerLimits limits_;
  int64_t watermark_blocks_ = 0;
  BlockPool pool_;
  std::vector<int32_t> free_slots_;        // the next one at the end
  std::vector<int32_t> releases_pending_;  // blocks are free, the ranks were not told yet
  std::vector<Leaving> leaving_;
  std::unordered_map<uint64_t, Sequence> live_;  // by id
  // Both in order of arrival; every running sequence arrived before every waiting one.
  std::deque<Sequence*> waiting_;
  std::vector<Sequence*> running_;
  std::deque<PlanInFlight> in_flight_;
  uint64_t arrivals_ = 0;
  uint64_t steps_planned_ = 0;
  uint64_t steps_over_ = 0;  // committed or void
  SchedulerCounters totals_;
};

}  // namespace octet::schedule
