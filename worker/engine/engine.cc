#include "worker/engine/engine.h"

#include <utility>

#include "base/check.h"
#include "worker/engine/engine_parts.h"
#include "worker/engine/row_buckets.h"

namespace octet::worker {
namespace {

int64_t RowsOf(const StepPlan& plan) {
  auto rows = static_cast<int64_t>(plan.decode_slots.size());
  for (const PrefillChunk& chunk : plan.prefills) rows += static_cast<int64_t>(chunk.tokens.size());
  return rows;
}

// A step of decode rows alone.
bool IsDecode(const StepPlan& plan) { return plan.prefills.empty() && !plan.decode_slots.empty(); }

EngineMemory TakeOnCpu(const EngineConfig& config, ThreadPool* pool) {
  Stream stream(pool);
  return EngineMemory::Take(MemoryPlan::Make(config), stream).value();
}

}  // namespace

Engine::Engine(EngineConfig config, ResidentWeights weights, EngineMemory memory,
               comm::Communicator* comm, Stream stream)
    : config_(std::move(config)),
      memory_(MemoryPlan::Make(config_)),
      weights_(std::move(weights)),
      taken_(std::move(memory)),
      stream_(stream),
      decoder_(config_.spec, config_.shard, weights_.weights,
               {.activations = config_.activations,
                .kv = config_.kv_layout(),
                .blocks = config_.kv_blocks},
               MakeDecoderBuffers(config_, weights_.weights.shapes, taken_, stream_), comm,
               &stream_),
      slots_({.slots = config_.slots,
              .context = config_.context,
              .blocks_per_slot = config_.blocks_per_sequence(),
              .blocks = config_.kv_blocks},
             taken_.OnHost<int32_t>(ActivationBuffer::kBlockTables)),
      sampler_(MakeSampler({config_, taken_, &slots_, &decoder_, comm, &stream_})),
      positions_(config_, taken_.OnHost<float>(ActivationBuffer::kRopeTables)),
      attention_(config_) {
  OCTET_CHECK(config_.device == stream_.device());
  OCTET_CHECK_EQ(config_.shard.ranks, comm->size());
  OCTET_CHECK_EQ(config_.shard.rank, comm->rank());
  OCTET_CHECK_EQ(taken_.activation_bytes(), memory_.activation_bytes());
  OCTET_CHECK_EQ(taken_.cache_bytes(), memory_.kv_bytes);
  OCTET_CHECK_EQ(weights_.bytes(), memory_.weight_bytes);
  const auto slots = static_cast<size_t>(config_.slots);
  sequences_.reserve(slots);
  sampled_.reserve(slots);
  prompt_rows_.reserve(static_cast<size_t>(config_.step_rows));
  for (StepResult& result : results_) {
    result.slots.reserve(slots);
    result.tokens.reserve(slots);
    result.logprobs.reserve(slots);
    result.prompt_logprobs.reserve(slots);
    result.prompt_rows.reserve(static_cast<size_t>(config_.step_rows));
  }
  const int64_t image_bytes = memory_.step_image_bytes();
  for (int turn = 0; turn < kStepsInFlight; ++turn) {
    images_[turn] = StepImage(taken_.HostImage(turn),
                              taken_.Of<std::byte>(ActivationBuffer::kStepImage), image_bytes);
  }
  if (config_.device != Device::kCpu && config_.graphs) RecordGraphs();
}

Engine::Engine(const EngineConfig& config, DecoderWeights weights, comm::Communicator* comm,
               ThreadPool* pool)
    : Engine(config, std::move(weights), TakeOnCpu(config, pool), comm, Stream(pool)) {
  OCTET_CHECK_EQ(config_.threads, pool->threads());
}

void Engine::RecordGraphs() {
  buckets_ = RowBuckets(config_.slots);
  for (const int64_t rows : buckets_) {
    StepImage& image = images_[0];
    image.Rewind();
    step_ = StepRows::Take(rows, &image);
    step_.Pad(0);
    positions_.Lay(step_, &image);
    attention_.LayPlan(rows, {}, true, &image);
    sampler_->Lay(0, {.padded_rows = rows}, &image);
    attention_.PlaceTables(&image);
    if (config_.shard.ranks > 1) {
      // A communicator sets itself up in its first calls of each size, which is not to be recorded:
      // a step of padding alone.
      image.Upload(stream_);
      RunLayers();
      sampler_->Run(0, decoder_.hidden());
      Synchronize(stream_);
    }
    sampler_->RecordTail(rows, decoder_.hidden());
    layers_.push_back(Graph::Capture(stream_, [this] { RunLayers(); }));
  }
}

const StepResult& Engine::Step(const StepPlan& plan) {
  Launch(plan);
  return Finish();
}

void Engine::Launch(const StepPlan& plan) {
  OCTET_CHECK_LT(in_flight_, kStepsInFlight);
  StepImage& image = images_[turn_];
  ApplyChanges(plan);
  image.Rewind();
  const bool recorded = IsDecode(plan) && !buckets_.empty();
  step_ = StepRows::Take(StepRowsOf(plan), &image);
  LayRows(plan);
  step_.Pad(rows_);
  positions_.Lay(step_, &image);
  attention_.LayPlan(step_.rows, sequences_, recorded, &image);
  sampler_->Lay(
      turn_,
      {.sampled = sampled_, .prompt = prompt_rows_, .padded_rows = recorded ? step_.rows : 0},
      &image);
  attention_.LayTables(sequences_, &image);
  sampler_->LayRest(&image);
  image.Upload(stream_);
  sampler_->BeginStep();
  if (recorded) {
    layers_[BucketOf(buckets_, step_.rows)].Launch(stream_);
  } else if (step_.rows > 0) {
    RunLayers();
  }
  sampler_->Run(turn_, decoder_.hidden());
  turn_ = (turn_ + 1) % kStepsInFlight;
  ++in_flight_;
}

int64_t Engine::StepRowsOf(const StepPlan& plan) const {
  const int64_t rows = RowsOf(plan);
  if (buckets_.empty() || !IsDecode(plan)) return rows;
  OCTET_CHECK_LE(rows, buckets_.back());
  return buckets_[BucketOf(buckets_, rows)];
}

void Engine::RunLayers() {
  sampler_->TakeTokens(step_);
  decoder_.Forward({.rows = step_.rows,
                    .tokens = step_.tokens.device,
                    .positions = step_.positions.device,
                    .cache_slots = step_.cache_slots.device,
                    .slots = step_.slots.device,
                    .rope_tables = positions_.tables(),
                    .query_scales = positions_.query_scales(),
                    .sequences = sequences_,
                    .attention_plan = attention_.plan(),
                    .block_tables = attention_.block_tables()},
                   taken_.cache());
}

const StepResult& Engine::Finish() {
  OCTET_CHECK_GT(in_flight_, 0);
  const int turn = oldest_turn();
  sampler_->Read(turn, &results_[turn]);
  --in_flight_;
  return results_[turn];
}

void Engine::ApplyChanges(const StepPlan& plan) {
  for (const int32_t slot : plan.release_slots) slots_.Release(slot);
  for (const Admit& admit : plan.admits) {
    slots_.Admit(admit);
    positions_.Admit(admit.slot, admit.prompt_tokens);
    sampler_->Admit(admit);
  }
  for (const BlockUpdate& update : plan.blocks) {
    slots_.AppendBlocks(update.slot, update.appended_blocks);
  }
}

void Engine::LayRows(const StepPlan& plan) {
  StepResult& result = results_[turn_];
  rows_ = 0;
  sequences_.clear();
  sampled_.clear();
  prompt_rows_.clear();
  result.step = plan.step;
  result.slots.clear();
  result.prompt_logprobs.clear();
  for (const PrefillChunk& chunk : plan.prefills) LayChunk(chunk);
  for (const int32_t id : plan.decode_slots) {
    SlotTable::Slot& slot = slots_[id];
    OCTET_CHECK(slot.active && slot.has_token);
    const int64_t position = slot.length;
    AddSequence(id, position, 1, true);
    sequences_.back().settled = position;
    AddRow(id, kLastToken, position);
  }
}

void Engine::LayChunk(const PrefillChunk& chunk) {
  OCTET_CHECK(slots_[chunk.slot].active);
  OCTET_CHECK_EQ(slots_[chunk.slot].length, chunk.first_position);
  AddPromptRows(chunk);
  AddSequence(chunk.slot, chunk.first_position, static_cast<int64_t>(chunk.tokens.size()),
              chunk.sample);
  int64_t position = chunk.first_position;
  for (const int32_t token : chunk.tokens) {
    OCTET_CHECK(token >= 0 && token < config_.spec.vocab);
    AddRow(chunk.slot, token, position++);
  }
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
  results_[turn_].prompt_logprobs.push_back({.slot = chunk.slot,
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
    slots_[slot].has_token = true;
    results_[turn_].slots.push_back(slot);
    sampled_.push_back(
        {.slot = slot, .row = rows_ + row_count - 1, .position = first_position + row_count});
  }
}

void Engine::AddRow(int32_t slot, int32_t token, int64_t position) {
  step_.tokens.host[rows_] = token;
  step_.slots.host[rows_] = slot;
  step_.positions.host[rows_] = static_cast<int32_t>(position);
  step_.cache_slots.host[rows_] = slots_.CacheSlot(slot, position);
  ++rows_;
}

}  // namespace octet::worker
