// The step engine of one rank: applies a plan to the slots, lays out its rows, runs the decoder,
// and leaves the rest to the sampler. All ranks of a group call Step with the same plan and come to
// the same tokens. It owns the KV cache and the buffers of a step, both taken once from the memory
// plan; nothing is allocated inside a step.
//
// One thread calls. It knows nothing of gRPC, MPI or requests.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.h"
#include "base/device/stream.h"
#include "comm/communicator.h"
#include "kernels/attention/attention.h"
#include "worker/cache/slot_table.h"
#include "worker/engine/engine_config.h"
#include "worker/engine/memory_plan.h"
#include "worker/engine/sampler.h"
#include "worker/engine/step_plan.h"
#include "worker/model/decoder.h"

namespace octet::worker {

class Engine {
 public:
  // `weights` must fit config; `comm` must have LimitsOf(config). Takes exactly the bytes of
  // MemoryPlan::Make(config), and checks that it did.
  Engine(EngineConfig config, DecoderWeights weights, comm::Communicator* comm, ThreadPool* pool);

  // Runs one step. The result is the same on every rank and stays valid until the next step.
  const StepResult& Step(const StepPlan& plan);

  // The whole logits of sampled row i of the last step, where its sampling asked for them (route
  // kLogits); empty otherwise. [vocab] f32
  std::span<const float> LogitsOf(int64_t sampled_row) const {
    return sampler_.LogitsOf(sampled_row);
  }

  const EngineConfig& config() const { return config_; }
  const MemoryPlan& memory() const { return memory_; }

 private:
  template <typename T>
  T* Take(ActivationBuffer buffer);
  DecoderBuffers TakeDecoderBuffers();
  void ApplyChanges(const StepPlan& plan);
  // Lays the rows of the plan out in the step's buffers.
  void LayRows(const StepPlan& plan);
  void LayChunk(const PrefillChunk& chunk);
  void AddRow(int32_t slot, int32_t token, int64_t position);
  void AddSequence(int32_t slot, int64_t first_position, int64_t row_count, bool sample);
  // The rows of a chunk that tell log-probabilities. REQUIRES: called before its rows are added.
  void AddPromptRows(const PrefillChunk& chunk);
  SlotTableBuffers TakeSlotBuffers();
  SamplerBuffers TakeSamplerBuffers();

  EngineConfig config_;
  MemoryPlan memory_;
  DecoderWeights weights_;
  comm::Communicator* comm_;
  Stream stream_;
  Buffer cache_;
  Arena activations_;
  DecoderBuffers buffers_;
  Decoder decoder_;

  int32_t* tokens_;
  int32_t* positions_;
  int64_t* cache_slots_;
  SlotTable slots_;
  Sampler sampler_;

  int64_t rows_ = 0;
  std::vector<kernels::AttentionSequence> sequences_;  // reserved: slots
  std::vector<SampledRow> sampled_;                    // reserved: slots
  std::vector<PromptRow> prompt_rows_;                 // reserved: step_rows
  StepResult result_;
};

}  // namespace octet::worker
