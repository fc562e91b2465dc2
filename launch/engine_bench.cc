#include "launch/engine_bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>

#include "base/host_limits.h"
#include "comm/threads.h"
#include "launch/bench_machine.h"
#include "launch/shapes.h"
#include "worker/engine/device_group.h"
#include "worker/engine/engine.h"
#include "worker/engine/rank_device.h"
#include "worker/engine/worker_flags.h"
#include "worker/model/families/families.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kWeightSeed = 20;
// Of a warming sequence: many long prompts take minutes, and the first step has woken all there is
// to wake.
constexpr int64_t kWarmPromptMax = 512;
constexpr int64_t kTokensMax = int64_t{1} << 20;  // of a prompt, of an answer
constexpr float kTemperature = 1.0f;  // so that sampling over the whole vocabulary is paid for

double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

// Of a sequence; two steps more than asked for are timed on a device.
int64_t TokensOf(const BenchOptions& options) { return options.prompt + options.generate + 2; }

// The plans of one batch: admit all, prefill in chunks under the token budget, decode, release.
std::vector<worker::StepPlan> PrefillPlans(const BenchOptions& options,
                                           const worker::EngineConfig& config, int64_t batch) {
  std::vector<worker::StepPlan> plans(1);
  const int64_t tokens = TokensOf(options);
  const int64_t blocks = (tokens + kernels::kKvBlockTokens - 1) / kernels::kKvBlockTokens;
  int64_t room = config.step_rows;
  for (int64_t i = 0; i < batch; ++i) {
    const auto slot = static_cast<int32_t>(i);
    plans[0].admits.push_back(
        {.slot = slot,
         .sampling = {.temperature = kTemperature, .seed = static_cast<uint64_t>(i)}});
    worker::BlockUpdate update{.slot = slot, .appended_blocks = {}};
    for (int64_t b = 0; b < blocks; ++b) {
      update.appended_blocks.push_back(static_cast<int32_t>(i * blocks + b));
    }
    plans[0].blocks.push_back(std::move(update));
    for (int64_t position = 0; position < options.prompt;) {
      if (room == 0) {
        plans.emplace_back();
        room = config.step_rows;
      }
      const int64_t count = std::min(room, options.prompt - position);
      worker::PrefillChunk chunk{.slot = slot,
                                 .first_position = position,
                                 .tokens = {},
                                 .sample = position + count == options.prompt};
      for (int64_t t = 0; t < count; ++t) {
        chunk.tokens.push_back(
            static_cast<int32_t>((i * 7919 + (position + t) * 104729) % config.spec.vocab));
      }
      plans.back().prefills.push_back(std::move(chunk));
      position += count;
      room -= count;
    }
  }
  return plans;
}

// Runs `count` steps, each launched while the one before is computed where the device allows that.
void RunAhead(
    worker::Engine& engine, size_t count,
    const std::function<const worker::StepPlan&(size_t)>& plan_of,
    const std::function<void()>& on_finish = [] {}) {
  const auto finish = [&] {
    engine.Finish();
    on_finish();
  };
  for (size_t i = 0; i < count; ++i) {
    if (engine.in_flight() == engine.steps_in_flight_max()) finish();
    engine.Launch(plan_of(i));
  }
  while (engine.in_flight() > 0) finish();
}

// How long the device itself takes for a step that waits for nothing but the one before.
double DeviceSeconds(worker::Engine& engine, Stream& stream, const worker::StepPlan& plan) {
  Event begin, end;
  engine.Launch(plan);
  begin.Record(stream);
  engine.Launch(plan);
  end.Record(stream);
  engine.Finish();
  engine.Finish();
  end.Synchronize();
  return Event::MillisecondsBetween(begin, end) / 1e3;
}

BatchResult RunBatch(const BenchOptions& options, worker::Engine& engine, Stream& stream,
                     int64_t batch) {
  BatchResult result{.batch = batch};
  const std::vector<worker::StepPlan> prefills = PrefillPlans(options, engine.config(), batch);
  const Clock::time_point start = Clock::now();
  RunAhead(engine, prefills.size(),
           [&](size_t i) -> const worker::StepPlan& { return prefills[i]; });
  result.prefill_s = Seconds(start);

  worker::StepPlan decode;
  worker::StepPlan release;
  for (int64_t i = 0; i < batch; ++i) {
    decode.decode_slots.push_back(static_cast<int32_t>(i));
    release.release_slots.push_back(static_cast<int32_t>(i));
  }
  // The prefill drew the first token. Steps are served one ahead, so a step's time is that from the
  // end of the one before.
  Clock::time_point last = Clock::now();
  RunAhead(
      engine, static_cast<size_t>(options.generate - 1),
      [&](size_t) -> const worker::StepPlan& { return decode; },
      [&] {
        result.step_s.push_back(Seconds(last));
        last = Clock::now();
      });
  if (stream.device() == Device::kCuda) {
    result.device_step_s = DeviceSeconds(engine, stream, decode);
  }
  engine.Step(release);
  return result;
}

Result<worker::EngineConfig> MakeConfig(const BenchOptions& options, const worker::ModelSpec& spec,
                                        const worker::WeightOptions& weights, int64_t rank,
                                        const worker::RankDevice& device) {
  worker::WorkerOptions worker = options.worker;
  worker.max_num_seqs = *std::max_element(options.batches.begin(), options.batches.end());
  if (worker.max_num_batched_tokens > 0) {
    worker.max_num_batched_tokens = std::max(worker.max_num_batched_tokens, worker.max_num_seqs);
  }
  worker.max_model_len = TokensOf(options);
  OCTET_ASSIGN_OR_RETURN(
      worker::EngineConfig config,
      worker::MakeEngineConfig(worker, spec, weights, options.ranks, rank, device));
  const int64_t needed = config.slots * config.blocks_per_sequence();
  // What suffices for a service, which lets sequences wait, does not here.
  const bool any = options.worker.kv_memory == "auto" && device.kind == Device::kCpu;
  if (any) config.kv_blocks = needed;
  if (config.kv_blocks < needed) {
    return InvalidArgument(
        "the KV cache has room for " + std::to_string(config.kv_blocks) + " blocks of " +
        std::to_string(kernels::kKvBlockTokens) + " tokens, and " + std::to_string(config.slots) +
        " sequences of " + std::to_string(config.context) + " tokens need " +
        std::to_string(needed) + "; use a smaller --batch or --prompt, or a larger --kv-memory");
  }
  return config;
}

// Where a rank computes, opened by its thread.
struct BenchRank {
  std::unique_ptr<Gpu> gpu;  // null: the CPU
  worker::EngineConfig config;
};

// Weights where the rank computes. Made-up ones of a GPU repeat one layer, so that the host never
// holds a model of any size.
Result<worker::ResidentWeights> MakeWeights(const worker::Checkpoint* checkpoint,
                                            const BenchRank& rank, ThreadPool& pool,
                                            Stream& stream) {
  const worker::EngineConfig& config = rank.config;
  if (checkpoint != nullptr) {
    OCTET_ASSIGN_OR_RETURN(worker::DecoderWeights loaded,
                           worker::LoadDecoderWeights(*checkpoint, config.spec, config.shard,
                                                      config.weights, pool, nullptr));
    if (rank.gpu == nullptr) return worker::ResidentWeights(std::move(loaded));
    return worker::UploadWeights(std::move(loaded), stream);
  }
  worker::ModelSpec spec = config.spec;
  if (rank.gpu != nullptr) spec.layers = 1;
  worker::DecoderWeights made =
      worker::MakeRandomWeights(spec, config.shard, config.weights, kWeightSeed, pool);
  if (rank.gpu == nullptr) return worker::ResidentWeights(std::move(made));
  return worker::UploadRepeated(std::move(made), config.spec.layers, stream);
}

// Steps of an engine that is made for them and gone afterwards.
Status RunBatches(const BenchOptions& options, const worker::Checkpoint* checkpoint,
                  const BenchRank& rank, comm::Communicator& comm, ThreadPool& pool, Stream& stream,
                  Measured* measured) {
  const worker::EngineConfig& config = rank.config;
  const bool speaks = comm.rank() == 0;
  OCTET_ASSIGN_OR_RETURN(worker::ResidentWeights weights,
                         MakeWeights(checkpoint, rank, pool, stream));
  OCTET_ASSIGN_OR_RETURN(worker::EngineMemory memory,
                         worker::EngineMemory::Take(worker::MemoryPlan::Make(config), stream));
  std::unique_ptr<worker::DeviceGroup> group;
  if (rank.gpu != nullptr) {
    OCTET_ASSIGN_OR_RETURN(
        group, worker::DeviceGroup::Join(config, *rank.gpu, options.worker.share_gpu, &comm));
  }
  worker::Engine engine(config, std::move(weights), std::move(memory),
                        group != nullptr ? group->communicator() : &comm, stream);
  if (speaks) measured->memory = engine.memory();
  comm.Barrier();
  if (speaks && rank.gpu != nullptr) {
    measured->reserve =
        worker::MeasureReserve(engine.memory(), rank.gpu->info(), rank.gpu->free_bytes());
  }
  const int64_t warm_prompt = std::min(options.prompt, kWarmPromptMax);
  for (const int64_t batch : options.batches) {
    if (speaks) std::fprintf(stderr, "octet: batch %lld\n", static_cast<long long>(batch));
    RunBatch({.batches = {batch},
              .prompt = warm_prompt,
              .generate = std::min<int64_t>(options.generate, 3)},
             engine, stream, batch);  // warm
    BatchResult result = RunBatch(options, engine, stream, batch);
    if (speaks) measured->results.push_back(std::move(result));
  }
  return {};
}

// What every rank does; rank 0 measures.
Status RunRank(const BenchOptions& options, const worker::Checkpoint* checkpoint,
               const BenchRank& rank, comm::Communicator& comm, Measured* measured) {
  const worker::EngineConfig& config = rank.config;
  const worker::MemoryPlan plan = worker::MemoryPlan::Make(config);
  ThreadPool pool(config.threads);
  Stream stream = rank.gpu != nullptr ? rank.gpu->stream() : Stream(&pool);
  const bool speaks = comm.rank() == 0;
  if (rank.gpu != nullptr) {
    rank.gpu->MakeCurrent();
    OCTET_RETURN_IF_ERROR(worker::CheckPlanFits(plan, rank.gpu->info(), comm.rank()));
  } else {
    OCTET_RETURN_IF_ERROR(worker::CheckPlanFits(plan, HostMemoryBytes(), comm.size(), comm.rank()));
  }
  if (speaks) {
    std::fprintf(stderr, "octet: measuring the machine\n");
    OCTET_RETURN_IF_ERROR(MeasureMachine(rank.gpu.get(), stream, &measured->machine));
  }
  comm.Barrier();  // till then the others keep still
  OCTET_RETURN_IF_ERROR(RunBatches(options, checkpoint, rank, comm, pool, stream, measured));
  if (speaks && rank.gpu == nullptr) {  // whose speed moves with its neighbours on a shared host
    MachineSpeed after;
    OCTET_RETURN_IF_ERROR(MeasureMachine(nullptr, stream, &after));
    measured->machine = measured->machine.With(after);
  }
  return {};
}

Status CheckOptions(const BenchOptions& options) {
  if (options.model.empty() == options.shape.empty()) {
    return InvalidArgument("octet bench takes either a checkpoint directory or --shape");
  }
  for (const int64_t batch : options.batches) {
    OCTET_RETURN_IF_ERROR(worker::CheckRange("--batch", batch, 1, worker::kSlotsMax));
  }
  if (options.batches.empty()) return InvalidArgument("--batch has no number");
  OCTET_RETURN_IF_ERROR(worker::CheckRange("--prompt", options.prompt, 1, kTokensMax));
  OCTET_RETURN_IF_ERROR(worker::CheckRange("--generate", options.generate, 2, kTokensMax));
  return worker::CheckRange("--tp", options.ranks, 1, worker::kRanksMax);
}

}  // namespace

Status RunBench(const BenchOptions& options) {
  OCTET_RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<worker::Checkpoint> checkpoint;
  worker::ModelSpec spec;
  worker::WeightOptions weights;
  std::string name = options.shape;
  const worker::WeightRequest request{.layers = options.worker.weights,
                                      .head = options.worker.head,
                                      .group = options.worker.group_size};
  if (!options.model.empty()) {
    OCTET_ASSIGN_OR_RETURN(worker::Checkpoint opened, worker::Checkpoint::Open(options.model));
    checkpoint = std::make_unique<worker::Checkpoint>(std::move(opened));
    OCTET_ASSIGN_OR_RETURN(spec, worker::SpecFromConfig(checkpoint->config_json()));
    name = options.model;
    OCTET_ASSIGN_OR_RETURN(weights, worker::ResolveWeightOptions(*checkpoint, spec, request));
  } else {
    OCTET_ASSIGN_OR_RETURN(const ShapeSource shape, ResolveShape(options.shape));
    spec = shape.spec;
    OCTET_ASSIGN_OR_RETURN(weights, worker::ResolveWeightOptions(shape.stored, spec, request));
  }
  spec.context = std::max(spec.context, TokensOf(options));
  if (spec.position_rows > 0) spec.position_rows = spec.context + spec.position_offset;

  std::vector<BenchRank> bench_ranks(static_cast<size_t>(options.ranks));
  for (int64_t rank = 0; rank < options.ranks; ++rank) {
    BenchRank& of = bench_ranks[rank];
    OCTET_ASSIGN_OR_RETURN(of.gpu, worker::OpenRankDevice(options.worker, static_cast<int>(rank)));
    OCTET_ASSIGN_OR_RETURN(
        of.config, MakeConfig(options, spec, weights, rank, worker::Describe(of.gpu.get())));
  }
  Measured measured;
  std::vector<Status> statuses(bench_ranks.size());
  comm::ThreadGroup group(static_cast<int>(options.ranks), worker::LimitsOf(bench_ranks[0].config));
  std::vector<std::thread> ranks;
  for (size_t rank = 0; rank < bench_ranks.size(); ++rank) {
    ranks.emplace_back([&, rank] {
      statuses[rank] = RunRank(options, checkpoint.get(), bench_ranks[rank],
                               group.communicator(static_cast<int>(rank)), &measured);
      // Alone it would leave the others waiting: they end with it.
      if (!statuses[rank].ok() && bench_ranks.size() > 1) {
        std::fprintf(stderr, "octet: rank %zu: %s\n", rank, statuses[rank].message().c_str());
        std::_Exit(1);
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const Status& status : statuses) OCTET_RETURN_IF_ERROR(status);

  const nlohmann::ordered_json report = BenchReport(options, bench_ranks[0].config, name, measured);
  if (options.json) {
    std::printf("%s\n", report.dump(2).c_str());
  } else {
    PrintBenchTable(report);
  }
  return {};
}

void AddBenchFlags(CLI::App& app, BenchOptions* options) {
  app.add_option("model", options->model, "checkpoint directory");
  app.add_option("--shape", options->shape, "a known shape or a config.json; weights are made up");
  app.add_option("--batch", options->batches, "batch sizes")->delimiter(',')->capture_default_str();
  app.add_option("--prompt", options->prompt, "prompt tokens of a sequence")->capture_default_str();
  app.add_option("--generate", options->generate, "tokens to generate")->capture_default_str();
  app.add_option("--tp,--tensor-parallel-size", options->ranks, "ranks")->capture_default_str();
  app.add_flag("--json", options->json, "print one JSON object");
  worker::AddWorkerFlags(app, &options->worker);
}

}  // namespace octet::launch
