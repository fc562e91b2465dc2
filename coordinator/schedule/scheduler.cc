#include "coordinator/schedule/scheduler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"

namespace octet::schedule {
namespace {

// Blocks that an admission leaves free for the sequences that run already: one in this many.
constexpr int64_t kWatermarkPart = 100;

SchedulerLimits Checked(SchedulerLimits limits) {
  OCTET_CHECK_GE(limits.blocks, 1);
  OCTET_CHECK_GE(limits.block_tokens, 1);
  OCTET_CHECK_GE(limits.slots, 1);
  OCTET_CHECK_GE(limits.step_rows_max, 1);
  OCTET_CHECK_GE(limits.context, 1);
  OCTET_CHECK_GE(limits.waiting_max, 1);
  // A sequence alone in the pool must be able to end.
  limits.context = std::min(limits.context, limits.blocks * limits.block_tokens);
  return limits;
}

int64_t Size(const std::vector<int32_t>& values) { return static_cast<int64_t>(values.size()); }

}  // namespace

Scheduler::Scheduler(SchedulerLimits limits)
    : limits_(Checked(limits)),
      watermark_blocks_(std::max<int64_t>(1, limits.blocks / kWatermarkPart)),
      pool_(limits.blocks) {
  FreeAllSlots();
}

void Scheduler::FreeAllSlots() {
  free_slots_.clear();
  for (int64_t slot = limits_.slots - 1; slot >= 0; --slot) {
    free_slots_.push_back(static_cast<int32_t>(slot));
  }
}

int64_t Scheduler::BlocksFor(int64_t tokens) const {
  return (tokens + limits_.block_tokens - 1) / limits_.block_tokens;
}

Status Scheduler::Add(NewSequence request) {
  const int64_t prompt_tokens = Size(request.prompt);
  if (prompt_tokens == 0) return InvalidArgument("the prompt has no tokens; at least 1 is needed");
  if (request.max_tokens < 1) {
    return InvalidArgument("max_tokens is " + std::to_string(request.max_tokens) +
                           "; at least 1 is expected");
  }
  if (prompt_tokens + 1 > limits_.context) {
    return InvalidArgument("the prompt has " + std::to_string(prompt_tokens) + " tokens; at most " +
                           std::to_string(limits_.context - 1) + " leave room for an answer");
  }
  if (live_.count(request.id) != 0) {
    return {StatusCode::kAlreadyExists,
            "sequence " + std::to_string(request.id) + " is live already; ids must differ"};
  }
  if (static_cast<int64_t>(waiting_.size()) >= limits_.waiting_max) {
    return ResourceExhausted(std::to_string(waiting_.size()) + " sequences wait; at most " +
                             std::to_string(limits_.waiting_max) + " may");
  }
  Sequence& sequence = live_[request.id];
  sequence.id = request.id;
  sequence.arrival = ++arrivals_;
  sequence.tokens = std::move(request.prompt);
  sequence.prompt_tokens = prompt_tokens;
  sequence.max_tokens = std::min(request.max_tokens, limits_.context - prompt_tokens);
  sequence.sampling = request.sampling;
  sequence.stop_tokens = std::move(request.stop_tokens);
  sequence.rope_length = request.rope_length != 0 ? request.rope_length : prompt_tokens;
  waiting_.push_back(&sequence);
  return {};
}

bool Scheduler::Cancel(uint64_t id) {
  const auto found = live_.find(id);
  if (found == live_.end()) return false;
  Forget(&found->second);
  Reclaim();
  return true;
}

std::optional<StepPlan> Scheduler::PlanStep() {
  if (static_cast<int64_t>(in_flight_.size()) >= kPlansInFlightMax) return std::nullopt;
  StepPlan plan;
  plan.step = steps_planned_ + 1;
  PlanInFlight sampled;
  sampled.step = plan.step;
  PlanDecodes(&plan, &sampled);
  PlanPrefills(&plan, &sampled);
  PlanAdmissions(&plan, &sampled);
  std::erase_if(running_, [](const Sequence* s) { return s->state == State::kEnding; });
  OCTET_CHECK_LE(plan.rows(), limits_.step_rows_max);
  if (plan.rows() == 0) {
    OCTET_CHECK(live_.empty() || !in_flight_.empty());
    return std::nullopt;
  }
  // Decodes were planned first, but their rows and results come after the prefills'.
  std::rotate(sampled.sampled.begin(),
              sampled.sampled.begin() + static_cast<int64_t>(plan.decodes.size()),
              sampled.sampled.end());
  plan.releases = std::exchange(releases_pending_, {});
  steps_planned_ = plan.step;
  in_flight_.push_back(std::move(sampled));
  return plan;
}

void Scheduler::PlanDecodes(StepPlan* plan, PlanInFlight* sampled) {
  int64_t blocks_awaited = 0;
  // Oldest first; running_ shrinks at its end when the youngest is preempted.
  for (size_t index = 0; index < running_.size(); ++index) {
    Sequence* sequence = running_[index];
    if (sequence->rows_planned < sequence->prefill_tokens) continue;
    if (!CoverNextRow(sequence, &blocks_awaited, plan)) continue;
    plan->decodes.push_back(sequence->slot);
    ++sequence->rows_planned;
    sequence->last_step = plan->step;
    PlanSample(sequence, sampled);
  }
}

// Sees to it that the block table covers the next row. When no block is free the sequence leaves
// the step out if blocks are about to come back, else the youngest make room, itself at last.
bool Scheduler::CoverNextRow(Sequence* sequence, int64_t* blocks_awaited, StepPlan* plan) {
  if (sequence->rows_planned < Size(sequence->blocks) * limits_.block_tokens) return true;
  while (pool_.free_blocks() == 0) {
    int64_t blocks_leaving = 0;
    for (const Leaving& leaving : leaving_) blocks_leaving += Size(leaving.blocks);
    if (blocks_leaving > *blocks_awaited) {
      ++*blocks_awaited;
      return false;
    }
    const bool itself = running_.back() == sequence;
    PreemptYoungest();
    if (itself) return false;
  }
  sequence->blocks.push_back(pool_.Take());
  plan->blocks.push_back({sequence->slot, {sequence->blocks.back()}});
  return true;
}

void Scheduler::PreemptYoungest() {
  Sequence* victim = running_.back();
  running_.pop_back();
  Leave(victim);
  victim->state = State::kWaiting;
  waiting_.push_front(victim);
  ++totals_.preemptions;
  Reclaim();
}

void Scheduler::PlanPrefills(StepPlan* plan, PlanInFlight* sampled) {
  for (Sequence* sequence : running_) {
    if (sequence->rows_planned < sequence->prefill_tokens) PlanChunk(sequence, plan, sampled);
  }
}

// Only to a step with a row left: so never more run than a step has rows, and no decode starves.
void Scheduler::PlanAdmissions(StepPlan* plan, PlanInFlight* sampled) {
  while (!waiting_.empty() && plan->rows() < limits_.step_rows_max &&
         Admissible(*waiting_.front())) {
    Sequence* sequence = waiting_.front();
    waiting_.pop_front();
    running_.push_back(sequence);
    sequence->state = State::kRunning;
    sequence->slot = free_slots_.back();
    free_slots_.pop_back();
    sequence->prefill_tokens = Size(sequence->tokens);
    sequence->rows_planned = 0;
    for (int64_t left = BlocksFor(sequence->prefill_tokens + 1); left > 0; --left) {
      sequence->blocks.push_back(pool_.Take());
    }
    plan->admits.push_back(
        {sequence->slot, sequence->id, sequence->sampling, sequence->rope_length});
    plan->blocks.push_back({sequence->slot, sequence->blocks});
    if (sequence->ran_before) totals_.recomputed_rows += sequence->prefill_tokens;
    sequence->ran_before = true;
    PlanChunk(sequence, plan, sampled);
  }
}

// A preempted sequence waits for its tokens in flight first: its prefill must know them. It is not
// admitted by the plan that preempts it: it needs all the blocks that it gave, and one is taken.
bool Scheduler::Admissible(const Sequence& sequence) const {
  if (sequence.samples_in_flight > 0 || free_slots_.empty()) return false;
  const int64_t spare_blocks = running_.empty() ? 0 : watermark_blocks_;
  return pool_.free_blocks() >= BlocksFor(Size(sequence.tokens) + 1) + spare_blocks;
}

void Scheduler::PlanChunk(Sequence* sequence, StepPlan* plan, PlanInFlight* sampled) {
  const int64_t rows = std::min(limits_.step_rows_max - plan->rows(),
                                sequence->prefill_tokens - sequence->rows_planned);
  if (rows == 0) return;
  PrefillChunk chunk;
  chunk.slot = sequence->slot;
  chunk.first_position = sequence->rows_planned;
  const auto first = sequence->tokens.begin() + chunk.first_position;
  chunk.tokens.assign(first, first + rows);
  sequence->rows_planned += rows;
  sequence->last_step = plan->step;
  chunk.sample = sequence->rows_planned == sequence->prefill_tokens;
  plan->prefills.push_back(std::move(chunk));
  if (plan->prefills.back().sample) PlanSample(sequence, sampled);
}

void Scheduler::PlanSample(Sequence* sequence, PlanInFlight* sampled) {
  sampled->sampled.push_back({sequence->slot, sequence->id, sequence->arrival});
  ++sequence->samples_in_flight;
  const int64_t generated = Size(sequence->tokens) - sequence->prompt_tokens;
  OCTET_CHECK_LE(generated + sequence->samples_in_flight, sequence->max_tokens);
  if (generated + sequence->samples_in_flight < sequence->max_tokens) return;
  sequence->state = State::kEnding;
  Leave(sequence);
}

void Scheduler::Leave(Sequence* sequence) {
  leaving_.push_back({sequence->slot, std::move(sequence->blocks), sequence->last_step});
  sequence->blocks.clear();
  sequence->slot = -1;
}

void Scheduler::Reclaim() {
  std::erase_if(leaving_, [this](const Leaving& leaving) {
    if (leaving.last_step > steps_over_) return false;
    pool_.Return(leaving.blocks);
    free_slots_.push_back(leaving.slot);
    // A slot is taken again only by a plan with rows, and that plan carries this release.
    releases_pending_.push_back(leaving.slot);
    return true;
  });
}

Status Scheduler::CheckResult(uint64_t step, std::span<const int32_t> slots,
                              std::span<const int32_t> tokens) const {
  const auto refuse = [step](const std::string& what) {
    return DataLoss("the result of step " + std::to_string(step) + " " + what);
  };
  if (in_flight_.empty()) return refuse("came while no plan is in flight");
  const PlanInFlight& due = in_flight_.front();
  if (step != due.step) return refuse("came; step " + std::to_string(due.step) + " is due");
  if (slots.size() != tokens.size() || slots.size() != due.sampled.size()) {
    return refuse("has " + std::to_string(slots.size()) + " slots and " +
                  std::to_string(tokens.size()) + " tokens; " + std::to_string(due.sampled.size()) +
                  " are due");
  }
  for (size_t index = 0; index < slots.size(); ++index) {
    if (slots[index] != due.sampled[index].slot) {
      return refuse("names slot " + std::to_string(slots[index]) + "; slot " +
                    std::to_string(due.sampled[index].slot) + " is due");
    }
    if (tokens[index] < 0) {
      return refuse("has token " + std::to_string(tokens[index]) + "; 0 or more is expected");
    }
  }
  return {};
}

std::vector<SequenceEvent> Scheduler::CommitStep(uint64_t step, std::span<const int32_t> slots,
                                                 std::span<const int32_t> tokens) {
  if (const Status status = CheckResult(step, slots, tokens); !status.ok()) {
    CheckFailed(__FILE__, __LINE__, status.message());
  }
  const PlanInFlight committed = std::move(in_flight_.front());
  in_flight_.pop_front();
  steps_over_ = step;
  std::vector<SequenceEvent> events;
  for (size_t index = 0; index < tokens.size(); ++index) {
    const SampledRow& row = committed.sampled[index];
    const auto found = live_.find(row.id);
    if (found == live_.end() || found->second.arrival != row.arrival) {
      ++totals_.discarded_rows;
      continue;
    }
    events.push_back(Accept(&found->second, tokens[index]));
  }
  Reclaim();
  return events;
}

SequenceEvent Scheduler::Accept(Sequence* sequence, int32_t token) {
  SequenceEvent event{sequence->id, token, Size(sequence->tokens) - sequence->prompt_tokens};
  sequence->tokens.push_back(token);
  --sequence->samples_in_flight;
  const std::vector<int32_t>& stops = sequence->stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    event.finished = true;
    event.reason = FinishReason::kStop;
  } else if (event.position + 1 == sequence->max_tokens) {
    event.finished = true;
    event.reason = FinishReason::kLength;
  }
  if (event.finished) Forget(sequence);
  return event;
}

void Scheduler::Forget(Sequence* sequence) {
  if (sequence->state == State::kRunning) {
    Leave(sequence);
    std::erase(running_, sequence);
  } else if (sequence->state == State::kWaiting) {
    std::erase(waiting_, sequence);
  }
  live_.erase(sequence->id);
}

void Scheduler::ResetAfterGroupLoss() {
  in_flight_.clear();
  steps_over_ = steps_planned_;
  leaving_.clear();
  releases_pending_.clear();
  pool_ = BlockPool(limits_.blocks);
  FreeAllSlots();
  running_.clear();
  waiting_.clear();
  for (auto& [id, sequence] : live_) {
    sequence.state = State::kWaiting;
    sequence.samples_in_flight = 0;
    sequence.slot = -1;
    sequence.blocks.clear();
    waiting_.push_back(&sequence);
  }
  std::sort(waiting_.begin(), waiting_.end(),
            [](const Sequence* a, const Sequence* b) { return a->arrival < b->arrival; });
}

SchedulerCounters Scheduler::counters() const {
  SchedulerCounters counters = totals_;
  counters.waiting = static_cast<int64_t>(waiting_.size());
  counters.running = static_cast<int64_t>(live_.size() - waiting_.size());
  counters.free_blocks = pool_.free_blocks();
  counters.plans_in_flight = static_cast<int64_t>(in_flight_.size());
  return counters;
}

}  // namespace octet::schedule
