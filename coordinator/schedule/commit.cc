// Scheduler::CheckResult and CommitStep: what came back, and what it means for each sequence.
#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::schedule {
namespace {

Status Refused(const StepResult& result, const std::string& what) {
  return DataLoss("the result of step " + std::to_string(result.step) + " " + what);
}

std::string CountOf(const std::string& what, size_t found, int64_t due) {
  return "has " + std::to_string(found) + " " + what + "; " + std::to_string(due) + " are due";
}

bool HasCount(size_t found, int64_t due) { return static_cast<int64_t>(found) == due; }

Status CheckToken(const StepResult& result, int64_t token, int64_t min, int64_t vocab) {
  if (token >= min && token < vocab) return {};
  return Refused(result, "has token " + std::to_string(token) + "; " + std::to_string(min) +
                             " to " + std::to_string(vocab - 1) + " is expected");
}

Status CheckTop(const StepResult& result, const TokenLogprobs& logprobs, int64_t vocab) {
  for (const int32_t token : logprobs.top_tokens) {
    OCTET_RETURN_IF_ERROR(CheckToken(result, token, 0, vocab));
  }
  if (logprobs.top_tokens.size() == logprobs.top_logprobs.size()) return {};
  return Refused(result, CountOf("top log-probabilities of a token", logprobs.top_logprobs.size(),
                                 static_cast<int64_t>(logprobs.top_tokens.size())));
}

Status CheckPrompt(const StepResult& result, const DueResult& due, const PromptLogprobs& told,
                   int64_t vocab) {
  if (told.slot != due.slot || told.first_position != due.told_first ||
      !HasCount(told.tokens.size(), due.told_count)) {
    return Refused(result, "tells " + std::to_string(told.tokens.size()) +
                               " prompt tokens from position " +
                               std::to_string(told.first_position) + " of slot " +
                               std::to_string(told.slot) + "; " + std::to_string(due.told_count) +
                               " from " + std::to_string(due.told_first) + " of slot " +
                               std::to_string(due.slot) + " are due");
  }
  for (const TokenLogprobs& token : told.tokens) {
    OCTET_RETURN_IF_ERROR(CheckTop(result, token, vocab));
  }
  return {};
}

}  // namespace

Status Scheduler::CheckResult(const StepResult& result) const {
  if (in_flight_.empty()) return Refused(result, "came while no plan is in flight");
  const PlanInFlight& plan = in_flight_.front();
  if (result.step != plan.step) {
    return Refused(result, "came; step " + std::to_string(plan.step) + " is due");
  }
  if (!HasCount(result.slots.size(), plan.samples)) {
    return Refused(result, CountOf("slots", result.slots.size(), plan.samples));
  }
  if (!HasCount(result.tokens.size(), plan.samples)) {
    return Refused(result, CountOf("tokens", result.tokens.size(), plan.samples));
  }
  if (!HasCount(result.logprobs.size(), plan.samples_with_logprobs)) {
    return Refused(result, CountOf("tokens with log-probabilities", result.logprobs.size(),
                                   plan.samples_with_logprobs));
  }
  if (!HasCount(result.prompt_logprobs.size(), plan.chunks_that_tell)) {
    return Refused(result, CountOf("chunks with log-probabilities", result.prompt_logprobs.size(),
                                   plan.chunks_that_tell));
  }
  size_t sample = 0;
  size_t chunk = 0;
  for (const DueResult& due : plan.due) {
    if (due.told_count > 0) {
      OCTET_RETURN_IF_ERROR(
          CheckPrompt(result, due, result.prompt_logprobs[chunk++], limits_.vocab));
    }
    if (!due.sampled) continue;
    if (result.slots[sample] != due.slot) {
      return Refused(result, "names slot " + std::to_string(result.slots[sample]) + "; slot " +
                                 std::to_string(due.slot) + " is due");
    }
    OCTET_RETURN_IF_ERROR(CheckToken(result, result.tokens[sample], -1, limits_.vocab));
    ++sample;
  }
  for (const TokenLogprobs& token : result.logprobs) {
    OCTET_RETURN_IF_ERROR(CheckTop(result, token, limits_.vocab));
  }
  return {};
}

std::vector<SequenceEvent> Scheduler::CommitStep(StepResult result) {
  if (const Status status = CheckResult(result); !status.ok()) {
    CheckFailed(__FILE__, __LINE__, status.message());
  }
  const PlanInFlight committed = std::move(in_flight_.front());
  in_flight_.pop_front();
  steps_over_ = result.step;
  ++totals_.steps;
  std::vector<SequenceEvent> events;
  events.reserve(committed.due.size());
  auto token = result.tokens.cbegin();
  auto logprobs = result.logprobs.begin();
  auto told = result.prompt_logprobs.begin();
  for (const DueResult& due : committed.due) {
    TokenLogprobs* const token_logprobs = due.logprobs >= 0 ? &*logprobs++ : nullptr;
    PromptLogprobs* const prompt_logprobs = due.told_count > 0 ? &*told++ : nullptr;
    const int32_t sampled = due.sampled ? *token++ : -1;
    const auto found = live_.find(due.id);
    if (found == live_.end() || found->second.turn.arrival != due.arrival) {
      totals_.discarded_rows += due.sampled ? 1 : 0;
      continue;
    }
    Sequence* sequence = &found->second;
    SequenceEvent& event = events.emplace_back();
    event.id = due.id;
    if (prompt_logprobs != nullptr) AcceptPrompt(sequence, due, prompt_logprobs, &event);
    if (!due.sampled) continue;
    --sequence->samples_in_flight;
    if (sampled < 0) {
      Fail(sequence, due.slot, &event);
    } else {
      if (token_logprobs != nullptr) event.logprobs = std::move(*token_logprobs);
      AcceptToken(sequence, sampled, &event);
    }
  }
  Reclaim();
  return events;
}

void Scheduler::AcceptPrompt(Sequence* sequence, const DueResult& due, PromptLogprobs* told,
                             SequenceEvent* event) {
  OCTET_CHECK_EQ(due.told_first, sequence->next_told);
  sequence->next_told += due.told_count;
  event->prompt_position = due.told_first;
  event->prompt_logprobs = std::move(told->tokens);
}

void Scheduler::AcceptToken(Sequence* sequence, int32_t token, SequenceEvent* event) {
  event->token = token;
  event->position = sequence->generated();
  if (event->position == 0) event->cached_tokens = sequence->cached_tokens;
  sequence->tokens.push_back(token);
  if (!sequence->is_self_test) ++totals_.generated_tokens;
  if (sequence->state == Sequence::State::kRunning) PublishFullBlocks(sequence);
  const std::vector<int32_t>& stops = sequence->stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    event->finished = true;
    event->reason = FinishReason::kStop;
  } else if (event->position + 1 == sequence->max_tokens) {
    event->finished = true;
    event->reason = FinishReason::kLength;
  }
  if (event->finished) Remove(sequence);
}

// Its blocks may hold what is not a number: those that it filled, or one that it was given. So all
// of its table is forgotten, and everyone computes for himself what comes next.
void Scheduler::Fail(Sequence* sequence, int32_t slot, SequenceEvent* event) {
  event->position = sequence->generated();
  event->finished = true;
  event->reason = FinishReason::kFailed;
  const auto forget = [this](const std::vector<int32_t>& table) {
    for (const int32_t block : table) cache_.Forget(block);
  };
  forget(sequence->blocks);
  for (const Leaving& leaving : leaving_) {
    if (leaving.slot == slot) forget(leaving.blocks);  // it was preempted or ending meanwhile
  }
  Remove(sequence);
}

}  // namespace octet::schedule
