#include "tests/coordinator/support/fake_engine.h"

#include "base/check.h"

namespace octet::fakes {
namespace {

uint64_t Hash(std::span<const int32_t> tokens, uint64_t hash) {
  for (const int32_t token : tokens) {
    hash = (hash ^ (static_cast<uint64_t>(token) + 1)) * 0x100000001b3u;  // FNV-1a's prime
  }
  return hash;
}

constexpr uint64_t kHashStart = 0xcbf29ce484222325u;

}  // namespace

int32_t FakeNextToken(std::span<const int32_t> tokens, const v1::Sampling& sampling) {
  uint64_t hash = kHashStart;
  if (sampling.temperature() > 0) {
    hash = (hash ^ (sampling.seed() + (uint64_t{sampling.sample_index()} << 32))) * 0x100000001b3u;
  }
  return static_cast<int32_t>((Hash(tokens, hash) >> 32) % 256);
}

v1::RowLogprobs FakeLogprobs(std::span<const int32_t> tokens, int32_t token, int32_t top) {
  v1::RowLogprobs told;
  const int32_t one[] = {token};
  told.set_logprob(-static_cast<float>((Hash(one, Hash(tokens, kHashStart)) >> 32) % 1000) / 64);
  for (int32_t i = 0; i < top; ++i) {
    told.add_top_tokens((token + i) % 256);
    told.add_top_logprobs(told.logprob() - static_cast<float>(i));
  }
  return told;
}

std::vector<int32_t> FakeAnswer(std::vector<int32_t> prompt, int64_t count, uint64_t seed,
                                float temperature) {
  v1::Sampling sampling;
  sampling.set_seed(seed);
  sampling.set_temperature(temperature);
  std::vector<int32_t> answer;
  for (int64_t i = 0; i < count; ++i) {
    answer.push_back(FakeNextToken(prompt, sampling));
    prompt.push_back(answer.back());
  }
  return answer;
}

void FakeEngine::Release(int32_t slot) {
  const auto released = slots_.extract(slot);
  OCTET_CHECK(!released.empty());
  for (const int32_t block : released.mapped().blocks) --blocks_.at(block).tables;
}

void FakeEngine::Admit(const v1::Admit& admit) {
  OCTET_CHECK(!slots_.contains(admit.slot()));
  OCTET_CHECK_EQ(admit.cached_tokens() % block_tokens_, int64_t{0});
  Slot& slot = slots_[admit.slot()];
  slot.sampling = admit.sampling();
  slot.admission = ++admissions_;
  slot.cached_tokens = slot.rows = admit.cached_tokens();
}

void FakeEngine::Append(int32_t slot_index, int32_t block_index) {
  Slot& slot = slots_.at(slot_index);
  Block& block = blocks_[block_index];
  const auto first_position = static_cast<int64_t>(slot.blocks.size()) * block_tokens_;
  slot.blocks.push_back(block_index);
  ++block.tables;
  if (first_position < slot.cached_tokens) return;
  OCTET_CHECK_EQ(block.tables, int64_t{1});
  block.writer = slot.admission;
  block.tokens.clear();
}

void FakeEngine::Write(Slot* slot, int32_t token) {
  const auto index = static_cast<size_t>(slot->rows / block_tokens_);
  OCTET_CHECK_LT(index, slot->blocks.size());
  Block& block = blocks_.at(slot->blocks[index]);
  OCTET_CHECK_EQ(block.writer, slot->admission);
  OCTET_CHECK_EQ(static_cast<int64_t>(block.tokens.size()), slot->rows % block_tokens_);
  block.tokens.push_back(token);
  ++slot->rows;
}

std::vector<int32_t> FakeEngine::Tokens(const Slot& slot, int64_t rows) const {
  std::vector<int32_t> tokens;
  for (int64_t row = 0; row < rows; ++row) {
    tokens.push_back(blocks_.at(slot.blocks[row / block_tokens_]).tokens.at(row % block_tokens_));
  }
  return tokens;
}

void FakeEngine::Tell(const v1::PrefillChunk& chunk, v1::StepResult* result) const {
  OCTET_CHECK_EQ(chunk.has_next_token(), chunk.logprob_row_end() == chunk.tokens_size());
  if (chunk.logprob_row_begin() == chunk.logprob_row_end()) return;
  const Slot& slot = slots_.at(chunk.slot());
  v1::PromptLogprobs* told = result->add_prompt_logprobs();
  told->set_slot(chunk.slot());
  told->set_first_position(chunk.first_position() + chunk.logprob_row_begin() + 1);
  for (int64_t row = chunk.logprob_row_begin(); row < chunk.logprob_row_end(); ++row) {
    const int32_t next = row + 1 < chunk.tokens_size() ? chunk.tokens(static_cast<int>(row) + 1)
                                                       : chunk.next_token();
    *told->add_tokens() = FakeLogprobs(Tokens(slot, chunk.first_position() + row + 1), next,
                                       slot.sampling.prompt_logprobs());
  }
}

void FakeEngine::Sample(int32_t slot_index, v1::StepResult* result) {
  Slot& slot = slots_.at(slot_index);
  const std::vector<int32_t> tokens = Tokens(slot, slot.rows);
  slot.last_token = FakeNextToken(tokens, slot.sampling);
  result->add_slots(slot_index);
  result->add_tokens(slot.last_token);
  if (slot.sampling.logprobs() >= 0) {
    *result->add_logprobs() = FakeLogprobs(tokens, slot.last_token, slot.sampling.logprobs());
  }
}

v1::StepResult FakeEngine::Apply(const v1::StepPlan& plan) {
  if (steps_ != 0) OCTET_CHECK_EQ(plan.step(), steps_ + 1);
  steps_ = plan.step();
  for (const int32_t slot : plan.release_slots()) Release(slot);
  for (const v1::Admit& admit : plan.admits()) Admit(admit);
  for (const v1::BlockUpdate& update : plan.blocks()) {
    for (const int32_t block : update.appended_blocks()) Append(update.slot(), block);
  }
  // All rows are written before any is read: who shares a block may come before its writer.
  for (const v1::PrefillChunk& chunk : plan.prefills()) {
    Slot& slot = slots_.at(chunk.slot());
    OCTET_CHECK_EQ(chunk.first_position(), slot.rows);
    for (const int32_t token : chunk.tokens()) Write(&slot, token);
  }
  for (const int32_t slot : plan.decode_slots()) {
    OCTET_CHECK_GE(slots_.at(slot).last_token, 0);
    Write(&slots_.at(slot), slots_.at(slot).last_token);
  }
  v1::StepResult result;
  result.set_step(plan.step());
  for (const v1::PrefillChunk& chunk : plan.prefills()) {
    Tell(chunk, &result);
    if (chunk.sample()) Sample(chunk.slot(), &result);
  }
  for (const int32_t slot : plan.decode_slots()) Sample(slot, &result);
  return result;
}

}  // namespace octet::fakes
