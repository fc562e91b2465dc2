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

uint64_t FakeModel::Start(uint64_t seed, int64_t rope_length) {
  return Mix(Mix(seed) + static_cast<uint64_t>(rope_length));
}

uint64_t FakeModel::Row(uint64_t row_before, int32_t token) {
  return Mix(row_before ^ Mix(static_cast<uint64_t>(token)));
}

int32_t FakeModel::Sample(uint64_t sum_of_rows) const {
  const uint64_t hash = Mix(sum_of_rows);
  if (hash % stop_period == 0) return kStopToken;
  return static_cast<int32_t>(hash >> 40) + kStopToken + 1;
}

std::vector<int32_t> FakeModel::Generate(const NewSequence& sequence, int64_t tokens_max) const {
  const auto prompt_tokens = static_cast<int64_t>(sequence.prompt.size());
  uint64_t row = Start(sequence.sampling.seed,
                       sequence.rope_length != 0 ? sequence.rope_length : prompt_tokens);
  uint64_t sum = 0;
  const auto compute = [&](int32_t token) { sum += row = Row(row, token); };
  for (const int32_t token : sequence.prompt) compute(token);
  std::vector<int32_t> generated;
  while (static_cast<int64_t>(generated.size()) < tokens_max) {
    generated.push_back(Sample(sum));
    const auto& stops = sequence.stop_tokens;
    if (std::find(stops.begin(), stops.end(), generated.back()) != stops.end()) break;
    compute(generated.back());
  }
  return generated;
}

SimulatedRanks::SimulatedRanks(SchedulerLimits limits, FakeModel model)
    : limits_(limits),
      model_(model),
      slots_(limits.slots),
      owners_(limits.blocks, -1),
      rows_(limits.blocks * limits.block_tokens, 0) {}

SimulatedRanks::Slot* SimulatedRanks::Find(int32_t slot) {
  if (slot < 0 || slot >= static_cast<int32_t>(slots_.size())) return nullptr;
  return slots_[slot].has_value() ? &*slots_[slot] : nullptr;
}

uint64_t& SimulatedRanks::Row(const Slot& slot, int64_t position) {
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
    for (const int32_t block : released->table) owners_[block] = -1;
    slots_[slot].reset();
  }
  return {};
}

Status SimulatedRanks::ApplyAdmits(const StepPlan& plan) {
  for (const Admit& admit : plan.admits) {
    if (admit.slot < 0 || admit.slot >= limits_.slots) return Fault("no such slot:", admit.slot);
    if (slots_[admit.slot].has_value()) return Fault("admission to the taken slot", admit.slot);
    Slot& slot = slots_[admit.slot].emplace();
    slot.id = admit.id;
    slot.sampling = admit.sampling;
    slot.rope_length = admit.prompt_tokens;
  }
  return {};
}

Status SimulatedRanks::ApplyBlocks(const StepPlan& plan) {
  for (const BlockUpdate& update : plan.blocks) {
    Slot* slot = Find(update.slot);
    if (slot == nullptr) return Fault("blocks for the free slot", update.slot);
    for (const int32_t block : update.appended) {
      if (block < 0 || block >= limits_.blocks) return Fault("no such block:", block);
      if (owners_[block] != -1) return Fault("a second owner for block", block);
      for (const Named& named : in_flight_) {
        if (named.blocks.count(block) != 0) return Fault("reuse of a block in flight:", block);
      }
      owners_[block] = update.slot;
      slot->table.push_back(block);
    }
  }
  return {};
}

Status SimulatedRanks::Compute(int32_t slot_index, int32_t token) {
  Slot& slot = *slots_[slot_index];
  const int64_t position = slot.rows;
  if (position + 1 >= limits_.context) return Fault("a row over the context at", position);
  if (position >= static_cast<int64_t>(slot.table.size()) * limits_.block_tokens) {
    return Fault("no block for position", position);
  }
  const uint64_t before = position > 0 ? Row(slot, position - 1)
                                       : FakeModel::Start(slot.sampling.seed, slot.rope_length);
  Row(slot, position) = FakeModel::Row(before, token);
  ++slot.rows;
  return {};
}

void SimulatedRanks::Sample(int32_t slot_index, SimulatedResult* result) {
  Slot& slot = *slots_[slot_index];
  uint64_t sum = 0;
  for (int64_t position = 0; position < slot.rows; ++position) sum += Row(slot, position);
  slot.last_token = model_.Sample(sum);
  result->slots.push_back(slot_index);
  result->tokens.push_back(slot.last_token);
}

Status SimulatedRanks::ApplyPrefill(const PrefillChunk& chunk, SimulatedResult* result) {
  const Slot* slot = Find(chunk.slot);
  if (slot == nullptr) return Fault("prefill of the free slot", chunk.slot);
  if (slot->last_token != -1) return Fault("prefill of the decoding slot", chunk.slot);
  if (slot->rows != chunk.first_position) return Fault("a gap before", chunk.first_position);
  if (chunk.tokens.empty()) return Fault("an empty chunk for slot", chunk.slot);
  for (const int32_t token : chunk.tokens) OCTET_RETURN_IF_ERROR(Compute(chunk.slot, token));
  if (chunk.sample) Sample(chunk.slot, result);
  return {};
}

Status SimulatedRanks::ApplyDecode(int32_t slot_index, SimulatedResult* result) {
  const Slot* slot = Find(slot_index);
  if (slot == nullptr) return Fault("decode of the free slot", slot_index);
  if (slot->last_token == -1) return Fault("decode before the end of prefill, slot", slot_index);
  OCTET_RETURN_IF_ERROR(Compute(slot_index, slot->last_token));
  Sample(slot_index, result);
  return {};
}

Result<SimulatedResult> SimulatedRanks::Apply(const StepPlan& plan) {
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
  SimulatedResult result;
  result.step = plan.step;
  for (const PrefillChunk& chunk : plan.prefills) {
    OCTET_RETURN_IF_ERROR(ApplyPrefill(chunk, &result));
  }
  for (const int32_t slot : plan.decodes) OCTET_RETURN_IF_ERROR(ApplyDecode(slot, &result));
  for (const int32_t slot : named_slots) {
    named.blocks.insert(slots_[slot]->table.begin(), slots_[slot]->table.end());
  }
  in_flight_.push_back(std::move(named));
  return result;
}

void SimulatedRanks::Committed() { in_flight_.pop_front(); }

int64_t SimulatedRanks::held_blocks() const {
  return static_cast<int64_t>(owners_.size()) - std::count(owners_.begin(), owners_.end(), -1);
}

bool SimulatedRanks::Holds(uint64_t id) const {
  return std::any_of(slots_.begin(), slots_.end(),
                     [id](const auto& slot) { return slot.has_value() && slot->id == id; });
}

}  // namespace octet::schedule
