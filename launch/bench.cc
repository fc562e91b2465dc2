// octet bench: how fast this machine runs a model or a shape, beside what its memory and its
// integer units could do at best, measured in the same run. Ranks are threads of this process.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "comm/single.h"
#include "comm/threads.h"
#include "kernels/isa.h"
#include "kernels/roofline/roofline.h"
#include "launch/commands.h"
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

struct BenchOptions {
  std::string model;
  std::string shape;
  std::vector<int64_t> batches = {1, 8, 32};
  int64_t prompt = 128;
  int64_t generate = 32;
  int64_t ranks = 1;
  bool json = false;
  worker::WorkerOptions worker;
};

struct BatchResult {
  int64_t batch = 0;
  double prefill_s = 0;
  std::vector<double> step_s;
};

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

struct Measured {
  worker::MemoryPlan memory;
  double read_bandwidth = 0;  // bytes/s, all threads of rank 0
  double int8_peak = 0;       // operations/s, all threads of rank 0
  std::vector<BatchResult> results;
};

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

nlohmann::ordered_json ToJson(const BenchOptions& options, const worker::EngineConfig& config,
                              const std::string& name, const Measured& measured) {
  nlohmann::ordered_json out;
  out["model"] = name;
  out["tp"] = options.ranks;
  out["threads"] = config.threads;
  out["instruction_set"] = kernels::IsaName(kernels::ActiveIsa());
  out["weights"] = worker::WeightFormatName(config.weights.layers);
  out["head"] = worker::WeightFormatName(config.weights.head);
  out["group_size"] = config.weights.group;
  out["kv"] = worker::KvFormatName(config.kv);
  out["activations"] = worker::ActivationFormatName(config.activations);
  out["weight_bytes"] = measured.memory.weight_bytes;
  out["read_bandwidth_bytes_per_s"] = measured.read_bandwidth;
  out["int8_peak_ops_per_s"] = measured.int8_peak;
  out["results"] = nlohmann::ordered_json::array();
  // A step reads the layers and the head whole, of the embedding only the tokens' rows.
  const worker::WeightPlan plan =
      worker::WeightPlan::Make(config.spec, config.shard, config.weights);
  const auto step_bytes = static_cast<double>(plan.layer_bytes + plan.head_bytes);
  // Two operations for each weight; the head runs for sampled rows only.
  const worker::ModelSpec& s = config.spec;
  const auto ranks = static_cast<double>(options.ranks);
  const auto layer_ops =
      2 / ranks *
      static_cast<double>(s.layers * (s.hidden * (s.heads + 2 * s.kv_heads) * s.head_dim +
                                      s.heads * s.head_dim * s.hidden + 3 * s.hidden * s.ffn));
  const auto head_ops = 2 / ranks * static_cast<double>(s.hidden * s.vocab);
  for (const BatchResult& r : measured.results) {
    std::vector<double> sorted = r.step_s;
    std::sort(sorted.begin(), sorted.end());
    const double median = sorted[sorted.size() / 2];
    const double prompt_tokens = static_cast<double>(r.batch * options.prompt);
    nlohmann::ordered_json one;
    one["batch"] = r.batch;
    one["prompt_tokens"] = options.prompt;
    one["generated_tokens"] = options.generate;
    one["prefill_tokens_per_s"] = prompt_tokens / r.prefill_s;
    one["decode_tokens_per_s"] = static_cast<double>(r.batch) / median;
    one["step_ms"] = median * 1e3;
    // Shares of the limits measured above, of one rank; attention and sampling are not counted.
    const auto batch = static_cast<double>(r.batch);
    one["prefill_int8_peak_fraction"] =
        (layer_ops * prompt_tokens + head_ops * batch) / r.prefill_s / measured.int8_peak;
    one["decode_weight_bandwidth_fraction"] = step_bytes / median / measured.read_bandwidth;
    one["decode_int8_peak_fraction"] = (layer_ops + head_ops) * batch / median / measured.int8_peak;
    out["results"].push_back(one);
  }
  return out;
}

void PrintTable(const nlohmann::ordered_json& report) {
  std::printf("%s: %s weights, %s KV, %s activations, tp %lld, %d threads a rank, %s\n",
              report["model"].get<std::string>().c_str(),
              report["weights"].get<std::string>().c_str(), report["kv"].get<std::string>().c_str(),
              report["activations"].get<std::string>().c_str(),
              static_cast<long long>(report["tp"].get<int64_t>()), report["threads"].get<int>(),
              report["instruction_set"].get<std::string>().c_str());
  std::printf("read bandwidth %.1f GB/s, int8 peak %.2f TOPS, weights %.2f GB a rank\n",
              report["read_bandwidth_bytes_per_s"].get<double>() / 1e9,
              report["int8_peak_ops_per_s"].get<double>() / 1e12,
              report["weight_bytes"].get<double>() / 1e9);
  std::printf("%6s %18s %17s %10s %13s %17s %12s\n", "batch", "prefill tokens/s", "decode tokens/s",
              "step ms", "prefill/peak", "decode/bandwidth", "decode/peak");
  for (const auto& r : report["results"]) {
    std::printf("%6lld %18.1f %17.1f %10.2f %13.2f %17.2f %12.2f\n",
                static_cast<long long>(r["batch"].get<int64_t>()),
                r["prefill_tokens_per_s"].get<double>(), r["decode_tokens_per_s"].get<double>(),
                r["step_ms"].get<double>(), r["prefill_int8_peak_fraction"].get<double>(),
                r["decode_weight_bandwidth_fraction"].get<double>(),
                r["decode_int8_peak_fraction"].get<double>());
  }
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

Status Bench(const BenchOptions& options) {
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

  const nlohmann::ordered_json report = ToJson(options, configs[0], name, measured);
  if (options.json) {
    std::printf("%s\n", report.dump(2).c_str());
  } else {
    PrintTable(report);
  }
  return {};
}

}  // namespace

void AddBench(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode on this machine");
  command->add_option("model", options->model, "checkpoint directory");
  command->add_option("--shape", options->shape,
                      "a known shape or a config.json; weights are made up");
  command->add_option("--batch", options->batches, "batch sizes")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--prompt", options->prompt, "prompt tokens of a sequence")
      ->capture_default_str();
  command->add_option("--generate", options->generate, "tokens to generate")->capture_default_str();
  command->add_option("--tp,--tensor-parallel-size", options->ranks, "ranks")
      ->capture_default_str();
  command->add_flag("--json", options->json, "print one JSON object");
  worker::AddWorkerFlags(*command, &options->worker);
  command->callback([options, exit_code] {
    const Status status = Bench(*options);
    *exit_code = status.ok() ? 0 : Fail(status);
  });
}

}  // namespace octet::launch
