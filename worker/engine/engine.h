// The step engine of one rank: applies a plan to the slots, lays out its rows, runs the decoder,
// and leaves the rest to the sampler. All ranks of a group call Step with the same plan and come to
// the same tokens. It owns the weights, the KV cache and the buffers of a step, all taken once by
// the memory plan; nothing is allocated inside a step.
//
// One thread calls. It knows nothing of gRPC, MPI or requests.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/device/stream.h"
#include "comm/communicator.h"
#include "kernels/attention/attention.h"
#include "worker/cache/slot_table.h"
#include "worker/engine/attention_image.h"
#include "worker/engine/device_weights.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/engine_memory.h"
#include "worker/engine/memory_plan.h"
#include "worker/engine/position_image.h"
#include "worker/engine/step_image.h"
#include "worker/engine/step_plan.h"
#include "worker/engine/token_sampler.h"
#include "worker/model/decoder.h"

namespace octet::worker {

class Engine {
 public:
  // `weights` must fit config and lie where `stream` computes; `memory` must be what
  // MemoryPlan::Make(config) says; `comm` must have LimitsOf(config) and serve the stream's device.
  Engine(EngineConfig config, ResidentWeights weights, EngineMemory memory,
         comm::Communicator* comm, Stream stream);
  // On the CPU, where memory is there for the asking.
  Engine(const EngineConfig& config, DecoderWeights weights, comm::Communicator* comm,
         ThreadPool* pool);

  // Runs one step. The result is the same on every rank and stays valid until the next but one.
  const StepResult& Step(const StepPlan& plan);

  // The two halves of Step. On a device a step may be launched while the one before is still being
  // computed: its rows' tokens are already there. On the CPU Launch computes.
  // REQUIRES: fewer than kStepsInFlight steps are launched and not finished.
  void Launch(const StepPlan& plan);
  // Waits for the oldest step that was launched. REQUIRES: there is one.
  const StepResult& Finish();
  int in_flight() const { return in_flight_; }
  // How many may be in flight to any purpose: 1 where a launched step is a computed one.
  int steps_in_flight_max() const { return config_.device == Device::kCpu ? 1 : kStepsInFlight; }
  bool oldest_is_done() const { return sampler_->IsDone(oldest_turn()); }

  // The whole logits of sampled row i of the last step, where its sampling asked for them (route
  // kLogits); empty otherwise. [vocab] f32
  std::span<const float> LogitsOf(int64_t sampled_row) { return sampler_->LogitsOf(sampled_row); }

  // Since the start, in drawing tokens: after the head, without the exchange. 0 on a device, where
  // nobody waits for it alone.
  int64_t sampling_us() const { return sampler_->sampling_us(); }

  const EngineConfig& config() const { return config_; }
  const MemoryPlan& memory() const { return memory_; }

 private:
  // REQUIRES: a step is in flight.
  int oldest_turn() const { return (turn_ + kStepsInFlight - in_flight_) % kStepsInFlight; }
  void ApplyChanges(const StepPlan& plan);
  // Lays the rows of the plan out in the step's buffers.
  void LayRows(const StepPlan& plan);
  void LayChunk(const PrefillChunk& chunk);
  void AddRow(int32_t slot, int32_t token, int64_t position);
  void AddSequence(int32_t slot, int64_t first_position, int64_t row_count, bool sample);
  // The rows of a chunk that tell log-probabilities. REQUIRES: called before its rows are added.
  void AddPromptRows(const PrefillChunk& chunk);

  // Records what a decode step does for each bucket of rows, on a device.
  void RecordGraphs();
  // How many rows the plan's step computes: those of a decode step fill a bucket that was recorded.
  int64_t StepRowsOf(const StepPlan& plan) const;
  void RunLayers();

  EngineConfig config_;
  MemoryPlan memory_;
  ResidentWeights weights_;
  EngineMemory taken_;
  Stream stream_;
  Decoder decoder_;
  SlotTable slots_;
  std::unique_ptr<TokenSampler> sampler_;
  PositionImage positions_;
  AttentionImage attention_;
  std::vector<int64_t> buckets_;  // of rows; none where nothing is recorded
  std::vector<Graph> layers_;  // of each bucket: a decode step from its tokens to its hidden rows
  std::array<StepImage, kStepsInFlight> images_;
  std::array<StepResult, kStepsInFlight> results_;
  int turn_ = 0;  // of the step that is launched next
  int in_flight_ = 0;

  // Of the step that is being launched.
  StepRows step_;
  int64_t rows_ = 0;                                   // laid out so far
  std::vector<kernels::AttentionSequence> sequences_;  // reserved: slots
  std::vector<SampledRow> sampled_;                    // reserved: slots
  std::vector<PromptRow> prompt_rows_;                 // reserved: step_rows
};

}  // namespace octet::worker
