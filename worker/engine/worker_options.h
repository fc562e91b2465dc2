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
  std::string device = "auto";         // auto | cpu | cuda
  std::string weights = "auto";        // auto | bf16 | int8 | int4
  std::string head = "auto";           // auto | bf16 | int8
  std::string kv = "int8";             // int8 | int8-static | int4 | bf16
  std::string activations = "auto";    // auto | f32 | bf16 | int8
  int64_t group_size = 0;              // 0: 128, or 32 for narrow models
  int64_t max_model_len = 0;           // 0: the model's context
  int64_t max_num_seqs = 0;            // 0: kDefaultSlots of the device
  int64_t max_num_batched_tokens = 0;  // 0: kDefaultStepRows of the device, or all sequences
  std::string kv_memory = "auto";      // bytes of each rank, "8GiB"; auto: see MakeEngineConfig
  int threads = 0;                     // of each rank; 0: ThreadsOfRank, of ranks that share cores
  bool share_gpu = false;              // for tests: ranks may compute on one GPU

  // As command line arguments that give the same options again.
  std::vector<std::string> ToArguments() const;
};

// The device that a rank computes on.
struct RankDevice {
  Device kind = Device::kCpu;
  DeviceInfo gpu;  // total_bytes 0: not known
};

// What a plan assumes of a GPU that is not there: an H100 (132 processors, 227 KiB of shared memory
// for a block), its memory unknown.
DeviceInfo PlannedGpu();

// What is taken when nobody says how much, by Device. A GPU reads the weights once a step, whatever
// the number of sequences, and wants about a thousand rows to be kept busy by a prompt.
inline constexpr int64_t kDefaultSlots[] = {64, 256};
inline constexpr int64_t kDefaultStepRows[] = {512, 2048};

// The KV pool of a rank on the CPU, and on a GPU of unknown memory, when nobody says how large.
inline constexpr int64_t kDefaultKvBytesMax = int64_t{4} << 30;

// Refuses a value of `flag` outside of [low, high].
Status CheckRange(const char* flag, int64_t value, int64_t low, int64_t high);

// What `flag` says in bytes, like "8GiB", "512MiB", "1GB" or "4096".
Result<int64_t> ParseBytes(const std::string& flag, const std::string& text);

// The cores that this process may use, dealt to `ranks` of its host that may use them.
int ThreadsOfRank(int64_t ranks);

// `weights` comes from ResolveWeightOptions. Refuses what does not fit the model, the limits or the
// device, naming the flag, the value and the limit.
//
// The KV pool is enough for every sequence at full length, but no more than kv_memory; where that
// is auto, no more than the rest of the plan leaves of the GPU's memory on the fullest rank, or
// kDefaultKvBytesMax.
Result<EngineConfig> MakeEngineConfig(const WorkerOptions& options, const ModelSpec& spec,
                                      const WeightOptions& weights, int64_t ranks, int64_t rank,
                                      const RankDevice& device = {});

// How quantized weights lie for what computes with them.
kernels::WeightLayout LayoutFor(Device device, kernels::ActivationFormat activations);

std::string_view WeightFormatName(kernels::WeightFormat format);
std::string_view KvFormatName(kernels::KvFormat format);
// As --kv names it.
std::string_view KvName(const EngineConfig& config);
std::string_view ActivationFormatName(kernels::ActivationFormat format);
std::string_view DeviceName(Device device);

// Of the config and of every option that changes bits: ranks of one group must agree on it.
std::string ConfigDigest(const EngineConfig& config, const std::string& config_json);

}  // namespace octet::worker
