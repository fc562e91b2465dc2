#include "worker/engine/engine.h"

#include <utility>

#include "base/check.h"

namespace octet::worker {

Engine::Engine(EngineConfig config, DecoderWeights weights, comm::Communicator* comm,
               ThreadPool* pool)
    : config_(std::move(config)),
      memory_(MemoryPlan::Make(config_)),
      weights_(std::move(weights)),
      comm_(comm),
      stream_(pool),
      cache_(memory_.kv_bytes),
      activations_("activations", memory_.activation_bytes()),
      buffers_(TakeDecoderBuffers()),
      decoder_(config_.spec, config_.shard, weights_,
               {.activations = config_.activations,
                .kv = config_.kv_layout(),
                .blocks = config_.kv_blocks},
               buffers_, comm, &stream_),
      tokens_(Take<int32_t>(ActivationBuffer::kTokens)),
      positions_(Take<int32_t>(ActivationBuffer::kPositions)),
      cache_slots_(Take<int64_t>(ActivationBuffer::kCacheSlots)),
      slots_({.slots = config_.slots,
              .context = config_.context,
              .blocks_per_slot = config_.blocks_per_sequence(),
              .blocks = config_.kv_blocks,
              .vocab = config_.spec.vocab},
             TakeSlotBuffers()),
      sampler_(config_, TakeSamplerBuffers(), &slots_, &decoder_, comm, &stream_) {
  OCTET_CHECK_EQ(config_.shard.ranks, comm->size());
  OCTET_CHECK_EQ(config_.shard.rank, comm->rank());
  OCTET_CHECK_EQ(config_.threads, pool->threads());
  OCTET_CHECK_EQ(activations_.taken_bytes(), memory_.activation_bytes());
  OCTET_CHECK_EQ(weights_.arena.taken_bytes(), memory_.weight_bytes);
  const auto slots = static_cast<size_t>(config_.slots);
  sequences_.reserve(slots);
  sampled_.reserve(slots);
  prompt_rows_.reserve(static_cast<size_t>(config_.step_rows));
  result_.slots.reserve(slots);
  result_.tokens.reserve(slots);
  result_.logprobs.reserve(slots);
  result_.prompt_logprobs.reserve(slots);
  result_.prompt_rows.reserve(static_cast<size_t>(config_.step_rows));
}

template <typename T>
T* Engine::Take(ActivationBuffer buffer) {
  const int64_t bytes = memory_.activations[static_cast<size_t>(buffer)];
  return reinterpret_cast<T*>(activations_.TakeBytes(bytes));
}

DecoderBuffers Engine::TakeDecoderBuffers() {
  using enum ActivationBuffer;
  return {.residual = Take<float>(kResidual),
          .normed = Take<float>(kNormed),
          .delta = Take<float>(kDelta),
          .roots = Take<float>(kRoots),
          .qkv = Take<float>(kQkv),
          .attention = Take<float>(kAttention),
          .gate_up = Take<float>(kGateUp),
          .gated = Take<float>(kGated),
          .cos = Take<float>(kCos),
          .sin = Take<float>(kSin),
          .inverse_frequency = Take<float>(kInverseFrequency),
          .workspace = Take<std::byte>(kWorkspace)};
}

SlotTableBuffers Engine::TakeSlotBuffers() {
  using enum ActivationBuffer;
  return {.block_tables = Take<int32_t>(kBlockTables),
          .history = Take<int32_t>(kHistory),
          .logit_bias = Take<kernels::TokenBias>(kLogitBias),
          .end_ids = Take<int32_t>(kEndIds)};
}

SamplerBuffers Engine::TakeSamplerBuffers() {
  using enum ActivationBuffer;
  return {.head_hidden = Take<float>(kHeadHidden),
          .logits = Take<float>(kLogits),
          .saved_logits = Take<float>(kSavedLogits),
          .token_counts = Take<uint32_t>(kTokenCounts),
          .send = Take<std::byte>(kSend),
          .gather = Take<std::byte>(kGather),
          .choice = Take<std::byte>(kChoice)};
}

const StepResult& Engine::Step(const StepPlan& plan) {
  ApplyChanges(plan);
  LayRows(plan);
  result_.step = plan.step;
  result_.slots.clear();
  result_.tokens.clear();
  result_.logprobs.clear();
  result_.prompt_rows.clear();
  if (rows_ > 0) {
    const float* hidden = decoder_.Forward({.rows = rows_,
                                            .tokens = tokens_,
                                            .positions = positions_,
                                            .cache_slots = cache_slots_,
                                            .sequences = sequences_},
                                           cache_.data());
    sampler_.Run(hidden, sampled_, prompt_rows_, &result_);
  }
  return result_;
}

void Engine::ApplyChanges(const StepPlan& plan) {
  for (const int32_t slot : plan.release_slots) slots_.Release(slot);
  for (const Admit& admit : plan.admits) slots_.Admit(admit);
  for (const BlockUpdate& update : plan.blocks) {
    slots_.AppendBlocks(update.slot, update.appended_blocks);
  }
}

void Engine::LayRows(const StepPlan& plan) {
  rows_ = 0;
  sequences_.clear();
  sampled_.clear();
  prompt_rows_.clear();
  result_.prompt_logprobs.clear();
  for (const PrefillChunk& chunk : plan.prefills) LayChunk(chunk);
  for (const int32_t id : plan.decode_slots) {
    SlotTable::Slot& slot = slots_[id];
    OCTET_CHECK(slot.active && slot.has_token);
    const int64_t position = slot.length;
    AddSequence(id, position, 1, true);
    AddRow(id, slot.last_token, position);
  }
}

void Engine::LayChunk(const PrefillChunk& chunk) {
  OCTET_CHECK(slots_[chunk.slot].active);
  OCTET_CHECK_EQ(slots_[chunk.slot].length, chunk.first_position);
  AddPromptRows(chunk);
  AddSequence(chunk.slot, chunk.first_position, static_cast<int64_t>(chunk.tokens.size()),
              chunk.sample);
  int64_t position = chunk.first_position;
  for (const int32_t token : chunk.tokens) AddRow(chunk.slot, token, position++);
}

void Engine::AddPromptRows(const PrefillChunk& chunk) {
  const int64_t begin = chunk.logprob_row_begin;
  const int64_t end = chunk.logprob_row_end;
  const auto row_count = static_cast<int64_t>(chunk.tokens.size());
  OCTET_CHECK(begin >= 0 && begin <= end && end <= row_count);
  if (begin == end) return;
  const bool last_is_told = end == row_count;
  OCTET_CHECK(!(last_is_told && chunk.sample));
  OCTET_CHECK(!last_is_told || chunk.next_token.has_value());
  OCTET_CHECK_LE(rows_ + row_count, config_.step_rows);
  result_.prompt_logprobs.push_back({.slot = chunk.slot,
                                     .first_position = chunk.first_position + begin + 1,
                                     .row_begin = static_cast<int64_t>(prompt_rows_.size()),
                                     .row_count = end - begin});
  for (int64_t i = begin; i < end; ++i) {
    const int32_t next = i + 1 < row_count ? chunk.tokens[i + 1] : *chunk.next_token;
    OCTET_CHECK(next >= 0 && next < config_.spec.vocab);
    prompt_rows_.push_back({.slot = chunk.slot, .row = rows_ + i, .next_token = next});
  }
}

void Engine::AddSequence(int32_t slot, int64_t first_position, int64_t row_count, bool sample) {
  OCTET_CHECK_GT(row_count, 0);
  OCTET_CHECK_LE(rows_ + row_count, config_.step_rows);
  OCTET_CHECK_LT(static_cast<int64_t>(sequences_.size()), config_.slots);
  sequences_.push_back({.row_begin = rows_,
                        .row_count = row_count,
                        .first_position = first_position,
                        .block_table = slots_.block_table(slot)});
  slots_[slot].length = first_position + row_count;
  if (sample) {
    sampled_.push_back(
        {.slot = slot, .row = rows_ + row_count - 1, .position = first_position + row_count});
  }
}

void Engine::AddRow(int32_t slot, int32_t token, int64_t position) {
  OCTET_CHECK(token >= 0 && token < config_.spec.vocab);
  tokens_[rows_] = token;
  positions_[rows_] = static_cast<int32_t>(position);
  cache_slots_[rows_] = slots_.CacheSlot(slot, position);
  slots_.SetToken(slot, position, token);
  ++rows_;
}

}  // namespace octet::worker
