#include "worker/engine/worker_options.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <thread>

#include "kernels/isa.h"

namespace octet::worker {
namespace {

Result<kernels::KvFormat> ParseKv(const std::string& text) {
  if (text == "int8" || text == "auto") return kernels::KvFormat::kInt8;
  if (text == "int4") return kernels::KvFormat::kInt4;
  if (text == "bf16") return kernels::KvFormat::kBF16;
  return InvalidArgument("--kv is '" + text + "'; expected int8, int4 or bf16");
}

Result<kernels::ActivationFormat> ParseActivations(const std::string& text) {
  if (text == "int8" || text == "auto") return kernels::ActivationFormat::kInt8;
  if (text == "bf16") return kernels::ActivationFormat::kBF16;
  if (text == "f32") return kernels::ActivationFormat::kF32;
  return InvalidArgument("--activations is '" + text + "'; expected auto, f32, bf16 or int8");
}

Status CheckRange(const char* flag, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return InvalidArgument(std::string(flag) + " is " + std::to_string(value) +
                         "; expected a value from " + std::to_string(low) + " to " +
                         std::to_string(high));
}

Result<int64_t> KvBlocks(const WorkerOptions& options, const EngineConfig& config, int64_t ranks) {
  const int64_t block_bytes = KvBlockBytesMax(config.spec, ranks, config.kv);
  const int64_t wanted = config.slots * config.blocks_per_sequence();
  if (options.kv_memory.empty()) {
    const int64_t affordable =
        std::max(kDefaultKvBytesMax / block_bytes, config.blocks_per_sequence() + 1);
    return std::min(wanted, affordable);
  }
  OCTET_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(options.kv_memory));
  const int64_t blocks = bytes / block_bytes;
  if (blocks < 2) {
    return InvalidArgument("--kv-memory is " + options.kv_memory + ", room for " +
                           std::to_string(blocks) + " blocks of " + std::to_string(block_bytes) +
                           " bytes; at least 2 are needed");
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
                                        std::to_string(threads)};
  if (!kv_memory.empty()) arguments.insert(arguments.end(), {"--kv-memory", kv_memory});
  return arguments;
}

Result<int64_t> ParseBytes(const std::string& text) {
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
  return InvalidArgument("'" + text +
                         "' is not a number of bytes; write it like 8GiB, 512MiB or 1000000");
}

Result<EngineConfig> MakeEngineConfig(const WorkerOptions& options, const ModelSpec& spec,
                                      const WeightOptions& weights, int64_t ranks, int64_t rank) {
  if (options.device != "auto" && options.device != "cpu") {
    return Unimplemented("--device is '" + options.device +
                         "'; this build runs on the CPU: expected auto or cpu");
  }
  EngineConfig config;
  config.spec = spec;
  config.weights = weights;
  OCTET_ASSIGN_OR_RETURN(config.shard, ShardPlan::Make(spec, ranks, rank));
  OCTET_ASSIGN_OR_RETURN(config.kv, ParseKv(options.kv));
  if (!kernels::KvFormatHolds(config.kv, spec.head_dim)) {
    return InvalidArgument("--kv is '" + options.kv + "', but the model's head dimension is " +
                           std::to_string(spec.head_dim) + "; expected a multiple of " +
                           std::to_string(kernels::kKvInt4DimMultiple));
  }
  OCTET_ASSIGN_OR_RETURN(config.activations, ParseActivations(options.activations));
  config.context = options.max_model_len > 0 ? options.max_model_len : spec.context;
  config.slots = options.max_num_seqs;
  config.step_rows = options.max_num_batched_tokens;
  config.threads = options.threads > 0
                       ? options.threads
                       : std::max(1, static_cast<int>(std::thread::hardware_concurrency()) /
                                         static_cast<int>(ranks));
  OCTET_RETURN_IF_ERROR(CheckRange("--max-model-len", config.context, 1, spec.context));
  OCTET_RETURN_IF_ERROR(CheckRange("--max-num-seqs", config.slots, 1, kSlotsMax));
  OCTET_RETURN_IF_ERROR(
      CheckRange("--max-num-batched-tokens", config.step_rows, config.slots, kStepRowsMax));
  OCTET_RETURN_IF_ERROR(CheckRange("--threads", config.threads, 1, kThreadsMax));
  OCTET_ASSIGN_OR_RETURN(config.kv_blocks, KvBlocks(options, config, ranks));
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

std::string_view ActivationFormatName(kernels::ActivationFormat format) {
  static constexpr std::string_view kNames[] = {"f32", "bf16", "int8"};
  return kNames[static_cast<int>(format)];
}

std::string ConfigDigest(const EngineConfig& c, const std::string& config_json) {
  std::string text = config_json;
  for (const std::string_view name :
       {WeightFormatName(c.weights.layers), WeightFormatName(c.weights.head),
        DTypeName(c.weights.embedding), KvFormatName(c.kv), ActivationFormatName(c.activations)}) {
    text += "|";
    text += name;
  }
  for (const int64_t value :
       {c.weights.group, c.shard.ranks, c.context, c.slots, c.step_rows, c.kv_blocks}) {
    text += "|" + std::to_string(value);
  }
  char digest[17];
  std::snprintf(digest, sizeof(digest), "%016llx", static_cast<unsigned long long>(Fnv1a(text)));
  return digest;
}

}  // namespace octet::worker
