// A worker group inside a test: ranks are threads, plans are run one after the other, rank 0 tells.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "comm/threads.h"
#include "worker/engine/engine.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::testing {

struct StepOutput {
  worker::StepResult result;
  std::vector<std::vector<float>> logits;  // of each sampled row that asked for them, else empty
};

// Builds a rank's config, and from it the rank's weights.
using MakeConfig = std::function<worker::EngineConfig(int64_t ranks, int64_t rank)>;
using MakeWeights =
    std::function<worker::DecoderWeights(const worker::EngineConfig& config, ThreadPool& pool)>;

inline StepOutput RunStep(worker::Engine& engine, const worker::StepPlan& plan) {
  StepOutput output{.result = engine.Step(plan), .logits = {}};
  for (size_t i = 0; i < output.result.slots.size(); ++i) {
    const std::span<const float> row = engine.LogitsOf(static_cast<int64_t>(i));
    output.logits.emplace_back(row.begin(), row.end());
  }
  return output;
}

inline std::vector<StepOutput> RunLoadedGroup(int64_t ranks, const MakeConfig& make_config,
                                              const MakeWeights& make_weights,
                                              const std::vector<worker::StepPlan>& plans) {
  std::vector<StepOutput> outputs;
  comm::ThreadGroup group(static_cast<int>(ranks), worker::LimitsOf(make_config(ranks, 0)));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const worker::EngineConfig config = make_config(ranks, rank);
      ThreadPool pool(config.threads);
      worker::DecoderWeights weights = make_weights(config, pool);
      worker::Engine engine(config, std::move(weights), &group.communicator(static_cast<int>(rank)),
                            &pool);
      for (const worker::StepPlan& plan : plans) {
        StepOutput output = RunStep(engine, plan);
        if (rank == 0) outputs.push_back(std::move(output));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outputs;
}

// `weights` are loaded from `checkpoint`, or made up when it is null.
inline std::vector<StepOutput> RunGroup(int64_t ranks, const MakeConfig& make_config,
                                        const worker::Checkpoint* checkpoint,
                                        const std::vector<worker::StepPlan>& plans,
                                        uint64_t weight_seed = 1) {
  const MakeWeights make_weights = [&](const worker::EngineConfig& config, ThreadPool& pool) {
    if (checkpoint == nullptr) {
      return worker::MakeRandomWeights(config.spec, config.shard, config.weights, weight_seed,
                                       pool);
    }
    Result<worker::DecoderWeights> loaded = worker::LoadDecoderWeights(
        *checkpoint, config.spec, config.shard, config.weights, pool, nullptr);
    if (!loaded.ok()) CheckFailed(__FILE__, __LINE__, loaded.status().message());
    return std::move(loaded).value();
  };
  return RunLoadedGroup(ranks, make_config, make_weights, plans);
}

// Tokens and logits of a slot's sampled rows, in order.
struct Trace {
  std::vector<int32_t> tokens;
  std::vector<std::vector<float>> logits;
  bool operator==(const Trace&) const = default;
};

inline Trace TraceOf(const std::vector<StepOutput>& outputs, int32_t slot) {
  Trace trace;
  for (const StepOutput& output : outputs) {
    for (size_t i = 0; i < output.result.slots.size(); ++i) {
      if (output.result.slots[i] != slot) continue;
      trace.tokens.push_back(output.result.tokens[i]);
      trace.logits.push_back(output.logits[i]);
    }
  }
  return trace;
}

// Sampling that makes the group gather the row's whole logits; the token itself is the likeliest.
inline kernels::SamplingParams WithLogits() {
  return {.temperature = 1.0f, .top_k = 0, .top_p = 1e-6f, .min_p = 0.0f, .seed = 3};
}

// Blocks [first, first + count) for a slot.
inline worker::BlockUpdate Blocks(int32_t slot, int32_t first, int64_t count) {
  worker::BlockUpdate update{.slot = slot, .appended_blocks = {}};
  for (int64_t i = 0; i < count; ++i) {
    update.appended_blocks.push_back(first + static_cast<int32_t>(i));
  }
  return update;
}

}  // namespace octet::testing
