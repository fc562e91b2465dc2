#include "worker/engine/engine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace octet::worker {

using kernels::Candidate;
using kernels::CandidateCount;
using kernels::RouteOf;
using kernels::SamplingRoute;

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
      slots_(config_.slots, config_.blocks_per_sequence(), config_.kv_blocks,
             Take<int32_t>(ActivationBuffer::kBlockTables)),
      head_hidden_(Take<float>(ActivationBuffer::kHeadHidden)),
      logits_(Take<float>(ActivationBuffer::kLogits)),
      send_(Take<std::byte>(ActivationBuffer::kSendCandidates)),
      gather_(Take<std::byte>(ActivationBuffer::kGather)),
      choice_(Take<std::byte>(ActivationBuffer::kChoice)),
      bytes_of_rank_(static_cast<size_t>(config_.shard.ranks)) {
  OCTET_CHECK_EQ(config_.shard.ranks, comm->size());
  OCTET_CHECK_EQ(config_.shard.rank, comm->rank());
  OCTET_CHECK_EQ(config_.threads, pool->threads());
  OCTET_CHECK_EQ(activations_.taken_bytes(), memory_.activation_bytes());
  OCTET_CHECK_EQ(weights_.arena.taken_bytes(), memory_.weight_bytes);
  const auto slots = static_cast<size_t>(config_.slots);
  sequences_.reserve(slots);
  sampled_.reserve(slots);
  params_.reserve(slots);
  draw_positions_.reserve(slots);
  candidate_offsets_.reserve(slots);
  result_.slots.reserve(slots);
  result_.tokens.reserve(slots);
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

const StepResult& Engine::Step(const StepPlan& plan) {
  ApplyChanges(plan);
  LayRows(plan);
  result_.step = plan.step;
  result_.slots.clear();
  result_.tokens.clear();
  if (rows_ > 0) {
    const float* hidden = decoder_.Forward({.rows = rows_,
                                            .tokens = tokens_,
                                            .positions = positions_,
                                            .cache_slots = cache_slots_,
                                            .sequences = sequences_},
                                           cache_.data());
    if (!sampled_.empty()) {
      ComputeLogits(hidden);
      Sample();
    }
  }
  return result_;
}

void Engine::ApplyChanges(const StepPlan& plan) {
  for (const int32_t slot : plan.release_slots) slots_.Release(slot);
  for (const Admit& admit : plan.admits) slots_.Admit(admit.slot, admit.sampling);
  for (const BlockUpdate& update : plan.blocks) {
    slots_.AppendBlocks(update.slot, update.appended_blocks);
  }
}

void Engine::LayRows(const StepPlan& plan) {
  rows_ = 0;
  sequences_.clear();
  sampled_.clear();
  for (const PrefillChunk& chunk : plan.prefills) {
    SlotTable::Slot& slot = slots_[chunk.slot];
    OCTET_CHECK(slot.active);
    OCTET_CHECK_EQ(slot.length, chunk.first_position);
    AddSequence(chunk.slot, chunk.first_position, static_cast<int64_t>(chunk.tokens.size()),
                chunk.sample);
    int64_t position = chunk.first_position;
    for (const int32_t token : chunk.tokens) AddRow(chunk.slot, token, position++);
  }
  for (const int32_t id : plan.decode_slots) {
    SlotTable::Slot& slot = slots_[id];
    OCTET_CHECK(slot.active && slot.has_token);
    const int64_t position = slot.length;
    AddSequence(id, position, 1, true);
    AddRow(id, slot.last_token, position);
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
  ++rows_;
}

void Engine::ComputeLogits(const float* hidden) {
  const int64_t width = config_.spec.hidden;
  for (size_t i = 0; i < sampled_.size(); ++i) {
    std::memcpy(head_hidden_ + i * width, hidden + sampled_[i].row * width, width * sizeof(float));
  }
  decoder_.Head(head_hidden_, static_cast<int64_t>(sampled_.size()), logits_);
}

// What rank `rank` sends: for every sampled row its candidates, or its part of the row's logits.
int64_t Engine::SendBytes(int64_t rank) const {
  const std::vector<int64_t>& bounds = config_.shard.vocab_bounds;
  const int64_t logits_bytes =
      (bounds[rank + 1] - bounds[rank]) * static_cast<int64_t>(sizeof(float));
  int64_t bytes = 0;
  for (const kernels::SamplingParams& params : params_) {
    bytes += RouteOf(params) == SamplingRoute::kLogits
                 ? logits_bytes
                 : CandidateCount(params) * static_cast<int64_t>(sizeof(Candidate));
  }
  return bytes;
}

void Engine::Sample() {
  params_.clear();
  draw_positions_.clear();
  candidate_offsets_.clear();
  for (const SampledRow& row : sampled_) {
    params_.push_back(slots_[row.slot].sampling);
    draw_positions_.push_back(row.position);
  }
  // A rank's part: the rows of logits, then all candidates. Both are 4-byte aligned.
  const int64_t vocab = config_.shard.vocab();
  int64_t logits_bytes = 0;
  for (size_t i = 0; i < params_.size(); ++i) {
    if (RouteOf(params_[i]) != SamplingRoute::kLogits) continue;
    std::memcpy(send_ + logits_bytes, logits_ + static_cast<int64_t>(i) * vocab,
                vocab * sizeof(float));
    logits_bytes += vocab * static_cast<int64_t>(sizeof(float));
  }
  int64_t candidates = 0;
  for (const kernels::SamplingParams& params : params_) {
    candidate_offsets_.push_back(candidates);
    candidates += CandidateCount(params);
  }
  kernels::LocalCandidates({.logits = logits_,
                            .tokens = vocab,
                            .token_begin = config_.shard.vocab_begin,
                            .params = params_,
                            .positions = draw_positions_,
                            .out_offsets = candidate_offsets_,
                            .out = reinterpret_cast<Candidate*>(send_ + logits_bytes)},
                           stream_);

  int64_t total = 0;
  for (int64_t rank = 0; rank < config_.shard.ranks; ++rank) {
    bytes_of_rank_[rank] = SendBytes(rank);
    total += bytes_of_rank_[rank];
  }
  comm_->AllGather({send_, static_cast<size_t>(bytes_of_rank_[config_.shard.rank])}, bytes_of_rank_,
                   {gather_, static_cast<size_t>(total)});

  for (size_t i = 0; i < sampled_.size(); ++i) {
    const int32_t token = Choose(static_cast<int64_t>(i));
    SlotTable::Slot& slot = slots_[sampled_[i].slot];
    slot.last_token = std::max(token, 0);  // -1: no logit was a number; the request will fail
    slot.has_token = true;
    result_.slots.push_back(sampled_[i].slot);
    result_.tokens.push_back(token);
  }
}

int32_t Engine::Choose(int64_t sampled_row) {
  const kernels::SamplingParams& params = params_[sampled_row];
  const int64_t position = draw_positions_[sampled_row];
  if (RouteOf(params) == SamplingRoute::kLogits) {
    const std::span<const float> logits = LogitsOf(sampled_row);
    const auto scratch = reinterpret_cast<Candidate*>(
        choice_ + config_.spec.vocab * static_cast<int64_t>(sizeof(float)));
    return kernels::ChooseFromLogits(params, position, logits, {scratch, logits.size()});
  }
  const int64_t count = CandidateCount(params);
  const auto all = reinterpret_cast<Candidate*>(choice_);
  int64_t held = 0;
  const std::byte* part = gather_;
  for (int64_t rank = 0; rank < config_.shard.ranks; ++rank) {
    const int64_t candidates_begin =
        bytes_of_rank_[rank] -
        (candidate_offsets_.back() + CandidateCount(params_.back())) * int64_t{sizeof(Candidate)};
    std::memcpy(
        all + held,
        part + candidates_begin + candidate_offsets_[sampled_row] * int64_t{sizeof(Candidate)},
        count * sizeof(Candidate));
    held += count;
    part += bytes_of_rank_[rank];
  }
  return kernels::ChooseFromCandidates(params, position, {all, static_cast<size_t>(held)},
                                       {all + held, static_cast<size_t>(held)});
}

std::span<const float> Engine::LogitsOf(int64_t sampled_row) const {
  OCTET_CHECK(sampled_row >= 0 && sampled_row < static_cast<int64_t>(params_.size()));
  if (RouteOf(params_[sampled_row]) != SamplingRoute::kLogits) return {};
  int64_t index = 0;  // of this row among those that sent logits
  for (int64_t i = 0; i < sampled_row; ++i) index += RouteOf(params_[i]) == SamplingRoute::kLogits;
  const auto row = reinterpret_cast<float*>(choice_);
  const std::vector<int64_t>& bounds = config_.shard.vocab_bounds;
  const std::byte* part = gather_;
  for (int64_t rank = 0; rank < config_.shard.ranks; ++rank) {
    const int64_t vocab = bounds[rank + 1] - bounds[rank];
    std::memcpy(row + bounds[rank], part + index * vocab * int64_t{sizeof(float)},
                vocab * sizeof(float));
    part += bytes_of_rank_[rank];
  }
  return {row, static_cast<size_t>(config_.spec.vocab)};
}

}  // namespace octet::worker
