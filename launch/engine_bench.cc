#include "launch/engine_bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "comm/threads.h"
#include "kernels/roofline/roofline.h"
#include "launch/shapes.h"
#include "worker/engine/engine.h"
#include "worker/engine/worker_flags.h"
#include "worker/model/families/families.h"
#include "worker/weights/checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kWeightSeed = 20;
constexpr float kTemperature = 1.0f;  // so that sampling over the whole vocabulary is paid for

double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

// The plans of one batch: admit all, prefill in chunks under the token budget, decode, release.
std::vector<worker::StepPlan> PrefillPlans(const BenchOptions& options,
                                           const worker::EngineConfig& config, int64_t batch) {
  std::vector<worker::StepPlan> plans(1);
  const int64_t tokens = options.prompt + options.generate;
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

BatchResult RunBatch(const BenchOptions& options, worker::Engine& engine, int64_t batch) {
  BatchResult result{.batch = batch, .prefill_s = 0, .step_s = {}};
  const std::vector<worker::StepPlan> prefills = PrefillPlans(options, engine.config(), batch);
  const Clock::time_point start = Clock::now();
  for (const worker::StepPlan& plan : prefills) engine.Step(plan);
  result.prefill_s = Seconds(start);

  worker::StepPlan decode;
  worker::StepPlan release;
  for (int64_t i = 0; i < batch; ++i) {
    decode.decode_slots.push_back(static_cast<int32_t>(i));
    release.release_slots.push_back(static_cast<int32_t>(i));
  }
  // The prefill drew the first token.
  for (int64_t step = 1; step < options.generate; ++step) {
    const Clock::time_point step_start = Clock::now();
    engine.Step(decode);
    result.step_s.push_back(Seconds(step_start));
  }
  engine.Step(release);
  return result;
}

Result<worker::EngineConfig> MakeConfig(const BenchOptions& options, const worker::ModelSpec& spec,
                                        const worker::WeightOptions& weights, int64_t rank) {
  worker::WorkerOptions worker = options.worker;
  worker.max_num_seqs = *std::max_element(options.batches.begin(), options.batches.end());
  worker.max_num_batched_tokens = std::max(worker.max_num_batched_tokens, worker.max_num_seqs);
  worker.max_model_len = options.prompt + options.generate;
  return worker::MakeEngineConfig(worker, spec, weights, options.ranks, rank);
}

// What every rank does; rank 0 measures.
Status RunRank(const BenchOptions& options, const worker::Checkpoint* checkpoint,
               const worker::EngineConfig& config, comm::Communicator& comm, Measured* measured) {
  ThreadPool pool(config.threads);
  Stream stream(&pool);
  worker::DecoderWeights weights;
  if (checkpoint != nullptr) {
    OCTET_ASSIGN_OR_RETURN(
        weights, worker::LoadDecoderWeights(*checkpoint, config.spec, config.shard, config.weights,
                                            pool, nullptr));
  } else {
    weights =
        worker::MakeRandomWeights(config.spec, config.shard, config.weights, kWeightSeed, pool);
  }
  worker::Engine engine(config, std::move(weights), &comm, &pool);
  const bool speaks = comm.rank() == 0;
  if (speaks) {
    std::fprintf(stderr, "octet: measuring the machine\n");
    measured->memory = engine.memory();
    measured->read_bandwidth = kernels::MeasureReadBandwidth(stream);
    measured->int8_peak = kernels::MeasureInt8Peak(stream);
  }
  comm.Barrier();
  for (const int64_t batch : options.batches) {
    if (speaks) std::fprintf(stderr, "octet: batch %lld\n", static_cast<long long>(batch));
    RunBatch({.batches = {batch},
              .prompt = options.prompt,
              .generate = std::min<int64_t>(options.generate, 3)},
             engine, batch);  // warm
    BatchResult result = RunBatch(options, engine, batch);
    if (speaks) measured->results.push_back(std::move(result));
  }
  return {};
}

Status CheckOptions(const BenchOptions& options) {
  if (options.model.empty() == options.shape.empty()) {
    return InvalidArgument("octet bench takes either a checkpoint directory or --shape");
  }
  for (const int64_t batch : options.batches) {
    if (batch < 1 || batch > worker::kSlotsMax) {
      return InvalidArgument("--batch has " + std::to_string(batch) + "; expected 1 to " +
                             std::to_string(worker::kSlotsMax));
    }
  }
  if (options.batches.empty() || options.prompt < 1 || options.generate < 2 || options.ranks < 1 ||
      options.ranks > worker::kRanksMax) {
    return InvalidArgument(
        "octet bench needs a batch, --prompt 1 or more, --generate 2 or more and --tp 1 to " +
        std::to_string(worker::kRanksMax));
  }
  return {};
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
  spec.context = std::max(spec.context, options.prompt + options.generate);

  std::vector<worker::EngineConfig> configs;
  for (int64_t rank = 0; rank < options.ranks; ++rank) {
    OCTET_ASSIGN_OR_RETURN(worker::EngineConfig config, MakeConfig(options, spec, weights, rank));
    configs.push_back(std::move(config));
  }
  Measured measured;
  std::vector<Status> statuses(configs.size());
  comm::ThreadGroup group(static_cast<int>(options.ranks), worker::LimitsOf(configs[0]));
  std::vector<std::thread> ranks;
  for (size_t rank = 0; rank < configs.size(); ++rank) {
    ranks.emplace_back([&, rank] {
      statuses[rank] = RunRank(options, checkpoint.get(), configs[rank],
                               group.communicator(static_cast<int>(rank)), &measured);
    });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const Status& status : statuses) OCTET_RETURN_IF_ERROR(status);

  const nlohmann::ordered_json report = BenchReport(options, configs[0], name, measured);
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
