// What an engine asks of whatever draws its tokens, on the CPU (host_sampler.h) or on a device
// (device_sampler.h). A step is: admissions, Lay, LayRest, the image's upload, BeginStep,
// TakeTokens, the layers, Run,
// and once all that is done, Read. Up to kStepsInFlight steps may be between Lay and Read; `turn`
// tells them apart.
#pragma once

#include <cstdint>
#include <span>

#include "worker/cache/slot_table.h"
#include "worker/engine/exchange_layout.h"
#include "worker/engine/step_image.h"
#include "worker/engine/step_plan.h"

namespace octet::worker {

inline constexpr int kStepsInFlight = 2;

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

// What a sampled row, or one of a prompt that tells, brings to the exchange.
RowShare ShareOf(const SlotTable::Slot& slot);
RowShare PromptShareOf(const SlotTable::Slot& slot);

// What is asked about the rows of a step. The spans stay as they are until Run.
struct RowsAsked {
  std::span<const SampledRow> sampled;
  std::span<const PromptRow> prompt;
  // A step of decode rows alone: row i of the step is sampled row i, of `padded_rows` in all. 0:
  // any other step.
  int64_t padded_rows = 0;
};

class TokenSampler {
 public:
  virtual ~TokenSampler() = default;

  // A slot begins anew. REQUIRES: within the limits that SlotTable checks.
  virtual void Admit(const Admit& admit) = 0;
  // Puts what a device has to know of it into `image`; in a decode step of so many rows it always
  // takes as much. What varies in size comes with LayRest, at the image's end.
  virtual void Lay(int turn, const RowsAsked& asked, StepImage* image) = 0;
  virtual void LayRest(StepImage* image) = 0;
  // What has to be done before anything that may be recorded: admissions.
  virtual void BeginStep() = 0;
  // The input tokens of the rows, where the step's tokens lie on the device.
  virtual void TakeTokens(const StepRows& rows) = 0;
  // `hidden` is [rows of the step, hidden]. One collective if anything is asked, else none.
  virtual void Run(int turn, const float* hidden) = 0;
  virtual bool IsDone(int turn) const = 0;
  // See Engine::sampling_us.
  virtual int64_t sampling_us() const = 0;
  // The step's tokens and log-probabilities, in the order of Lay. Waits until it is done.
  virtual void Read(int turn, StepResult* result) = 0;

  // On a device: records what Run does in a decode step of so many rows that ask for tokens alone,
  // as it was laid just before.
  virtual void RecordTail(int64_t rows, const float* hidden) = 0;

  // The raw logits of sampled row i of the last step, if they were exchanged. [vocab] f32
  virtual std::span<const float> LogitsOf(int64_t sampled_row) = 0;
};

}  // namespace octet::worker
