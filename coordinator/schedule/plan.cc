// Scheduler::PlanStep and its parts: who gets the rows and blocks of the next step.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::schedule {

std::optional<StepPlan> Scheduler::PlanStep() {
  if (static_cast<int64_t>(in_flight_.size()) >= kPlansInFlightMax) return std::nullopt;
  Draft draft;
  StepPlan& plan = draft.plan;
  plan.step = draft.in_flight.step = steps_planned_ + 1;
  plan.decodes.reserve(running_.size());
  draft.in_flight.due.reserve(running_.size());
  draft.rows_left = limits_.step_rows_max;
  PlanDecodes(&draft);
  PlanPrefills(&draft);
  std::erase_if(running_, [](const Sequence* s) { return s->state == Sequence::State::kEnding; });
  if (draft.rows_left == limits_.step_rows_max) {
    OCTET_CHECK(live_.empty() || !in_flight_.empty());
    return std::nullopt;
  }
  // Decodes were planned first, but their rows and results come after the prefills'.
  std::vector<DueResult>& due = draft.in_flight.due;
  std::rotate(due.begin(), due.begin() + static_cast<int64_t>(plan.decodes.size()), due.end());
  plan.releases = std::exchange(releases_pending_, {});
  steps_planned_ = plan.step;
  in_flight_.push_back(std::move(draft.in_flight));
  return std::move(plan);
}

void Scheduler::PlanDecodes(Draft* draft) {
  // In turn; running_ shrinks at its end when the last is preempted.
  for (size_t index = 0; index < running_.size(); ++index) {
    Sequence* sequence = running_[index];
    if (sequence->in_prefill() || !CoverNextRow(sequence, draft)) continue;
    draft->plan.decodes.push_back(sequence->slot);
    --draft->rows_left;
    ++sequence->rows_planned;
    sequence->last_step = draft->plan.step;
    PublishFullBlocks(sequence);
    DueResult due;
    due.sampled = true;
    PlanResult(sequence, due, draft);
  }
}

// Sees to it that the block table covers the next row. When no block is free the sequence leaves
// the step out if blocks are about to come back, else the last in turn make room, itself at last.
bool Scheduler::CoverNextRow(Sequence* sequence, Draft* draft) {
  const auto covered_blocks = static_cast<int64_t>(sequence->blocks.size());
  if (sequence->rows_planned < covered_blocks * limits_.block_tokens) return true;
  while (cache_.free_blocks() == 0) {
    if (cache_.leaving_blocks() > draft->blocks_awaited) {
      ++draft->blocks_awaited;
      return false;
    }
    const bool itself = running_.back() == sequence;
    PreemptLast();
    if (itself) return false;
  }
  sequence->blocks.push_back(cache_.Take());
  draft->plan.blocks.push_back({sequence->slot, {sequence->blocks.back()}});
  return true;
}

void Scheduler::PreemptLast() {
  Sequence* victim = running_.back();
  running_.pop_back();
  Leave(victim);
  victim->state = Sequence::State::kWaiting;
  waiting_.insert(victim);
  ++totals_.preemptions;
  Reclaim();
}

// In turn, whether a sequence runs already or waits: an earlier turn, of a higher priority, does not
// wait for the end of a long prompt.
void Scheduler::PlanPrefills(Draft* draft) {
  for (size_t index = 0; index < running_.size(); ++index) {
    Sequence* sequence = running_[index];
    if (!sequence->in_prefill()) continue;
    index += PlanAdmissions(sequence, draft);  // before it in running_
    if (draft->rows_left == 0) return;
    PlanChunk(sequence, draft);
  }
  PlanAdmissions(nullptr, draft);
}

// Only to a step with a row left, so that whoever is admitted is computed at once, and what it
// fills can be shared by the next. Nobody goes before the first in turn.
size_t Scheduler::PlanAdmissions(const Sequence* before, Draft* draft) {
  size_t admitted = 0;
  while (!waiting_.empty() && draft->rows_left > 0) {
    Sequence* sequence = *waiting_.begin();
    if (before != nullptr && !EarlierTurn{}(sequence, before)) break;
    if (!Admissible(sequence)) break;
    waiting_.erase(waiting_.begin());
    Admit(sequence, draft);
    PlanChunk(sequence, draft);
    ++admitted;
  }
  return admitted;
}

// A preempted sequence waits for its tokens in flight first: its prefill must know them.
bool Scheduler::Admissible(Sequence* sequence) {
  if (sequence->samples_in_flight > 0 || free_slots_.empty()) return false;
  const int64_t spare_blocks = running_.empty() ? 0 : watermark_blocks_;
  // At least one block is its own: no need to look for the others.
  if (cache_.free_blocks() < 1 + spare_blocks) return false;
  FindHits(sequence);
  int64_t from_free = BlocksFor(sequence->token_count() + 1) - static_cast<int64_t>(hits_.size());
  for (const int32_t block : hits_) from_free += cache_.is_held(block) ? 0 : 1;
  return cache_.free_blocks() >= from_free + spare_blocks;
}

// Whole blocks only, and never the last token: its row is sampled. So the block that it is in is
// computed again into one of the sequence's own, and a sequence never writes where another reads.
void Scheduler::FindHits(Sequence* sequence) {
  hits_.clear();
  sequence->chain_end = kChainRoot;
  int64_t tokens_max = sequence->token_count() - 1;
  if (sequence->sampling.prompt_logprobs >= 0 &&
      sequence->next_told_planned < sequence->prompt_tokens) {
    tokens_max = std::min(tokens_max, sequence->next_told_planned - 1);  // the row that tells it
  }
  for (int64_t index = 0; index < tokens_max / limits_.block_tokens; ++index) {
    const ChainLink found = cache_.Find(sequence->chain_end, KeyOf(sequence, index));
    if (found == kNoLink) return;
    sequence->chain_end = found;
    hits_.push_back(found.block);
  }
}

// REQUIRES: Admissible(sequence) was called last.
void Scheduler::Admit(Sequence* sequence, Draft* draft) {
  running_.insert(std::ranges::upper_bound(running_, sequence, EarlierTurn{}), sequence);
  sequence->state = Sequence::State::kRunning;
  sequence->slot = free_slots_.back();
  free_slots_.pop_back();
  sequence->prefill_tokens = sequence->token_count();
  for (const int32_t block : hits_) cache_.Hold(block);
  sequence->blocks = hits_;
  sequence->chain_blocks = static_cast<int64_t>(hits_.size());
  sequence->rows_planned = sequence->chain_blocks * limits_.block_tokens;
  for (int64_t left = BlocksFor(sequence->prefill_tokens + 1) - sequence->chain_blocks; left > 0;
       --left) {
    sequence->blocks.push_back(cache_.Take());
  }
  schedule::Admit admit{sequence->slot, sequence->id, sequence->sampling, sequence->prompt_tokens,
                        sequence->rows_planned};
  if (sequence->sampling.needs_history()) {
    admit.cached_token_ids.assign(sequence->tokens.begin(),
                                  sequence->tokens.begin() + sequence->rows_planned);
  }
  draft->plan.admits.push_back(std::move(admit));
  draft->plan.blocks.push_back({sequence->slot, sequence->blocks});
  if (sequence->ran_before) {
    totals_.recomputed_rows += sequence->prefill_tokens - sequence->rows_planned;
  } else if (!sequence->is_self_test) {
    sequence->cached_tokens = sequence->rows_planned;
    totals_.prefix_queried_tokens += sequence->prefill_tokens;
    totals_.prefix_hit_tokens += sequence->rows_planned;
  }
  sequence->ran_before = true;
}

void Scheduler::PlanChunk(Sequence* sequence, Draft* draft) {
  const int64_t rows =
      std::min(draft->rows_left, sequence->prefill_tokens - sequence->rows_planned);
  PrefillChunk chunk;
  chunk.slot = sequence->slot;
  chunk.first_position = sequence->rows_planned;
  const auto first = sequence->tokens.begin() + chunk.first_position;
  chunk.tokens.assign(first, first + rows);
  draft->rows_left -= rows;
  sequence->rows_planned += rows;
  sequence->last_step = draft->plan.step;
  chunk.sample = !sequence->in_prefill();
  DueResult due;
  due.sampled = chunk.sample;
  PlanTelling(sequence, &chunk, &due);
  draft->plan.prefills.push_back(std::move(chunk));
  const int64_t prompt_rows = std::min(sequence->rows_planned, sequence->prompt_tokens);
  if (prompt_rows > sequence->prompt_tokens_counted && !sequence->is_self_test) {
    totals_.prompt_tokens += prompt_rows - sequence->prompt_tokens_counted;
    sequence->prompt_tokens_counted = prompt_rows;
  }
  PublishFullBlocks(sequence);
  PlanResult(sequence, due, draft);
}

// Row p tells prompt position p + 1.
void Scheduler::PlanTelling(Sequence* sequence, PrefillChunk* chunk, DueResult* due) const {
  if (sequence->sampling.prompt_logprobs < 0) return;
  const int64_t begin = std::max(chunk->first_position, sequence->next_told_planned - 1);
  const int64_t end = std::min(sequence->rows_planned, sequence->prompt_tokens - 1);
  if (begin >= end) return;
  chunk->logprob_row_begin = begin - chunk->first_position;
  chunk->logprob_row_end = end - chunk->first_position;
  if (end == sequence->rows_planned) chunk->next_token = sequence->tokens[end];
  due->told_first = begin + 1;
  due->told_count = end - begin;
  sequence->next_told_planned = end + 1;
}

void Scheduler::PlanResult(Sequence* sequence, DueResult due, Draft* draft) {
  if (!due.sampled && due.told_count == 0) return;
  due.slot = sequence->slot;
  due.id = sequence->id;
  due.arrival = sequence->turn.arrival;
  if (due.sampled) due.logprobs = sequence->sampling.logprobs;
  PlanInFlight& plan = draft->in_flight;
  plan.samples += due.sampled ? 1 : 0;
  plan.samples_with_logprobs += due.logprobs >= 0 ? 1 : 0;
  plan.chunks_that_tell += due.told_count > 0 ? 1 : 0;
  plan.due.push_back(due);
  if (!due.sampled) return;
  ++sequence->samples_in_flight;
  const int64_t samples = sequence->generated() + sequence->samples_in_flight;
  OCTET_CHECK_LE(samples, sequence->max_tokens);
  if (samples < sequence->max_tokens) return;
  sequence->state = Sequence::State::kEnding;
  Leave(sequence);
}

BlockKey Scheduler::KeyOf(Sequence* sequence, int64_t block_index) const {
  const auto tokens_of = [&](int64_t index) {
    return std::span<const int32_t>(sequence->tokens)
        .subspan(index * limits_.block_tokens, limits_.block_tokens);
  };
  std::vector<uint64_t>& hashes = sequence->block_hashes;
  while (static_cast<int64_t>(hashes.size()) <= block_index) {
    hashes.push_back(HashTokens(tokens_of(static_cast<int64_t>(hashes.size()))));
  }
  return {tokens_of(block_index), hashes[block_index], sequence->rope_tokens};
}

void Scheduler::PublishFullBlocks(Sequence* sequence) {
  const int64_t full_blocks =
      std::min(sequence->rows_planned, sequence->token_count()) / limits_.block_tokens;
  for (; sequence->chain_blocks < full_blocks; ++sequence->chain_blocks) {
    const int64_t index = sequence->chain_blocks;
    sequence->chain_end =
        cache_.Publish(sequence->chain_end, KeyOf(sequence, index), sequence->blocks[index]);
  }
}

}  // namespace octet::schedule
