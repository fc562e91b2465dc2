// octet plan: the bytes of every buffer on every rank, from config.json alone, and how many
// sequences a given device memory holds. It is the same plan that a worker asserts when it starts.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "launch/shapes.h"
#include "worker/engine/memory_plan.h"
#include "worker/engine/rank_device.h"
#include "worker/engine/worker_flags.h"
#include "worker/weights/loader.h"
#include "worker/weights/packed/packed_weights.h"

namespace octet::launch {
namespace {

struct PlanOptions {
  std::string model;
  int64_t ranks = 1;
  std::string device_memory;
  int64_t context = 0;
  bool json = false;
  worker::WorkerOptions worker;
};

struct RankPlan {
  worker::EngineConfig config;
  worker::MemoryPlan memory;
  int64_t packed_file_bytes = 0;  // in the place of the weights, when they lie in a file
};

double GiB(int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

// With a device memory given, the cache takes what the rest leaves on the fullest rank.
Status FitCache(int64_t device_bytes, std::vector<RankPlan>& ranks) {
  int64_t blocks = INT64_MAX;
  for (const RankPlan& rank : ranks) {
    const int64_t fixed = rank.memory.total_bytes() - rank.memory.kv_bytes;
    if (fixed > device_bytes) {
      return ResourceExhausted(
          "rank " + std::to_string(rank.config.shard.rank) + " needs " + std::to_string(fixed) +
          " bytes without any KV cache; --device-memory is " + std::to_string(device_bytes));
    }
    const int64_t block_bytes = rank.config.spec.layers * rank.config.kv_layout().block_bytes();
    if (block_bytes > 0) blocks = std::min(blocks, (device_bytes - fixed) / block_bytes);
  }
  for (RankPlan& rank : ranks) {
    rank.config.kv_blocks = blocks;
    rank.memory = worker::MemoryPlan::Make(rank.config);
  }
  return {};
}

// What the model's files store, for people.
std::string StoredText(const worker::StoredTypes& stored) {
  if (!stored.quantization.empty()) return stored.quantization;
  return std::string(DTypeName(stored.layers));
}

int64_t GroupOf(const worker::WeightOptions& weights) {
  return weights.stored.qkv.has_value() ? weights.stored.qkv->group : weights.group;
}

nlohmann::ordered_json ToJson(const std::string& name, const std::string& stored,
                              const std::vector<RankPlan>& ranks, int64_t device_bytes) {
  const worker::EngineConfig& c = ranks[0].config;
  nlohmann::ordered_json out;
  out["model"] = name;
  out["architecture"] = c.spec.architecture;
  out["tp"] = c.shard.ranks;
  out["stored"] = stored;
  out["weights"] = worker::WeightFormatName(c.weights.layers);
  out["head"] = worker::WeightFormatName(c.weights.head);
  out["group_size"] = GroupOf(c.weights);
  out["kv"] = worker::KvName(c);
  out["device"] = worker::DeviceName(c.device);
  out["activations"] = worker::ActivationFormatName(c.activations);
  out["context_tokens"] = c.context;
  out["kv_blocks"] = c.kv_blocks;
  out["kv_tokens"] = c.kv_blocks * kernels::kKvBlockTokens;
  out["full_context_sequences"] = c.kv_blocks / c.blocks_per_sequence();
  if (device_bytes > 0) out["device_memory_bytes"] = device_bytes;
  for (const RankPlan& rank : ranks) {
    nlohmann::ordered_json one;
    one["rank"] = rank.config.shard.rank;
    one["heads"] = rank.config.shard.heads();
    one["kv_heads"] = rank.config.shard.kv_heads();
    one["ffn"] = rank.config.shard.ffn();
    one["vocab"] = rank.config.shard.vocab();
    one["weight_bytes"] = rank.memory.weight_bytes;
    one["packed_file_bytes"] = rank.packed_file_bytes;
    one["kv_bytes"] = rank.memory.kv_bytes;
    one["activation_bytes"] = rank.memory.activation_bytes();
    one["communication_bytes"] = rank.memory.communication_bytes;
    one["reserve_bytes"] = rank.memory.reserve.bytes();
    if (c.device == Device::kCuda) {
      one["reserve_parts_bytes"] = {{"driver", rank.memory.reserve.context_bytes},
                                    {"graphs", rank.memory.reserve.graph_bytes},
                                    {"nccl", rank.memory.reserve.communicator_bytes}};
      one["pinned_host_bytes"] = rank.memory.pinned_bytes();
    }
    one["total_bytes"] = rank.memory.total_bytes();
    for (size_t i = 0; i < rank.memory.activations.size(); ++i) {
      const auto buffer = static_cast<worker::ActivationBuffer>(i);
      one["activation_buffers_bytes"][std::string(worker::ActivationBufferName(buffer))] =
          rank.memory.activations[i];
    }
    out["ranks"].push_back(one);
  }
  return out;
}

void PrintTable(const std::string& name, const std::string& stored,
                const std::vector<RankPlan>& ranks) {
  const worker::EngineConfig& c = ranks[0].config;
  std::printf(
      "%s (%s): %s weights in groups of %lld, %s head, %s KV, %s activations on %s, tp %lld\n",
      name.c_str(), c.spec.architecture.c_str(),
      std::string(worker::WeightFormatName(c.weights.layers)).c_str(),
      static_cast<long long>(GroupOf(c.weights)),
      std::string(worker::WeightFormatName(c.weights.head)).c_str(),
      std::string(worker::KvName(c)).c_str(),
      std::string(worker::ActivationFormatName(c.activations)).c_str(),
      std::string(worker::DeviceName(c.device)).c_str(), static_cast<long long>(c.shard.ranks));
  std::printf("stored as %s\n", stored.c_str());
  std::printf("%4s %6s %8s %7s %7s %12s %12s %12s %12s %12s %12s\n", "rank", "heads", "kv heads",
              "ffn", "vocab", "weights GiB", "KV GiB", "activ. GiB", "comm. GiB", "reserve GiB",
              "total GiB");
  for (const RankPlan& rank : ranks) {
    const worker::ShardPlan& shard = rank.config.shard;
    std::printf("%4lld %6lld %8lld %7lld %7lld %12.3f %12.3f %12.3f %12.3f %12.3f %12.3f\n",
                static_cast<long long>(shard.rank), static_cast<long long>(shard.heads()),
                static_cast<long long>(shard.kv_heads()), static_cast<long long>(shard.ffn()),
                static_cast<long long>(shard.vocab()), GiB(rank.memory.weight_bytes),
                GiB(rank.memory.kv_bytes), GiB(rank.memory.activation_bytes()),
                GiB(rank.memory.communication_bytes), GiB(rank.memory.reserve.bytes()),
                GiB(rank.memory.total_bytes()));
  }
  std::printf("KV cache: %lld blocks of %lld tokens: %lld sequences of %lld tokens\n",
              static_cast<long long>(c.kv_blocks), static_cast<long long>(kernels::kKvBlockTokens),
              static_cast<long long>(c.kv_blocks / c.blocks_per_sequence()),
              static_cast<long long>(c.context));
}

// What a lost group costs: its packed weights, if they were kept, are only read once.
void PrintReadyAgain(const std::vector<RankPlan>& ranks) {
  constexpr double kExampleBytesPerSecond = 50e9;
  int64_t shard_bytes = 0;
  int64_t file_bytes = 0;
  for (const RankPlan& rank : ranks) {
    shard_bytes = std::max(shard_bytes, rank.memory.weight_bytes);
    file_bytes += rank.packed_file_bytes;
  }
  std::printf(
      "packed weights of all ranks in shared memory, in the place of ordinary memory: %.3f GiB "
      "(%lld bytes of /dev/shm)\n",
      GiB(file_bytes), static_cast<long long>(file_bytes));
  std::printf(
      "ready again after a loss: the largest shard, %lld bytes, is read once; %.2f s at 50 GB/s "
      "for "
      "each rank (computed, not measured), and the start of the processes\n",
      static_cast<long long>(shard_bytes),
      static_cast<double>(shard_bytes) / kExampleBytesPerSecond);
}

// The device that is planned for. None has to be there: with `--device cuda` one is assumed.
Result<worker::RankDevice> DeviceOf(const worker::WorkerOptions& options) {
  if (options.device == "cuda") {
    return worker::RankDevice{.kind = Device::kCuda, .gpu = worker::PlannedGpu()};
  }
  OCTET_ASSIGN_OR_RETURN(const std::unique_ptr<Gpu> gpu, worker::OpenRankDevice(options, 0));
  worker::RankDevice device = worker::Describe(gpu.get());
  device.gpu.total_bytes = 0;  // --device-memory says how much there is
  return device;
}

Status Plan(const PlanOptions& options) {
  OCTET_RETURN_IF_ERROR(worker::CheckRange("--tp", options.ranks, 1, worker::kRanksMax));
  OCTET_ASSIGN_OR_RETURN(const ShapeSource shape, ResolveShape(options.model));
  worker::WorkerOptions chosen = options.worker;
  if (options.context != 0) chosen.max_model_len = options.context;
  OCTET_ASSIGN_OR_RETURN(
      const worker::WeightOptions weights,
      worker::ResolveWeightOptions(
          shape.stored, shape.spec,
          {.layers = chosen.weights, .head = chosen.head, .group = chosen.group_size}));
  OCTET_ASSIGN_OR_RETURN(const worker::RankDevice device, DeviceOf(chosen));
  std::vector<RankPlan> ranks;
  for (int64_t rank = 0; rank < options.ranks; ++rank) {
    OCTET_ASSIGN_OR_RETURN(
        worker::EngineConfig config,
        worker::MakeEngineConfig(chosen, shape.spec, weights, options.ranks, rank, device));
    const worker::MemoryPlan memory = worker::MemoryPlan::Make(config);
    const int64_t file_bytes = worker::PackedFileBytes(config.spec, config.shard, config.weights);
    ranks.push_back({std::move(config), memory, file_bytes});
  }
  int64_t device_bytes = 0;
  if (!options.device_memory.empty()) {
    OCTET_ASSIGN_OR_RETURN(device_bytes,
                           worker::ParseBytes("--device-memory", options.device_memory));
    OCTET_RETURN_IF_ERROR(FitCache(device_bytes, ranks));
  }
  if (options.json) {
    std::printf("%s\n",
                ToJson(shape.name, StoredText(shape.stored), ranks, device_bytes).dump(2).c_str());
  } else {
    PrintTable(shape.name, StoredText(shape.stored), ranks);
    PrintReadyAgain(ranks);
  }
  return {};
}

}  // namespace

void AddPlan(CLI::App& app, int* exit_code) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command =
      app.add_subcommand("plan", "Print the memory of every rank before anything is started");
  command->add_option("model", options->model, "checkpoint directory, config.json or a known shape")
      ->required();
  command->add_option("--tp,--tensor-parallel-size", options->ranks, "ranks")
      ->capture_default_str();
  command->add_option("--device-memory", options->device_memory,
                      "bytes of each device, like 80GiB: the KV cache takes what is left");
  command->add_option("--context", options->context, "tokens a sequence may have");
  command->add_flag("--json", options->json, "print one JSON object");
  worker::AddWorkerFlags(*command, &options->worker);
  command->callback([options, exit_code] {
    const Status status = Plan(*options);
    *exit_code = status.ok() ? 0 : Fail(status);
  });
}

}  // namespace octet::launch
