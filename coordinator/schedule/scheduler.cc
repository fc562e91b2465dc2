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
  OCTET_CHECK_GE(limits.priority_steps, 0);
  // A sequence alone in the pool must be able to end, and a step has a row for everyone.
  limits.context = std::min(limits.context, limits.blocks * limits.block_tokens);
  limits.slots = std::min(limits.slots, limits.step_rows_max);
  return limits;
}

}  // namespace

Scheduler::Scheduler(SchedulerLimits limits)
    : limits_(Checked(limits)),
      watermark_blocks_(std::max<int64_t>(1, limits.blocks / kWatermarkPart)),
      cache_(limits.blocks, limits.block_tokens) {
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
  const auto given_tokens = static_cast<int64_t>(request.prompt.size());
  if (given_tokens == 0) return InvalidArgument("the prompt has no tokens; at least 1 is needed");
  if (request.prompt_tokens < 0 || request.prompt_tokens > given_tokens) {
    return InvalidArgument("prompt_tokens is " + std::to_string(request.prompt_tokens) +
                           "; at most the " + std::to_string(given_tokens) + " given are expected");
  }
  if (request.max_tokens < 1) {
    return InvalidArgument("max_tokens is " + std::to_string(request.max_tokens) +
                           "; at least 1 is expected");
  }
  if (request.priority < -kPriorityMax || request.priority > kPriorityMax) {
    return InvalidArgument("priority is " + std::to_string(request.priority) + "; " +
                           std::to_string(-kPriorityMax) + " to " + std::to_string(kPriorityMax) +
                           " is expected");
  }
  if (given_tokens + 1 > limits_.context) {
    return InvalidArgument("the prompt has " + std::to_string(given_tokens) + " tokens; at most " +
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
  sequence.turn = {static_cast<int64_t>(steps_planned_) + request.priority * limits_.priority_steps,
                   ++arrivals_};
  sequence.tokens = std::move(request.prompt);
  sequence.given_tokens = given_tokens;
  sequence.prompt_tokens = request.prompt_tokens != 0 ? request.prompt_tokens : given_tokens;
  sequence.max_tokens = std::min(request.max_tokens, limits_.context - given_tokens);
  const bool is_scaled =
      limits_.rope_scaled_beyond > 0 && sequence.prompt_tokens > limits_.rope_scaled_beyond;
  sequence.rope_tokens = is_scaled ? sequence.prompt_tokens : 0;
  sequence.is_self_test = request.is_self_test;
  sequence.sampling = std::move(request.sampling);
  sequence.stop_tokens = std::move(request.stop_tokens);
  waiting_.insert(&sequence);
  return {};
}

bool Scheduler::Cancel(uint64_t id) {
  const auto found = live_.find(id);
  if (found == live_.end()) return false;
  Remove(&found->second);
  Reclaim();
  return true;
}

void Scheduler::Leave(Sequence* sequence) {
  cache_.Leave(sequence->blocks);
  leaving_.push_back({sequence->slot, std::move(sequence->blocks), sequence->last_step});
  sequence->blocks.clear();
  sequence->slot = -1;
}

void Scheduler::Reclaim() {
  std::erase_if(leaving_, [this](const Leaving& leaving) {
    if (leaving.last_step > steps_over_) return false;
    cache_.Drop(leaving.blocks);
    free_slots_.push_back(leaving.slot);
    // A slot is taken again only by a plan with rows, and that plan carries this release.
    releases_pending_.push_back(leaving.slot);
    return true;
  });
}

void Scheduler::StopRunning(const Sequence* sequence) {
  const auto found = std::ranges::lower_bound(running_, sequence, EarlierTurn{});
  OCTET_CHECK(found != running_.end() && *found == sequence);
  running_.erase(found);
}

void Scheduler::Remove(Sequence* sequence) {
  if (sequence->state == Sequence::State::kRunning) {
    Leave(sequence);
    StopRunning(sequence);
  } else if (sequence->state == Sequence::State::kWaiting) {
    waiting_.erase(sequence);
  }
  live_.erase(sequence->id);
}

void Scheduler::ResetAfterGroupLoss() {
  in_flight_.clear();
  steps_over_ = steps_planned_;
  leaving_.clear();
  releases_pending_.clear();
  cache_.Clear();
  FreeAllSlots();
  running_.clear();
  for (auto& [id, sequence] : live_) {
    sequence.state = Sequence::State::kWaiting;
    sequence.samples_in_flight = 0;
    sequence.next_told_planned = sequence.next_told;
    sequence.slot = -1;
    sequence.blocks.clear();
    waiting_.insert(&sequence);
  }
}

SchedulerCounters Scheduler::counters() const {
  SchedulerCounters counters = totals_;
  counters.waiting = static_cast<int64_t>(waiting_.size());
  counters.running = static_cast<int64_t>(live_.size() - waiting_.size());
  counters.free_blocks = cache_.free_blocks();
  counters.used_blocks = limits_.blocks - counters.free_blocks;
  counters.cached_blocks = cache_.findable_blocks();
  counters.reusable_blocks = cache_.unheld_blocks();
  counters.plans_in_flight = static_cast<int64_t>(in_flight_.size());
  return counters;
}

Status Scheduler::Audit() const {
  std::vector<int64_t> holds(limits_.blocks, 0);
  std::vector<int64_t> slots(limits_.slots, 0);
  const auto count = [&](int32_t slot, const std::vector<int32_t>& table) {
    ++slots[slot];
    for (const int32_t block : table) ++holds[block];
  };
  for (const Sequence* sequence : running_) count(sequence->slot, sequence->blocks);
  for (const Leaving& leaving : leaving_) count(leaving.slot, leaving.blocks);
  for (const int32_t slot : free_slots_) ++slots[slot];
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] != 1) {
      return Internal("slot " + std::to_string(slot) + " is in " + std::to_string(slots[slot]) +
                      " places; 1 is expected");
    }
  }
  for (const auto& [id, sequence] : live_) {
    const int64_t waits = static_cast<int64_t>(waiting_.count(&sequence));
    const int64_t runs = std::ranges::count(running_, &sequence);
    if (waits != (sequence.state == Sequence::State::kWaiting ? 1 : 0) ||
        runs != (sequence.state == Sequence::State::kRunning ? 1 : 0)) {
      return Internal("sequence " + std::to_string(id) + " is in " + std::to_string(waits + runs) +
                      " lists, or in the wrong one");
    }
  }
  if (!std::ranges::is_sorted(running_, EarlierTurn{})) return Internal("running out of turn");
  return cache_.Audit(holds);
}

}  // namespace octet::schedule
