// Everything after the last layer: the head over the rows that are asked about, the one exchange of
// the step, and from it, the same on every rank, the tokens and their log-probabilities.
//
// Rows of prompts that tell log-probabilities go through the head in passes of at most `slots`
// rows; only their sums and best logits are kept. Sampled rows come last and keep their logits
// until the exchange. A row on route kCandidates is adjusted on each rank's run of the vocabulary
// before its candidates are taken, one on route kLogits after the exchange; log-probabilities are
// of the raw logits, taken before.
//
// It owns no memory but the step's lists. One thread calls. On the CPU a step is done when Run
// returns.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/device/stream.h"
#include "comm/communicator.h"
#include "kernels/sampling/adjust.h"
#include "kernels/sampling/logprobs.h"
#include "worker/cache/slot_history.h"
#include "worker/cache/slot_table.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/exchange_layout.h"
#include "worker/engine/gathered_rows.h"
#include "worker/engine/step_plan.h"
#include "worker/engine/token_sampler.h"
#include "worker/model/decoder.h"

namespace octet::worker {

struct HostSamplerBuffers {
  SlotHistoryBuffers history;
  float* head_hidden = nullptr;      // [slots, hidden]
  float* logits = nullptr;           // [slots, vocab of this rank]
  float* saved_logits = nullptr;     // [slots, EngineConfig::saved_logits_max()]
  uint32_t* token_counts = nullptr;  // [choices_at_once, vocab], zero between steps
  std::byte* send = nullptr;         // this rank's part of the exchange
  std::byte* gather = nullptr;       // all parts
  std::byte* choice = nullptr;       // [choices_at_once, EngineConfig::choice_bytes()]
};

class HostSampler final : public TokenSampler {
 public:
  // All outlive this.
  HostSampler(const EngineConfig& config, const HostSamplerBuffers& buffers, SlotTable* slots,
              Decoder* decoder, comm::Communicator* comm, Stream* stream);

  void Admit(const worker::Admit& admit) override { history_.Admit(admit); }
  void Lay(int turn, const RowsAsked& asked, StepImage* image) override;
  void LayRest(StepImage*) override {}
  void RecordTail(int64_t, const float*) override {}
  void BeginStep() override {}
  void TakeTokens(const StepRows& rows) override;
  void Run(int turn, const float* hidden) override;
  bool IsDone(int) const override { return true; }
  int64_t sampling_us() const override { return sampling_ns_ / 1000; }
  void Read(int turn, StepResult* result) override;
  std::span<const float> LogitsOf(int64_t sampled_row) override;

 private:
  // Logits of rows of the step, one after the other.
  template <typename Row>
  void RunHead(const float* hidden, std::span<const Row> rows);
  void TellPrompt(const float* hidden);
  void OfferSampled(const float* hidden);
  void OfferCandidates(int64_t rows);
  void SendRawLogits(int64_t row);
  // What row `row` of the exchange tells, from row `logits_row` of the logits.
  kernels::LogprobRow Told(int64_t row, int64_t logits_row) const;
  void Exchange();
  void ChooseAll(StepResult* result);
  int32_t Choose(int64_t row, int64_t run);

  void Draw(StepResult* outcome, const float* hidden);

  const EngineConfig& config_;
  int64_t sampling_ns_ = 0;
  int64_t apart_ns_ = 0;  // in Draw, but in the head or the exchange
  HostSamplerBuffers buffers_;
  SlotTable* slots_;
  Decoder* decoder_;
  comm::Communicator* comm_;
  Stream* stream_;
  ExchangeLayout layout_;
  GatheredRows gathered_;
  SlotHistory history_;
  std::array<StepResult, kStepsInFlight> outcomes_;  // tokens and log-probabilities alone

  // Of the step: views of what Lay was given.
  std::span<const SampledRow> sampled_;
  std::span<const PromptRow> prompt_;

  // Of the sampled rows; reserved: slots.
  std::vector<kernels::SamplingParams> params_;
  std::vector<int64_t> positions_;
  std::vector<kernels::Adjustment> before_exchange_;
  std::vector<kernels::Adjustment> after_exchange_;
  std::vector<float*> saved_;  // null where nothing has to be undone
  std::vector<int64_t> candidate_offsets_;
  std::vector<int64_t> told_before_;       // rows before it that tell log-probabilities
  std::vector<kernels::LogprobRow> told_;  // of one pass; reserved: slots
};

}  // namespace octet::worker
