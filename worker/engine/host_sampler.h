// Everything after the last layer: the head over the rows that are asked about, the one exchange of
// the step, and from it, the same on every rank, the tokens and their log-probabilities.
//
// Rows of prompts that tell log-probabilities go through the head in passes of at most `slots`
// rows; only their sums and best logits are kept. Sampled rows come last and keep their logits
// until the exchange. A row on route kCandidates is adjusted on each rank's run of the vocabulary
// before its candidates are taken, one on route kLogits after the exchange; log-probabilities are
// of the raw logits, taken before.
//
// It owns no memory but the step's lists. One thread calls.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/device/stream.h"
#include "comm/communicator.h"
#include "kernels/sampling/adjust.h"
#include "kernels/sampling/logprobs.h"
#include "worker/cache/slot_table.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/exchange_layout.h"
#include "worker/engine/gathered_rows.h"
#include "worker/engine/step_plan.h"
#include "worker/model/decoder.h"

namespace octet::worker {

struct SampledRow {
  int32_t slot = 0;
  int64_t row = 0;       // of the step
  int64_t position = 0;  // of the token being drawn
};

// A row that tells the log-probability of the prompt token after it.
struct PromptRow {
  int32_t slot = 0;
  int64_t row = 0;  // of the step
  int32_t next_token = 0;
};

struct SamplerBuffers {
  float* head_hidden = nullptr;      // [slots, hidden]
  float* logits = nullptr;           // [slots, vocab of this rank]
  float* saved_logits = nullptr;     // [slots, EngineConfig::saved_logits_max()]
  uint32_t* token_counts = nullptr;  // [choices_at_once, vocab], zero between steps
  std::byte* send = nullptr;         // this rank's part of the exchange
  std::byte* gather = nullptr;       // all parts
  std::byte* choice = nullptr;       // [choices_at_once, EngineConfig::choice_bytes()]
};

class Sampler {
 public:
  // All outlive this.
  Sampler(const EngineConfig& config, const SamplerBuffers& buffers, SlotTable* slots,
          Decoder* decoder, comm::Communicator* comm, Stream* stream);

  // `hidden` is [rows of the step, hidden]. Fills result's tokens and log-probabilities, and tells
  // the slots their tokens. One collective if there is any row, else none.
  void Run(const float* hidden, std::span<const SampledRow> sampled,
           std::span<const PromptRow> prompt, StepResult* result);

  // The raw logits of sampled row i of the last run, if they were exchanged. [vocab] f32
  std::span<const float> LogitsOf(int64_t sampled_row) const;

 private:
  void LayOut(std::span<const SampledRow> sampled, std::span<const PromptRow> prompt);
  // Logits of rows of the step, one after the other.
  template <typename Row>
  void RunHead(const float* hidden, std::span<const Row> rows);
  void TellPrompt(const float* hidden, std::span<const PromptRow> prompt);
  void OfferSampled(const float* hidden, std::span<const SampledRow> sampled);
  void OfferCandidates(int64_t rows);
  void SendRawLogits(int64_t row);
  // What row `row` of the exchange tells, from row `logits_row` of the logits.
  kernels::LogprobRow Told(int64_t row, int64_t logits_row) const;
  void Exchange();
  void ChooseAll(std::span<const SampledRow> sampled, StepResult* result);
  int32_t Choose(int64_t row, int64_t run);

  const EngineConfig& config_;
  SamplerBuffers buffers_;
  SlotTable* slots_;
  Decoder* decoder_;
  comm::Communicator* comm_;
  Stream* stream_;
  ExchangeLayout layout_;
  GatheredRows gathered_;

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
