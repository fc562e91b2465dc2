// Decides, step by step, what runs: continuous batching with chunked prefill over a pool of KV
// blocks that sequences with the same beginning share. Owns every live sequence (its tokens, slot
// and table of blocks); one thread calls it, the step loop. Pure: no I/O, clock, thread or
// randomness, so the same calls give the same plans. It refuses to know text, requests, transport
// and what a rank does with a plan.
//
// A sequence is waiting, running or ending (its last row is planned, its last tokens are in
// flight). Plans are pipelined: plan N + 1 may be made before the result of plan N is known, and a
// row that turns out to be past the end of its sequence is discarded at its commit.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/block_cache.h"
#include "coordinator/schedule/sequence.h"
#include "coordinator/schedule/step_plan.h"
#include "coordinator/schedule/step_result.h"

namespace octet::schedule {

inline constexpr int64_t kPlansInFlightMax = 2;
// A priority is within [-kPriorityMax, kPriorityMax]. One step of priority lets a sequence overtake
// those that came at most kPrioritySteps steps before it, and nobody else.
inline constexpr int32_t kPriorityMax = 100;
inline constexpr int64_t kPrioritySteps = 64;

// REQUIRES: every limit >= 1.
struct SchedulerLimits {
  int64_t blocks = 0;  // in the KV pool
  int64_t block_tokens = 64;
  int64_t slots = 0;          // sequences that may run at once; never more than step_rows_max do
  int64_t step_rows_max = 0;  // rows one step may compute
  int64_t context = 0;        // tokens a sequence may have; never more than the pool holds
  int64_t waiting_max = 0;    // sequences in the queue
  int64_t priority_steps = kPrioritySteps;
  // The model rotates sequences with more prompt_tokens than this by their length (dynamic RoPE
  // scaling): of those only ones that agree in it can share blocks. 0: it rotates all alike.
  int64_t rope_scaled_beyond = 0;
  int64_t vocab =
      std::numeric_limits<int32_t>::max();  // of the model: results have tokens below it
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
  // Of the request, at its first admission: fewer than prompt.size() when the prompt ends with what
  // was generated before. 0: prompt.size().
  int64_t prompt_tokens = 0;
  int32_t priority = 0;       // lower goes first
  bool is_self_test = false;  // nobody's request: its tokens are not counted
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
  int64_t running = 0;          // running and ending
  int64_t used_blocks = 0;      // used + free: all
  int64_t free_blocks = 0;      // those that can still be found by what they hold included
  int64_t cached_blocks = 0;    // that can be found, used or free
  int64_t reusable_blocks = 0;  // of these, the free ones
  int64_t plans_in_flight = 0;
  // Since the start:
  int64_t steps = 0;                  // committed
  int64_t prompt_tokens = 0;          // planned or found in the cache, each once
  int64_t generated_tokens = 0;       // accepted
  int64_t prefix_queried_tokens = 0;  // of sequences at their first admission
  int64_t prefix_hit_tokens = 0;      // of these, found in the cache
  int64_t preemptions = 0;
  int64_t recomputed_rows = 0;  // prefill rows of sequences that ran before
  int64_t discarded_rows = 0;   // sampled past the end of their sequence
};

class Scheduler {
 public:
  explicit Scheduler(SchedulerLimits limits);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // InvalidArgument: an empty prompt, more prompt_tokens than it has, max_tokens < 1, a priority
  // over its limit, prompt + 1 token over the context or over the whole pool. AlreadyExists: a live
  // sequence has this id. ResourceExhausted: the queue is full.
  Status Add(NewSequence sequence);

  // True when the sequence was live. It ended then, with kCancelled: the return value is the only
  // word of it and no event follows. Its blocks are free once no plan in flight names them. After
  // true the id may be used again.
  bool Cancel(uint64_t id);

  // The next step, or nothing: there is nothing to run, or kPlansInFlightMax plans are in flight,
  // or all that could run waits for a plan in flight. Steps are numbered from 1, without gaps.
  std::optional<StepPlan> PlanStep();

  // Whether a result belongs to the oldest plan in flight: its step, its sampled slots in plan
  // order (sampled prefill chunks, then decodes), a token of the model or -1 for each, and
  // log-probabilities for exactly the rows that were to tell them. DataLoss when not: the group is
  // lost then.
  Status CheckResult(const StepResult& result) const;

  // Takes the result of the oldest plan in flight and returns what it brought, in plan order, at
  // most one event for a sequence. Where the token is -1 the sequence ends with kFailed.
  // REQUIRES: CheckResult(result).ok().
  std::vector<SequenceEvent> CommitStep(StepResult result);

  // The worker group is gone, and its plans in flight with it. Every live sequence waits again, in
  // its turn, with prompt + accepted tokens; all blocks and slots are free, none can be found, and
  // the next plan is for a group that holds nothing. Steps go on counting: a result of before is
  // never due again.
  void ResetAfterGroupLoss();

  SchedulerCounters counters() const;
  bool idle() const { return live_.empty(); }
  // Whether every block, slot and sequence is exactly where it must be. For tests: walks over all.
  Status Audit() const;

 private:
  struct Draft {
    StepPlan plan;
    PlanInFlight in_flight;
    int64_t rows_left = 0;
    int64_t blocks_awaited = 0;  // by sequences that leave this step out
  };

  int64_t BlocksFor(int64_t tokens) const;
  BlockKey KeyOf(Sequence* sequence, int64_t block_index) const;
  // The parts of PlanStep, in this order.
  void PlanDecodes(Draft* draft);
  void PlanPrefills(Draft* draft);
  // Admits who waits, up to the turn of `before` (null: all), and says how many.
  size_t PlanAdmissions(const Sequence* before, Draft* draft);
  bool CoverNextRow(Sequence* sequence, Draft* draft);
  void PreemptLast();
  // The cached blocks with which the sequence would begin, into hits_; false: it must wait.
  bool Admissible(Sequence* sequence);
  void FindHits(Sequence* sequence);
  void Admit(Sequence* sequence, Draft* draft);
  // As much of the sequence's prefill as the step still has rows for.
  void PlanChunk(Sequence* sequence, Draft* draft);
  void PlanTelling(Sequence* sequence, PrefillChunk* chunk, DueResult* due) const;
  // The plan brings `due` to the sequence; its last sample makes it end.
  void PlanResult(Sequence* sequence, DueResult due, Draft* draft);
  // Makes those blocks findable that are full of known tokens and computed or planned.
  void PublishFullBlocks(Sequence* sequence);

  // The sequence's part of a result, and what it means.
  void AcceptPrompt(Sequence* sequence, const DueResult& due, PromptLogprobs* told,
                    SequenceEvent* event);
  void AcceptToken(Sequence* sequence, int32_t token, SequenceEvent* event);
  void Fail(Sequence* sequence, int32_t slot, SequenceEvent* event);

  // Parts the sequence from its slot and blocks.
  void Leave(Sequence* sequence);
  // Frees what left and is named by no plan in flight any more.
  void Reclaim();
  void StopRunning(const Sequence* sequence);
  void Remove(Sequence* sequence);
  void FreeAllSlots();

  SchedulerLimits limits_;
  int64_t watermark_blocks_ = 0;
  BlockCache cache_;
  std::vector<int32_t> free_slots_;        // the next one at the end
  std::vector<int32_t> releases_pending_;  // blocks are free, the ranks were not told yet
  std::vector<Leaving> leaving_;
  std::unordered_map<uint64_t, Sequence> live_;  // by id
  // Both by turn.
  std::set<Sequence*, EarlierTurn> waiting_;
  std::vector<Sequence*> running_;
  std::vector<int32_t> hits_;  // scratch of PlanAdmissions
  std::deque<PlanInFlight> in_flight_;
  uint64_t arrivals_ = 0;
  uint64_t steps_planned_ = 0;
  uint64_t steps_over_ = 0;  // committed or void
  SchedulerCounters totals_;
};

}  // namespace octet::schedule
