#include "tests/coordinator/schedule/simulated_ranks.h"

#include <algorithm>
#include <string>

namespace octet::schedule {
namespace {

uint64_t Mix(uint64_t x) {  // splitmix64's finalizer, public domain, Sebastiano Vigna
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

Status Fault(const std::string& what, int64_t number) {
  return Internal(what + " " + std::to_string(number));
}

}  // namespace

uint64_t FakeModel::Start(int64_t prompt_tokens) const {
  const bool is_scaled = rope_scaled_beyond > 0 && prompt_tokens > rope_scaled_beyond;
  return Mix(is_scaled ? static_cast<uint64_t>(prompt_tokens) : 0);
}

uint64_t FakeModel::Row(uint64_t row_before, int32_t token) {
  return Mix(row_before ^ Mix(static_cast<uint64_t>(token)));
}

int32_t FakeModel::Sample(uint64_t sum_of_rows, const SamplingSpec& sampling) const {
  const uint64_t hash = Mix(sum_of_rows ^ Mix(sampling.seed + sampling.sample_index));
  if (Mix(hash) % nan_period == 0) return -1;
  if (hash % stop_period == 0) return kStopToken;
  return static_cast<int32_t>(hash >> 40) + kStopToken + 1;
}

TokenLogprobs FakeModel::Tell(uint64_t sum_of_rows, int32_t token, int32_t top) {
  TokenLogprobs told;
  told.logprob = static_cast<float>(Mix(sum_of_rows + static_cast<uint64_t>(token)) >> 40);
  for (int32_t i = 0; i < top; ++i) {
    told.top_tokens.push_back(std::max(token, 0) + i);
    told.top_logprobs.push_back(static_cast<float>(i));
  }
  return told;
}

FakeAnswer Generate(const FakeModel& model, const NewSequence& sequence, int64_t tokens_max) {
  const auto given_tokens = static_cast<int64_t>(sequence.prompt.size());
  const int64_t prompt_tokens = sequence.prompt_tokens != 0 ? sequence.prompt_tokens : given_tokens;
  const SamplingSpec& sampling = sequence.sampling;
  FakeAnswer answer;
  uint64_t row = model.Start(prompt_tokens);
  uint64_t sum = 0;
  for (int64_t position = 0; position < given_tokens; ++position) {
    const int32_t token = sequence.prompt[position];
    if (position > 0 && position < prompt_tokens && sampling.prompt_logprobs >= 0) {
      answer.prompt_logprobs.push_back(FakeModel::Tell(sum, token, sampling.prompt_logprobs));
    }
    sum += row = FakeModel::Row(row, token);
  }
  const auto& stops = sequence.stop_tokens;
  while (static_cast<int64_t>(answer.tokens.size()) < tokens_max) {
    const int32_t token = model.Sample(sum, sampling);
    answer.tokens.push_back(token);
    if (token < 0) break;
    if (sampling.logprobs >= 0) {
      answer.logprobs.push_back(FakeModel::Tell(sum, token, sampling.logprobs));
    }
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) break;
    sum += row = FakeModel::Row(row, token);
  }
  return answer;
}

SimulatedRanks::SimulatedRanks(SchedulerLimits limits, FakeModel model)
    : limits_(limits),
      model_(model),
      slots_(limits.slots),
      blocks_(limits.blocks),
      rows_(limits.blocks * limits.block_tokens) {}

SimulatedRanks::Slot* SimulatedRanks::Find(int32_t slot) {
  if (slot < 0 || slot >= static_cast<int32_t>(slots_.size())) return nullptr;
  return slots_[slot].has_value() ? &*slots_[slot] : nullptr;
}

SimulatedRanks::CacheRow& SimulatedRanks::Row(const Slot& slot, int64_t position) {
  const int64_t block = slot.table[position / limits_.block_tokens];
  return rows_[block * limits_.block_tokens + position % limits_.block_tokens];
}

Status SimulatedRanks::ApplyReleases(const StepPlan& plan) {
  for (const int32_t slot : plan.releases) {
    Slot* released = Find(slot);
    if (released == nullptr) return Fault("release of the free slot", slot);
    for (const Named& named : in_flight_) {
      if (named.slots.count(slot) != 0) return Fault("release of a slot in flight:", slot);
    }
    for (const int32_t block : released->table) --blocks_[block].tables;
    slots_[slot].reset();
  }
  return {};
}

Status SimulatedRanks::ApplyAdmits(const StepPlan& plan) {
  for (const Admit& admit : plan.admits) {
    if (admit.slot < 0 || admit.slot >= limits_.slots) return Fault("no such slot:", admit.slot);
    if (slots_[admit.slot].has_value()) return Fault("admission to the taken slot", admit.slot);
    if (admit.cached_tokens % limits_.block_tokens != 0) {
      return Fault("a part of a block cached:", admit.cached_tokens);
    }
    const auto history = static_cast<int64_t>(admit.cached_token_ids.size());
    if (history != (admit.sampling.needs_history() ? admit.cached_tokens : 0)) {
      return Fault("cached token ids:", history);
    }
    Slot& slot = slots_[admit.slot].emplace();
    slot.id = admit.id;
    slot.sampling = admit.sampling;
    slot.prompt_tokens = admit.prompt_tokens;
    slot.admission = ++admissions_;
    slot.cached_tokens = admit.cached_tokens;
    slot.cached_token_ids = admit.cached_token_ids;
    slot.rows = admit.cached_tokens;
  }
  return {};
}

Status SimulatedRanks::ApplyBlocks(const StepPlan& plan) {
  for (const BlockUpdate& update : plan.blocks) {
    Slot* slot = Find(update.slot);
    if (slot == nullptr) return Fault("blocks for the free slot", update.slot);
    for (const int32_t block : update.appended) OCTET_RETURN_IF_ERROR(AppendBlock(slot, block));
  }
  return {};
}

Status SimulatedRanks::AppendBlock(Slot* slot, int32_t block) {
  if (block < 0 || block >= limits_.blocks) return Fault("no such block:", block);
  const auto first_position = static_cast<int64_t>(slot->table.size()) * limits_.block_tokens;
  slot->table.push_back(block);
  Block& appended = blocks_[block];
  ++appended.tables;
  if (first_position < slot->cached_tokens) {
    if (appended.writer == 0) return Fault("cached rows in a block never written:", block);
    return {};
  }
  if (appended.tables > 1) return Fault("a second owner for block", block);
  for (const Named& named : in_flight_) {
    if (named.blocks.count(block) != 0) return Fault("reuse of a block in flight:", block);
  }
  appended.writer = slot->admission;
  for (int64_t row = 0; row < limits_.block_tokens; ++row) {
    rows_[block * limits_.block_tokens + row] = {};
  }
  return {};
}

Status SimulatedRanks::Compute(const RowToDo& row) {
  const Slot& slot = *slots_[row.slot];
  const int64_t block_index = row.position / limits_.block_tokens;
  if (row.position + 1 >= limits_.context) return Fault("a row over the context at", row.position);
  if (block_index >= static_cast<int64_t>(slot.table.size())) {
    return Fault("no block for position", row.position);
  }
  if (blocks_[slot.table[block_index]].writer != slot.admission) {
    return Fault("a write into another's block,", slot.table[block_index]);
  }
  uint64_t before = model_.Start(slot.prompt_tokens);
  if (row.position > 0) before = Row(slot, row.position - 1).hash;
  if (before == 0) return Fault("no row is computed at position", row.position - 1);
  Row(slot, row.position) = {FakeModel::Row(before, row.token), row.token};
  return {};
}

uint64_t SimulatedRanks::SumOfRows(const Slot& slot, int64_t rows) {
  uint64_t sum = 0;
  for (int64_t position = 0; position < rows; ++position) sum += Row(slot, position).hash;
  return sum;
}

void SimulatedRanks::Sample(int32_t slot_index, StepResult* result) {
  Slot& slot = *slots_[slot_index];
  const uint64_t sum = SumOfRows(slot, slot.rows);
  const int32_t token = model_.Sample(sum, slot.sampling);
  slot.last_token = std::max(token, 0);
  result->slots.push_back(slot_index);
  result->tokens.push_back(token);
  if (slot.sampling.logprobs >= 0) {
    result->logprobs.push_back(FakeModel::Tell(sum, token, slot.sampling.logprobs));
  }
}

Status SimulatedRanks::QueueChunk(const PrefillChunk& chunk) {
  Slot* slot = Find(chunk.slot);
  if (slot == nullptr) return Fault("prefill of the free slot", chunk.slot);
  if (slot->last_token != -1) return Fault("prefill of the decoding slot", chunk.slot);
  if (slot->rows != chunk.first_position) return Fault("a gap before", chunk.first_position);
  if (chunk.tokens.empty()) return Fault("an empty chunk for slot", chunk.slot);
  for (const int32_t token : chunk.tokens) to_do_.push_back({chunk.slot, slot->rows++, token});
  return {};
}

Status SimulatedRanks::QueueDecode(int32_t slot_index) {
  Slot* slot = Find(slot_index);
  if (slot == nullptr) return Fault("decode of the free slot", slot_index);
  if (slot->last_token == -1) return Fault("decode before the end of prefill, slot", slot_index);
  to_do_.push_back({slot_index, slot->rows++, slot->last_token});
  return {};
}

Status SimulatedRanks::CheckHistory(const Slot& slot) {
  for (size_t position = 0; position < slot.cached_token_ids.size(); ++position) {
    if (Row(slot, static_cast<int64_t>(position)).token != slot.cached_token_ids[position]) {
      return Fault("a wrong cached token id at", static_cast<int64_t>(position));
    }
  }
  return {};
}

Status SimulatedRanks::Read(const PrefillChunk& chunk, StepResult* result) {
  const Slot& slot = *slots_[chunk.slot];
  OCTET_RETURN_IF_ERROR(CheckHistory(slot));
  const auto rows = static_cast<int64_t>(chunk.tokens.size());
  if (chunk.next_token.has_value() != (chunk.logprob_row_end == rows)) {
    return Fault("next_token of a chunk of rows", rows);
  }
  if (chunk.logprob_row_begin < chunk.logprob_row_end) {
    PromptLogprobs& told = result->prompt_logprobs.emplace_back();
    told.slot = chunk.slot;
    told.first_position = chunk.first_position + chunk.logprob_row_begin + 1;
    for (int64_t row = chunk.logprob_row_begin; row < chunk.logprob_row_end; ++row) {
      const int32_t next = row + 1 < rows ? chunk.tokens[row + 1] : *chunk.next_token;
      told.tokens.push_back(FakeModel::Tell(SumOfRows(slot, chunk.first_position + row + 1), next,
                                            slot.sampling.prompt_logprobs));
    }
  }
  if (chunk.sample) Sample(chunk.slot, result);
  return {};
}

Result<StepResult> SimulatedRanks::Apply(const StepPlan& plan) {
  if (step_ != 0 && plan.step != step_ + 1) return Fault("a gap before step", plan.step);
  step_ = plan.step;
  if (plan.rows() < 1) return Fault("a step without rows:", plan.step);
  if (plan.rows() > limits_.step_rows_max) return Fault("too many rows:", plan.rows());
  OCTET_RETURN_IF_ERROR(ApplyReleases(plan));
  OCTET_RETURN_IF_ERROR(ApplyAdmits(plan));
  OCTET_RETURN_IF_ERROR(ApplyBlocks(plan));
  std::vector<int32_t> named_slots = plan.decodes;
  for (const PrefillChunk& chunk : plan.prefills) named_slots.push_back(chunk.slot);
  Named named;
  for (const int32_t slot : named_slots) {
    if (!named.slots.insert(slot).second) return Fault("a slot twice in a step:", slot);
  }
  to_do_.clear();
  for (const PrefillChunk& chunk : plan.prefills) OCTET_RETURN_IF_ERROR(QueueChunk(chunk));
  for (const int32_t slot : plan.decodes) OCTET_RETURN_IF_ERROR(QueueDecode(slot));
  // In a layer all rows append before any attends: whoever shares a row may come before its writer.
  std::ranges::stable_sort(to_do_, {}, &RowToDo::position);
  for (const RowToDo& row : to_do_) OCTET_RETURN_IF_ERROR(Compute(row));
  StepResult result;
  result.step = plan.step;
  for (const PrefillChunk& chunk : plan.prefills) OCTET_RETURN_IF_ERROR(Read(chunk, &result));
  for (const int32_t slot : plan.decodes) Sample(slot, &result);
  for (const int32_t slot : named_slots) {
    named.blocks.insert(slots_[slot]->table.begin(), slots_[slot]->table.end());
  }
  in_flight_.push_back(std::move(named));
  return result;
}

void SimulatedRanks::Committed() { in_flight_.pop_front(); }

int64_t SimulatedRanks::held_blocks() const {
  return std::ranges::count_if(blocks_, [](const Block& block) { return block.tables > 0; });
}

bool SimulatedRanks::Holds(uint64_t id) const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [id](const auto& slot) { return slot.has_value() && slot->id == id; });
}

}  // namespace octet::schedule
