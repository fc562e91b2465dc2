// An engine on an emulated device of its own, and groups of them: ranks are threads, plans are run
// one after the other, rank 0 tells.
#pragma once

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/device_ranks.h"
#include "tests/support/engine_group.h"
#include "worker/engine/engine.h"

namespace octet::worker::test {

// Members die in the reverse order.
struct EmulatedEngine {
  std::unique_ptr<Gpu> gpu;
  std::unique_ptr<Engine> engine;

  EmulatedEngine(EngineConfig config, const testing::MakeWeights& make_weights,
                 comm::Communicator* comm) {
    gpu = Gpu::Open({.index = static_cast<int>(config.shard.rank)}).value();
    config.gpu = gpu->info();
    ThreadPool pool(1);
    Stream& stream = gpu->stream();
    ResidentWeights weights = UploadWeights(make_weights(config, pool), stream).value();
    EngineMemory memory = EngineMemory::Take(MemoryPlan::Make(config), stream).value();
    engine = std::make_unique<Engine>(config, std::move(weights), std::move(memory), comm, stream);
  }
};

inline DecoderWeights MadeUpWeights(const EngineConfig& config, ThreadPool& pool) {
  return MakeRandomWeights(config.spec, config.shard, config.weights, 1, pool);
}

inline std::vector<testing::StepOutput> RunEmulatedGroup(int64_t ranks,
                                                         const testing::MakeConfig& make_config,
                                                         const testing::MakeWeights& make_weights,
                                                         const std::vector<StepPlan>& plans) {
  std::vector<testing::StepOutput> outputs;
  comm::ThreadGroup group(static_cast<int>(ranks), LimitsOf(make_config(ranks, 0)));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      testing::DeviceRank comm(&group.communicator(static_cast<int>(rank)));
      EmulatedEngine device(make_config(ranks, rank), make_weights, &comm);
      for (const StepPlan& plan : plans) {
        testing::StepOutput output = testing::RunStep(*device.engine, plan);
        if (rank == 0) outputs.push_back(std::move(output));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outputs;
}

}  // namespace octet::worker::test
