#include "worker/engine/device_sampler.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/embedding/embedding.h"
#include "kernels/sampling/device/offer_rows.h"
#include "kernels/sampling/device/take_tokens.h"

namespace octet::worker {

using kernels::RowLogprobs;
using kernels::SamplingRow;

namespace {

int64_t TokenBytes(const EngineConfig& config) {
  return AlignUp(config.slots * int64_t{sizeof(int32_t)});
}

int64_t ImageAdmissions(const EngineConfig& config) {
  return std::min(config.slots, kImageAdmissionsMax);
}

bool AsksForTokenAlone(const RowShare& share) {
  return !share.logits && share.candidates == 1 && !share.tiles;
}

kernels::VocabCut CutOf(const ShardPlan& shard) {
  kernels::VocabCut cut{.ranks = static_cast<int32_t>(shard.ranks),
                        .rank = static_cast<int32_t>(shard.rank)};
  for (size_t i = 0; i < shard.vocab_bounds.size(); ++i) {
    cut.bounds[i] = static_cast<int32_t>(shard.vocab_bounds[i]);
  }
  return cut;
}

kernels::SlotAdmission AdmissionOf(const Admit& admit) {
  const Adjustments& a = admit.adjustments;
  return {.slot = admit.slot,
          .sampling = admit.sampling,
          .penalties = {.repetition_penalty = a.repetition_penalty,
                        .presence_penalty = a.presence_penalty,
                        .frequency_penalty = a.frequency_penalty},
          .prompt_tokens = admit.prompt_tokens,
          .min_tokens = a.min_tokens,
          .bias = a.logit_bias,
          .end_ids = a.end_ids,
          .cached_tokens = admit.cached_token_ids};
}

}  // namespace

DeviceSampler::DeviceSampler(const EngineConfig& config, const DeviceSamplerBuffers& buffers,
                             SlotTable* slots, Decoder* decoder, comm::Communicator* comm,
                             Stream* stream)
    : config_(config),
      buffers_(buffers),
      slots_(slots),
      decoder_(decoder),
      comm_(comm),
      stream_(stream),
      state_(
          kernels::SlotStateIn(buffers.state, {.slots = config.slots, .vocab = config.spec.vocab})),
      cut_(CutOf(config.shard)),
      layout_(config.shard, config.slots + config.step_rows),
      updates_max_(ImageAdmissions(config)) {
  kernels::CheckCut(cut_, config.spec.vocab);
  admits_.reserve(static_cast<size_t>(config.slots));
}

int64_t DeviceSampler::ResultBytes(const EngineConfig& config) {
  return TokenBytes(config) +
         AlignUp((config.slots + config.step_rows) * int64_t{sizeof(RowLogprobs)});
}

int64_t DeviceSampler::ImageBytes(const EngineConfig& config) {
  const int64_t rows = config.slots + config.step_rows;
  return AlignUp(sizeof(kernels::SamplingStep)) + AlignUp(rows * int64_t{sizeof(SamplingRow)}) +
         AlignUp(rows * int64_t{sizeof(int32_t)}) +
         AlignUp(kernels::SlotUpdateBytes(ImageAdmissions(config), config.context));
}

DeviceSampler::Parts DeviceSampler::TakeParts(int64_t rows, bool gathers, StepImage* image) const {
  Parts parts;
  parts.step = image->Take<kernels::SamplingStep>(1);
  parts.rows = image->Take<SamplingRow>(rows);
  if (gathers) parts.head_rows = image->Take<int32_t>(rows);
  return parts;
}

void DeviceSampler::Lay(int turn, const RowsAsked& asked, StepImage* image) {
  const auto sampled = static_cast<int64_t>(asked.sampled.size());
  gathers_ = asked.padded_rows == 0;
  sampled_rows_ = gathers_ ? sampled : asked.padded_rows;
  parts_ = TakeParts(sampled_rows_ + static_cast<int64_t>(asked.prompt.size()), gathers_, image);
  LayShares(asked);
  LayRows(asked);
  Pending& pending = pending_[turn];
  pending.sampled = sampled;
  pending.prompt_told = static_cast<int64_t>(asked.prompt.size());
  pending.sampled_told = 0;
  for (int64_t i = 0; i < sampled; ++i) pending.sampled_told += layout_.share(i).tiles ? 1 : 0;
}

// Sampled rows first, then those of prompts; padding brings one candidate, like its neighbours.
void DeviceSampler::LayShares(const RowsAsked& asked) {
  layout_.Clear();
  uniform_ = !gathers_;
  for (const SampledRow& row : asked.sampled) {
    const RowShare share = ShareOf((*slots_)[row.slot]);
    uniform_ = uniform_ && AsksForTokenAlone(share);
    layout_.Add(share);
  }
  const auto sampled = static_cast<int64_t>(asked.sampled.size());
  for (int64_t i = sampled; i < sampled_rows_; ++i) layout_.Add({.candidates = 1});
  for (const PromptRow& row : asked.prompt) layout_.Add(PromptShareOf((*slots_)[row.slot]));
  layout_.Finish();
}

void DeviceSampler::LayRows(const RowsAsked& asked) {
  int32_t told = 0;
  parts_.step.host->totals = layout_.totals();
  for (int64_t i = 0; i < layout_.rows(); ++i) {
    SamplingRow& row = parts_.rows.host[i];
    row = {.share = layout_.share(i), .before = layout_.before(i)};
    int64_t step_row = 0;
    if (i < static_cast<int64_t>(asked.sampled.size())) {
      const SampledRow& sampled = asked.sampled[i];
      row.slot = sampled.slot;
      row.position = sampled.position;
      step_row = sampled.row;
    } else if (i >= sampled_rows_) {
      const PromptRow& prompt = asked.prompt[i - sampled_rows_];
      row.slot = prompt.slot;
      row.next_token = prompt.next_token;
      step_row = prompt.row;
    }
    const int64_t of_pass = i < sampled_rows_ ? i : (i - sampled_rows_) % config_.slots;
    row.logits_row = static_cast<int32_t>(of_pass);
    if (row.share.tiles) row.told = told++;
    if (gathers_) parts_.head_rows.host[i] = static_cast<int32_t>(step_row);
  }
}

void DeviceSampler::LayRest(StepImage* image) {
  update_count_ = 0;
  if (admits_.empty()) return;
  const int64_t bytes = kernels::SlotUpdateBytes(updates_max_, config_.context);
  updates_ = image->Take<std::byte>(bytes);
  kernels::SlotUpdateList list({updates_.host, static_cast<size_t>(bytes)}, updates_max_);
  for (const worker::Admit* admit : admits_) {
    if (list.Add(AdmissionOf(*admit))) continue;
    // More than an image holds: what is written so far goes ahead of it.
    CopyToDevice(updates_.device, updates_.host, list.used_bytes(), *stream_);
    update_count_ = list.count();
    BeginStep();
    Synchronize(*stream_);
    list.Clear();
    OCTET_CHECK(list.Add(AdmissionOf(*admit)));
  }
  update_count_ = list.count();
  image->Return(bytes - list.used_bytes());
  admits_.clear();
}

void DeviceSampler::BeginStep() {
  if (update_count_ == 0) return;
  kernels::ApplySlotUpdates({.updates = updates_.device,
                             .updates_max = updates_max_,
                             .count = update_count_,
                             .state = state_},
                            *stream_);
  update_count_ = 0;
}

void DeviceSampler::TakeTokens(const StepRows& rows) {
  kernels::TakeTokens({.slots = rows.slots.device,
                       .given = rows.tokens.device,
                       .positions = rows.positions.device,
                       .rows_max = rows.rows,
                       .state = state_,
                       .tokens = rows.tokens.device},
                      *stream_);
}

RowLogprobs* DeviceSampler::told() const {
  return reinterpret_cast<RowLogprobs*>(buffers_.results + TokenBytes(config_));
}

void DeviceSampler::Offer(const float* hidden, int64_t begin, int64_t end) {
  const int64_t rows = end - begin;
  if (rows == 0) return;
  const float* input = hidden;
  if (gathers_) {
    // Rows are picked as an embedding picks those of its table.
    kernels::Embedding({.table = reinterpret_cast<const std::byte*>(hidden),
                        .dtype = DType::kF32,
                        .token_begin = 0,
                        .token_end = config_.step_rows,
                        .tokens = parts_.head_rows.device + begin,
                        .out = buffers_.head_hidden,
                        .rows = rows,
                        .hidden = config_.spec.hidden},
                       *stream_);
    input = buffers_.head_hidden;
  }
  decoder_->Head(input, rows, buffers_.logits);
  kernels::OfferRows({.step = parts_.step.device,
                      .rows = parts_.rows.device + begin,
                      .logits = buffers_.logits,
                      .state = state_,
                      .workspace = buffers_.workspace,
                      .send = buffers_.send,
                      .rows_max = rows,
                      .cut = cut_},
                     *stream_);
}

void DeviceSampler::Tail(const float* hidden) {
  const int64_t rows = layout_.rows();
  for (int64_t begin = sampled_rows_; begin < rows; begin += config_.slots) {
    Offer(hidden, begin, std::min(begin + config_.slots, rows));
  }
  Offer(hidden, 0, sampled_rows_);
  const std::span<const int64_t> bytes = layout_.bytes_of_rank();
  comm_->AllGather({buffers_.send, static_cast<size_t>(bytes[config_.shard.rank])}, bytes,
                   {buffers_.gather, static_cast<size_t>(layout_.total_bytes())}, *stream_);
  kernels::ChooseRows({.step = parts_.step.device,
                       .rows = parts_.rows.device,
                       .gather = buffers_.gather,
                       .state = state_,
                       .tokens = reinterpret_cast<int32_t*>(buffers_.results),
                       .told = told(),
                       .rows_max = rows,
                       .cut = cut_},
                      *stream_);
}

void DeviceSampler::RecordTail(int64_t rows, const float* hidden) {
  OCTET_CHECK(!gathers_ && sampled_rows_ == rows);
  tails_[rows] = Graph::Capture(*stream_, [&] { Tail(hidden); });
}

void DeviceSampler::Run(int turn, const float* hidden) {
  Pending& pending = pending_[turn];
  if (layout_.rows() > 0) {
    const auto tail = tails_.find(sampled_rows_);
    if (uniform_ && tail != tails_.end()) {
      tail->second.Launch(*stream_);
    } else {
      Tail(hidden);
    }
    const int64_t told_rows = pending.sampled_told + pending.prompt_told;
    const int64_t bytes = told_rows > 0
                              ? TokenBytes(config_) + told_rows * int64_t{sizeof(RowLogprobs)}
                              : pending.sampled * int64_t{sizeof(int32_t)};
    CopyToHost(buffers_.host_results + turn * ResultBytes(config_), buffers_.results, bytes,
               *stream_);
  }
  pending.done.Record(*stream_);
}

void DeviceSampler::Read(int turn, StepResult* result) {
  const Pending& pending = pending_[turn];
  pending.done.Synchronize();
  const std::byte* const from = buffers_.host_results + turn * ResultBytes(config_);
  const auto tokens = reinterpret_cast<const int32_t*>(from);
  const auto told = reinterpret_cast<const RowLogprobs*>(from + TokenBytes(config_));
  result->tokens.assign(tokens, tokens + pending.sampled);
  result->logprobs.assign(told, told + pending.sampled_told);
  const RowLogprobs* const prompt = told + pending.sampled_told;
  result->prompt_rows.assign(prompt, prompt + pending.prompt_told);
}

std::span<const float> DeviceSampler::LogitsOf(int64_t sampled_row) {
  OCTET_CHECK(sampled_row >= 0 && sampled_row < sampled_rows_);
  if (!layout_.share(sampled_row).logits) return {};
  raw_logits_.resize(static_cast<size_t>(config_.spec.vocab));
  const ShardPlan& shard = config_.shard;
  for (int64_t rank = 0; rank < shard.ranks; ++rank) {
    const int64_t begin = shard.vocab_bounds[rank];
    CopyToHost(raw_logits_.data() + begin,
               buffers_.gather + layout_.PartBegin(rank) + layout_.LogitsAt(sampled_row, rank),
               (shard.vocab_bounds[rank + 1] - begin) * int64_t{sizeof(float)}, *stream_);
  }
  Synchronize(*stream_);
  return raw_logits_;
}

}  // namespace octet::worker
