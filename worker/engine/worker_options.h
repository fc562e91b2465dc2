// What a person may choose of a worker group, as text, and how it becomes an EngineConfig. The same
// flags are understood by octet-worker and by the commands of `octet` that plan, serve or measure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "worker/engine/engine_config.h"
#include "worker/model/model_spec.h"

namespace octet::worker {

struct WorkerOptions {
  std::string device = "auto";       // auto | cpu
  std::string weights = "auto";      // auto | bf16 | int8 | int4
  std::string head = "auto";         // auto | bf16 | int8
  std::string kv = "int8";           // int8 | bf16
  std::string activations = "auto";  // auto | f32 | bf16 | int8
  int64_t group_size = 0;            // 0: 128, or 32 for narrow models
  int64_t max_model_len = 0;         // 0: the model's context
  int64_t max_num_seqs = 64;
  int64_t max_num_batched_tokens = 512;
  std::string kv_memory;  // bytes of each rank, "8GiB"; empty: enough for the limits
  int threads = 0;        // of each rank; 0: the machine's cores dealt to the ranks

  // As command line arguments that give the same options again.
  std::vector<std::string> ToArguments() const;
};

// The KV pool that is taken when nobody says how large: enough for every sequence at full length,
// but no more than this on a rank.
inline constexpr int64_t kDefaultKvBytesMax = int64_t{4} << 30;

// "8GiB", "512MiB", "1GB", "4096": bytes.
Result<int64_t> ParseBytes(const std::string& text);

// `weights` comes from ResolveWeightOptions. Refuses what does not fit the model or the limits,
// naming the flag, the value and the limit.
Result<EngineConfig> MakeEngineConfig(const WorkerOptions& options, const ModelSpec& spec,
                                      const WeightOptions& weights, int64_t ranks, int64_t rank);

std::string_view WeightFormatName(kernels::WeightFormat format);
std::string_view KvFormatName(kernels::KvFormat format);
std::string_view ActivationFormatName(kernels::ActivationFormat format);

// Of the config and of every option that changes bits: ranks of one group must agree on it.
std::string ConfigDigest(const EngineConfig& config, const std::string& config_json);

}  // namespace octet::worker
