// Sampling that stays on the device (kernels/sampling/device): the head over the rows that are
// asked about, the one exchange, the tokens; the host reads them when the step is done, in one
// copy. A slot's state, its last token too, lies on the device and is written at admission.
//
// A decode step whose rows each ask for one candidate and nothing more has fixed sizes for each
// bucket of rows, padding included, and can be recorded (RecordTail); any other runs as it is
// asked.
//
// It owns no memory but the step's lists. One thread calls.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/device/device.h"
#include "comm/communicator.h"
#include "kernels/sampling/device/choose_rows.h"
#include "kernels/sampling/device/sampling_step.h"
#include "kernels/sampling/device/slot_state.h"
#include "kernels/sampling/device/slot_updates.h"
#include "worker/cache/slot_table.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/exchange_layout.h"
#include "worker/engine/token_sampler.h"
#include "worker/model/decoder.h"

namespace octet::worker {

// Admissions that a step's image has room for; more of them take a copy of their own.
inline constexpr int64_t kImageAdmissionsMax = 64;

struct DeviceSamplerBuffers {
  std::byte* state = nullptr;      // kernels::SlotStateBytes
  float* head_hidden = nullptr;    // [slots, hidden]
  float* logits = nullptr;         // [slots, vocab of this rank]
  std::byte* workspace = nullptr;  // kernels::OfferWorkspaceBytes(slots, vocab of this rank)
  std::byte* send = nullptr;       // this rank's part of the exchange
  std::byte* gather = nullptr;     // all parts
  std::byte* results = nullptr;    // ResultBytes
  // Of the host, pinned: ResultBytes for each step in flight.
  std::byte* host_results = nullptr;
};

class DeviceSampler final : public TokenSampler {
 public:
  // All outlive this.
  DeviceSampler(const EngineConfig& config, const DeviceSamplerBuffers& buffers, SlotTable* slots,
                Decoder* decoder, comm::Communicator* comm, Stream* stream);

  void Admit(const worker::Admit& admit) override { admits_.push_back(&admit); }
  void Lay(int turn, const RowsAsked& asked, StepImage* image) override;
  void LayRest(StepImage* image) override;
  void BeginStep() override;
  void TakeTokens(const StepRows& rows) override;
  void Run(int turn, const float* hidden) override;
  int64_t sampling_us() const override { return 0; }
  bool IsDone(int turn) const override { return pending_[turn].done.Done(); }
  void Read(int turn, StepResult* result) override;
  std::span<const float> LogitsOf(int64_t sampled_row) override;

  // What Run does for `rows` rows of one candidate each, as a graph that Run launches from then on.
  // REQUIRES: `image` stands where Lay finds it in a decode step of so many rows.
  void RecordTail(int64_t rows, const float* hidden) override;

  // Tokens of the sampled rows, then what is told: see RowLogprobs.
  static int64_t ResultBytes(const EngineConfig& config);
  // What Lay and LayRest take of an image at most.
  static int64_t ImageBytes(const EngineConfig& config);

 private:
  // Where what the device reads of a step lies in its image.
  struct Parts {
    ImagePart<kernels::SamplingStep> step;
    ImagePart<kernels::SamplingRow> rows;
    ImagePart<int32_t> head_rows;  // rows of the step that the head is asked about
  };
  // What Read has to know of a step.
  struct Pending {
    Event done;
    int64_t sampled = 0;
    int64_t sampled_told = 0;
    int64_t prompt_told = 0;
  };

  Parts TakeParts(int64_t rows, bool gathers, StepImage* image) const;
  void LayShares(const RowsAsked& asked);
  void LayRows(const RowsAsked& asked);
  // Head and offer of rows [begin, end) of the exchange.
  void Offer(const float* hidden, int64_t begin, int64_t end);
  void Tail(const float* hidden);
  kernels::RowLogprobs* told() const;

  const EngineConfig& config_;
  DeviceSamplerBuffers buffers_;
  SlotTable* slots_;
  Decoder* decoder_;
  comm::Communicator* comm_;
  Stream* stream_;
  kernels::SlotState state_;
  kernels::VocabCut cut_;
  ExchangeLayout layout_;
  std::map<int64_t, Graph> tails_;  // by rows
  std::array<Pending, kStepsInFlight> pending_;

  // Of the step that is being launched.
  std::vector<const worker::Admit*> admits_;  // reserved: slots
  Parts parts_;
  int64_t sampled_rows_ = 0;  // of the exchange, padding included
  bool gathers_ = true;       // the rows asked about are not the step's rows one for one
  bool uniform_ = false;      // a decode step of one candidate a row
  ImagePart<std::byte> updates_;
  int64_t update_count_ = 0;
  int64_t updates_max_ = 0;

  std::vector<float> raw_logits_;  // [vocab], of LogitsOf
};

}  // namespace octet::worker
