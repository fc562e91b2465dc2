#include "worker/engine/worker_options.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/host_limits.h"
#include "kernels/attention/attention_plan.h"
#include "worker/engine/memory_plan.h"

namespace octet::worker {
namespace {

constexpr int64_t kKvBlocksMin = 2;

constexpr char kStaticKv[] = "int8-static";

Result<kernels::KvFormat> ParseKv(const std::string& text) {
  if (text == "int8" || text == "auto" || text == kStaticKv) return kernels::KvFormat::kInt8;
  if (text == "int4") return kernels::KvFormat::kInt4;
  if (text == "bf16") return kernels::KvFormat::kBF16;
  return InvalidArgument("--kv is '" + text + "'; expected int8, int8-static, int4 or bf16");
}

Result<kernels::ActivationFormat> ParseActivations(const std::string& text, Device device) {
  const bool cuda = device == Device::kCuda;
  if (text == "auto")
    return cuda ? kernels::ActivationFormat::kBF16 : kernels::ActivationFormat::kInt8;
  if (text == "int8") return kernels::ActivationFormat::kInt8;
  if (text == "bf16") return kernels::ActivationFormat::kBF16;
  if (text == "f32" && !cuda) return kernels::ActivationFormat::kF32;
  if (text == "f32") {
    return InvalidArgument(
        "--activations is 'f32', which is computed on the CPU alone; expected auto, bf16 or int8 "
        "on CUDA");
  }
  return InvalidArgument("--activations is '" + text + "'; expected auto, f32, bf16 or int8");
}

// Blocks for which there is room beside everything else on the fullest rank of a group of GPUs.
Result<int64_t> BlocksBesidePlan(EngineConfig config, int64_t ranks, const RankDevice& device) {
  config.kv_blocks = 0;
  int64_t blocks = INT64_MAX;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    OCTET_ASSIGN_OR_RETURN(config.shard, ShardPlan::Make(config.spec, ranks, rank));
    const MemoryPlan plan = MemoryPlan::Make(config);
    const int64_t left = device.gpu.total_bytes - plan.total_bytes();
    const int64_t block_bytes = config.spec.layers * config.kv_layout().block_bytes();
    if (left < kKvBlocksMin * block_bytes) {
      return ResourceExhausted("rank " + std::to_string(rank) + " needs " + DescribePlan(plan) +
                               " before any KV cache; the GPU has " +
                               std::to_string(device.gpu.total_bytes) + " bytes");
    }
    if (block_bytes > 0) blocks = std::min(blocks, left / block_bytes);
  }
  return blocks;
}

Result<int64_t> KvBlocks(const WorkerOptions& options, const EngineConfig& config, int64_t ranks,
                         const RankDevice& device) {
  const int64_t block_bytes = KvBlockBytesMax(config.spec, ranks, config.kv);
  const int64_t wanted = config.slots * config.blocks_per_sequence();
  if (options.kv_memory == "auto" && device.kind == Device::kCuda && device.gpu.total_bytes > 0) {
    OCTET_ASSIGN_OR_RETURN(const int64_t room, BlocksBesidePlan(config, ranks, device));
    return std::min(wanted, room);
  }
  if (options.kv_memory == "auto") {
    const int64_t affordable =
        std::max(kDefaultKvBytesMax / block_bytes, config.blocks_per_sequence() + 1);
    return std::min(wanted, affordable);
  }
  OCTET_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes("--kv-memory", options.kv_memory));
  const int64_t blocks = bytes / block_bytes;
  if (blocks < kKvBlocksMin) {
    return InvalidArgument("--kv-memory is " + options.kv_memory + ", room for " +
                           std::to_string(blocks) + " blocks of " + std::to_string(block_bytes) +
                           " bytes; at least " + std::to_string(kKvBlocksMin) + " are needed");
  }
  return std::min(blocks, wanted);
}

uint64_t Fnv1a(const std::string& text) {
  uint64_t hash = 14695981039346656037ull;
  for (const unsigned char c : text) hash = (hash ^ c) * 1099511628211ull;
  return hash;
}

}  // namespace

std::vector<std::string> WorkerOptions::ToArguments() const {
  std::vector<std::string> arguments = {"--device",
                                        device,
                                        "--weights",
                                        weights,
                                        "--head",
                                        head,
                                        "--kv",
                                        kv,
                                        "--activations",
                                        activations,
                                        "--group-size",
                                        std::to_string(group_size),
                                        "--max-model-len",
                                        std::to_string(max_model_len),
                                        "--max-num-seqs",
                                        std::to_string(max_num_seqs),
                                        "--max-num-batched-tokens",
                                        std::to_string(max_num_batched_tokens),
                                        "--threads",
                                        std::to_string(threads),
                                        "--kv-memory",
                                        kv_memory};
  if (share_gpu) arguments.push_back("--share-gpu");
  return arguments;
}

Status CheckRange(const char* flag, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return InvalidArgument(std::string(flag) + " is " + std::to_string(value) +
                         "; expected a value from " + std::to_string(low) + " to " +
                         std::to_string(high));
}

int ThreadsOfRank(int64_t ranks) {
  return static_cast<int>(std::clamp<int64_t>(HostCores() / ranks, 1, kThreadsMax));
}

Result<int64_t> ParseBytes(const std::string& flag, const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string unit(rest, end);
  static constexpr struct {
    const char* name;
    int64_t bytes;
  } kUnits[] = {{"", 1},
                {"B", 1},
                {"KiB", int64_t{1} << 10},
                {"MiB", int64_t{1} << 20},
                {"GiB", int64_t{1} << 30},
                {"TiB", int64_t{1} << 40},
                {"KB", 1000},
                {"MB", 1000000},
                {"GB", 1000000000}};
  for (const auto& known : kUnits) {
    if (error == std::errc() && unit == known.name && number > 0 &&
        number <= (int64_t{1} << 50) / known.bytes) {
      return number * known.bytes;
    }
  }
  return InvalidArgument(flag + " is '" + text +
                         "', which is no number of bytes; write it like 8GiB, 512MiB or 1000000");
}

Result<EngineConfig> MakeEngineConfig(const WorkerOptions& options, const ModelSpec& spec,
                                      const WeightOptions& weights, int64_t ranks, int64_t rank,
                                      const RankDevice& device) {
  const auto kind = static_cast<size_t>(device.kind);
  EngineConfig config;
  config.device = device.kind;
  config.gpu = device.gpu;
  config.spec = spec;
  config.weights = weights;
  OCTET_ASSIGN_OR_RETURN(config.shard, ShardPlan::Make(spec, ranks, rank));
  OCTET_ASSIGN_OR_RETURN(config.kv, ParseKv(options.kv));
  config.weights.static_kv = options.kv == kStaticKv;
  if (!kernels::KvFormatHolds(config.kv, spec.head_dim)) {
    return InvalidArgument("--kv is '" + options.kv + "', but the model's head dimension is " +
                           std::to_string(spec.head_dim) + "; expected a multiple of " +
                           std::to_string(kernels::kKvInt4DimMultiple));
  }
  const bool has_attention =
      device.kind == Device::kCpu || kernels::AttentionWorkers(config.kv_layout(), config.gpu) > 0;
  if (!has_attention) {
    return Unimplemented("the model's head dimension is " + std::to_string(spec.head_dim) +
                         ", which no attention kernel on CUDA has; use --device cpu");
  }
  OCTET_ASSIGN_OR_RETURN(config.activations, ParseActivations(options.activations, device.kind));
  config.weights.layout = LayoutFor(device.kind, config.activations);
  config.context = options.max_model_len != 0 ? options.max_model_len : spec.context;
  config.slots = options.max_num_seqs != 0 ? options.max_num_seqs : kDefaultSlots[kind];
  config.step_rows = options.max_num_batched_tokens != 0
                         ? options.max_num_batched_tokens
                         : std::max(kDefaultStepRows[kind], config.slots);
  config.threads = options.threads != 0 ? options.threads : ThreadsOfRank(ranks);
  // A token of the prompt, and one of the answer.
  OCTET_RETURN_IF_ERROR(CheckRange("--max-model-len", config.context, 2, spec.context_max()));
  OCTET_RETURN_IF_ERROR(CheckRange("--max-num-seqs", config.slots, 1, kSlotsMax));
  OCTET_RETURN_IF_ERROR(
      CheckRange("--max-num-batched-tokens", config.step_rows, config.slots, kStepRowsMax));
  OCTET_RETURN_IF_ERROR(CheckRange("--threads", config.threads, 1, kThreadsMax));
  OCTET_ASSIGN_OR_RETURN(config.kv_blocks, KvBlocks(options, config, ranks, device));
  return config;
}

std::string_view WeightFormatName(kernels::WeightFormat format) {
  static constexpr std::string_view kNames[] = {"f32", "f16", "bf16", "int8", "int4"};
  return kNames[static_cast<int>(format)];
}

std::string_view KvFormatName(kernels::KvFormat format) {
  static constexpr std::string_view kNames[] = {"int8", "bf16", "int4"};
  return kNames[static_cast<int>(format)];
}

std::string_view KvName(const EngineConfig& config) {
  return config.weights.static_kv ? kStaticKv : KvFormatName(config.kv);
}

std::string_view ActivationFormatName(kernels::ActivationFormat format) {
  static constexpr std::string_view kNames[] = {"f32", "bf16", "int8"};
  return kNames[static_cast<int>(format)];
}

kernels::WeightLayout LayoutFor(Device device, kernels::ActivationFormat activations) {
  if (device == Device::kCpu) return kernels::WeightLayout::kCpuPanels;
  return activations == kernels::ActivationFormat::kInt8 ? kernels::WeightLayout::kCuda8
                                                         : kernels::WeightLayout::kCuda16;
}

DeviceInfo PlannedGpu() {
  return {.name = "a planned GPU",
          .major = 9,
          .minor = 0,
          .sm_count = 132,
          .l2_bytes = int64_t{50} << 20,
          .shared_bytes_per_block = 227 << 10};
}

std::string_view DeviceName(Device device) { return device == Device::kCuda ? "cuda" : "cpu"; }

std::string ConfigDigest(const EngineConfig& c, const std::string& config_json) {
  std::string text = config_json;
  for (const std::string_view name :
       {WeightFormatName(c.weights.layers), WeightFormatName(c.weights.head),
        DTypeName(c.weights.embedding), KvName(c), ActivationFormatName(c.activations),
        DeviceName(c.device)}) {
    text += "|";
    text += name;
  }
  text += "|" + c.weights.stored.Digest();
  for (const int64_t value :
       {c.weights.group, c.shard.ranks, c.context, c.slots, c.step_rows, c.kv_blocks}) {
    text += "|" + std::to_string(value);
  }
  char digest[17];
  std::snprintf(digest, sizeof(digest), "%016llx", static_cast<unsigned long long>(Fnv1a(text)));
  return digest;
}

}  // namespace octet::worker
