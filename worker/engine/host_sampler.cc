#include "worker/engine/host_sampler.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "comm/timed.h"

namespace octet::worker {

using kernels::Adjustment;
using kernels::Candidate;
using kernels::TileSum;

namespace {

// Adds its lifetime.
class Apart {
 public:
  explicit Apart(int64_t* sum_ns) : sum_ns_(sum_ns), begin_ns_(comm::SteadyNanoseconds()) {}
  ~Apart() { *sum_ns_ += comm::SteadyNanoseconds() - begin_ns_; }
  Apart(const Apart&) = delete;
  Apart& operator=(const Apart&) = delete;

 private:
  int64_t* const sum_ns_;
  const int64_t begin_ns_;
};

}  // namespace

HostSampler::HostSampler(const EngineConfig& config, const HostSamplerBuffers& buffers,
                         SlotTable* slots, Decoder* decoder, comm::Communicator* comm,
                         Stream* stream)
    : config_(config),
      buffers_(buffers),
      slots_(slots),
      decoder_(decoder),
      comm_(comm),
      stream_(stream),
      layout_(config.shard, config.slots + config.step_rows),
      gathered_(&config.shard, &layout_, buffers.gather),
      history_({.slots = config.slots, .context = config.context, .vocab = config.spec.vocab},
               buffers.history) {
  OCTET_CHECK_LE(config.spec.vocab, kernels::kSampledVocabMax);
  const auto rows = static_cast<size_t>(config.slots);
  params_.reserve(rows);
  positions_.reserve(rows);
  before_exchange_.reserve(rows);
  after_exchange_.reserve(rows);
  saved_.reserve(rows);
  candidate_offsets_.reserve(rows);
  told_before_.reserve(rows);
  told_.reserve(rows);
  for (StepResult& outcome : outcomes_) {
    outcome.tokens.reserve(rows);
    outcome.logprobs.reserve(rows);
    outcome.prompt_rows.reserve(static_cast<size_t>(config.step_rows));
  }
}

void HostSampler::TakeTokens(const StepRows& rows) {
  history_.TakeTokens(rows.slots.host, rows.positions.host, rows.rows, rows.tokens.host);
}

void HostSampler::Run(int turn, const float* hidden) {
  StepResult& outcome = outcomes_[turn];
  outcome.tokens.clear();
  outcome.logprobs.clear();
  outcome.prompt_rows.clear();
  if (layout_.rows() == 0) return;
  const int64_t begin_ns = comm::SteadyNanoseconds();
  apart_ns_ = 0;
  Draw(&outcome, hidden);
  sampling_ns_ += comm::SteadyNanoseconds() - begin_ns - apart_ns_;
}

void HostSampler::Draw(StepResult* outcome, const float* hidden) {
  TellPrompt(hidden);
  OfferSampled(hidden);
  Exchange();
  ChooseAll(outcome);

  const auto first = static_cast<int64_t>(sampled_.size());
  const auto count = static_cast<int64_t>(prompt_.size());
  outcome->prompt_rows.resize(prompt_.size());
  stream_->pool().ParallelFor(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float logit = gathered_.TargetLogit(first + i, prompt_[i].next_token);
      outcome->prompt_rows[i] = gathered_.Tell(first + i, logit);
    }
  });
}

void HostSampler::Read(int turn, StepResult* result) {
  StepResult& outcome = outcomes_[turn];
  result->tokens.assign(outcome.tokens.begin(), outcome.tokens.end());
  result->logprobs.assign(outcome.logprobs.begin(), outcome.logprobs.end());
  result->prompt_rows.assign(outcome.prompt_rows.begin(), outcome.prompt_rows.end());
}

// Sampled rows first, then the prompts' rows.
void HostSampler::Lay(int, const RowsAsked& asked, StepImage*) {
  sampled_ = asked.sampled;
  prompt_ = asked.prompt;
  params_.clear();
  positions_.clear();
  before_exchange_.clear();
  after_exchange_.clear();
  saved_.clear();
  candidate_offsets_.clear();
  told_before_.clear();
  layout_.Clear();
  int64_t told = 0;
  for (const SampledRow& row : sampled_) {
    const SlotTable::Slot& slot = (*slots_)[row.slot];
    const RowShare share = ShareOf(slot);
    const bool whole = share.logits;
    const auto i = static_cast<int64_t>(params_.size());
    const Adjustment adjustment = history_.AdjustmentAt(row.slot, row.position);
    params_.push_back(slot.sampling);
    positions_.push_back(row.position);
    before_exchange_.push_back(whole ? Adjustment{} : adjustment);
    after_exchange_.push_back(whole ? adjustment : Adjustment{});
    saved_.push_back(share.tiles && !whole ? buffers_.saved_logits + i * config_.saved_logits_max()
                                           : nullptr);
    told_before_.push_back(told);
    told += share.tiles ? 1 : 0;
    layout_.Add(share);
    candidate_offsets_.push_back(layout_.candidates_before(i));
  }
  for (const PromptRow& row : prompt_) {
    layout_.Add(PromptShareOf((*slots_)[row.slot]));
  }
  layout_.Finish();
}

template <typename Row>
void HostSampler::RunHead(const float* hidden, std::span<const Row> rows) {
  const Apart apart(&apart_ns_);
  const int64_t width = config_.spec.hidden;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(buffers_.head_hidden + i * width, hidden + rows[i].row * width,
                width * sizeof(float));
  }
  decoder_->Head(buffers_.head_hidden, static_cast<int64_t>(rows.size()), buffers_.logits);
}

kernels::LogprobRow HostSampler::Told(int64_t row, int64_t logits_row) const {
  const int64_t rank = config_.shard.rank;
  return {.logits = buffers_.logits + logits_row * config_.shard.vocab(),
          .tiles = reinterpret_cast<TileSum*>(buffers_.send + layout_.TilesAt(row, rank)),
          .best = layout_.share(row).best,
          .top = reinterpret_cast<Candidate*>(buffers_.send + layout_.BestAt(row, rank))};
}

void HostSampler::TellPrompt(const float* hidden) {
  const ShardPlan& shard = config_.shard;
  const auto first = layout_.rows() - static_cast<int64_t>(prompt_.size());
  const auto pass_max = static_cast<size_t>(config_.slots);
  for (size_t begin = 0; begin < prompt_.size(); begin += pass_max) {
    const auto pass = prompt_.subspan(begin, std::min(pass_max, prompt_.size() - begin));
    RunHead(hidden, pass);
    told_.clear();
    for (size_t i = 0; i < pass.size(); ++i) {
      told_.push_back(Told(first + static_cast<int64_t>(begin + i), static_cast<int64_t>(i)));
    }
    kernels::LocalLogprobs(
        {.rows = told_, .tokens = shard.vocab(), .token_begin = shard.vocab_begin}, *stream_);
    for (size_t i = 0; i < pass.size(); ++i) {
      const int32_t token = pass[i].next_token;
      const bool held = token >= shard.vocab_begin && token < shard.vocab_end;
      const float logit = held ? told_[i].logits[token - shard.vocab_begin] : 0.0f;
      const auto row = first + static_cast<int64_t>(begin + i);
      std::memcpy(buffers_.send + layout_.RawLogitsAt(row, shard.rank), &logit, sizeof(logit));
    }
  }
}

void HostSampler::OfferSampled(const float* hidden) {
  if (sampled_.empty()) return;
  const ShardPlan& shard = config_.shard;
  const auto rows = static_cast<int64_t>(sampled_.size());
  RunHead(hidden, sampled_);
  told_.clear();
  for (int64_t row = 0; row < rows; ++row) {
    if (layout_.share(row).tiles) told_.push_back(Told(row, row));
    if (!layout_.share(row).logits) continue;
    std::memcpy(buffers_.send + layout_.LogitsAt(row, shard.rank),
                buffers_.logits + row * shard.vocab(), shard.vocab() * sizeof(float));
  }
  kernels::LocalLogprobs({.rows = told_, .tokens = shard.vocab(), .token_begin = shard.vocab_begin},
                         *stream_);
  OfferCandidates(rows);
  for (int64_t row = 0; row < rows; ++row) {
    if (saved_[row] != nullptr) SendRawLogits(row);
  }
}

void HostSampler::OfferCandidates(int64_t rows) {
  const ShardPlan& shard = config_.shard;
  kernels::AdjustRows({.logits = buffers_.logits,
                       .tokens = shard.vocab(),
                       .token_begin = shard.vocab_begin,
                       .adjustments = before_exchange_,
                       .saved = saved_,
                       .counts = buffers_.token_counts,
                       .count_arrays = config_.choices_at_once()},
                      *stream_);
  OCTET_CHECK_EQ(static_cast<int64_t>(params_.size()), rows);
  kernels::LocalCandidates(
      {.logits = buffers_.logits,
       .tokens = shard.vocab(),
       .token_begin = shard.vocab_begin,
       .params = params_,
       .positions = positions_,
       .out_offsets = candidate_offsets_,
       .out = reinterpret_cast<Candidate*>(buffers_.send + layout_.CandidatesAt(0, shard.rank))},
      *stream_);
}

// The raw logits of the row's candidates, once what the adjustment changed is undone.
void HostSampler::SendRawLogits(int64_t row) {
  const ShardPlan& shard = config_.shard;
  float* logits = buffers_.logits + row * shard.vocab();
  kernels::RestoreLogits(before_exchange_[row], {logits, shard.vocab(), shard.vocab_begin},
                         saved_[row]);
  const auto candidates =
      reinterpret_cast<const Candidate*>(buffers_.send + layout_.CandidatesAt(row, shard.rank));
  const auto raw = reinterpret_cast<float*>(buffers_.send + layout_.RawLogitsAt(row, shard.rank));
  for (int32_t i = 0; i < layout_.share(row).candidates; ++i) {
    const int32_t token = candidates[i].token;
    raw[i] = token >= 0 ? logits[token - shard.vocab_begin] : 0.0f;
  }
}

void HostSampler::Exchange() {
  const Apart apart(&apart_ns_);
  const std::span<const int64_t> bytes = layout_.bytes_of_rank();
  comm_->AllGather({buffers_.send, static_cast<size_t>(bytes[config_.shard.rank])}, bytes,
                   {buffers_.gather, static_cast<size_t>(layout_.total_bytes())}, *stream_);
}

// Rows are dealt to the threads, each with a scratch of its own.
void HostSampler::ChooseAll(StepResult* result) {
  const auto rows = static_cast<int64_t>(sampled_.size());
  if (rows == 0) return;
  result->tokens.resize(sampled_.size());
  result->logprobs.resize(static_cast<size_t>(told_before_.back()) +
                          (layout_.share(rows - 1).tiles ? 1 : 0));
  const int64_t runs = std::min(config_.choices_at_once(), rows);
  stream_->pool().ParallelFor(runs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      for (int64_t row = run; row < rows; row += runs) {
        const int32_t token = Choose(row, run);
        result->tokens[row] = token;
        if (!layout_.share(row).tiles) continue;
        result->logprobs[told_before_[row]] =
            gathered_.Tell(row, gathered_.ChosenLogit(row, token));
      }
    }
  });
  for (int64_t row = 0; row < rows; ++row) {
    // -1: the request will fail
    history_.SetDrawn(sampled_[row].slot, std::max(result->tokens[row], 0));
  }
}

int32_t HostSampler::Choose(int64_t row, int64_t run) {
  std::byte* scratch = buffers_.choice + run * config_.choice_bytes();
  if (!layout_.share(row).logits) {
    const auto all = reinterpret_cast<Candidate*>(scratch);
    const int64_t held = gathered_.CopyCandidates(row, all);
    return kernels::ChooseFromCandidates(params_[row], positions_[row],
                                         {all, static_cast<size_t>(held)},
                                         {all + held, static_cast<size_t>(held)});
  }
  const int64_t vocab = config_.spec.vocab;
  const auto logits = reinterpret_cast<float*>(scratch);
  gathered_.CopyLogits(row, logits);
  kernels::AdjustLogits(after_exchange_[row], {logits, vocab, 0},
                        buffers_.token_counts + run * vocab, nullptr);
  return kernels::ChooseFromLogits(
      params_[row], positions_[row], {logits, static_cast<size_t>(vocab)},
      {reinterpret_cast<Candidate*>(logits + vocab), static_cast<size_t>(vocab)});
}

std::span<const float> HostSampler::LogitsOf(int64_t sampled_row) {
  OCTET_CHECK(sampled_row >= 0 && sampled_row < static_cast<int64_t>(params_.size()));
  if (!layout_.share(sampled_row).logits) return {};
  const auto row = reinterpret_cast<float*>(buffers_.choice);
  gathered_.CopyLogits(sampled_row, row);
  return {row, static_cast<size_t>(config_.spec.vocab)};
}

}  // namespace octet::worker
