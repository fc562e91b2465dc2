#include "launch/engine_bench.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "base/device/device_info.h"
#include "kernels/isa.h"

namespace octet::launch {

namespace {

// What one rank's step moves and computes at least; attention's arithmetic and sampling aside.
struct Work {
  double weight_bytes = 0;     // the layers and the head whole; of the embedding only tokens' rows
  double kv_bytes = 0;         // of a sequence, in the middle of its decode steps
  double token_ops = 0;        // of the layers: two operations for each weight
  double sampled_row_ops = 0;  // of the head, which runs for sampled rows only
};

Work WorkOf(const BenchOptions& options, const worker::EngineConfig& config) {
  const worker::WeightPlan plan =
      worker::WeightPlan::Make(config.spec, config.shard, config.weights);
  const worker::ModelSpec& s = config.spec;
  const double ops_of_weight = 2.0 / static_cast<double>(options.ranks);
  const int64_t layer_weights = s.hidden * (s.heads + 2 * s.kv_heads) * s.head_dim +
                                s.heads * s.head_dim * s.hidden + 3 * s.hidden * s.ffn;
  const auto token_bytes = static_cast<double>(s.layers * config.kv_layout().block_bytes()) /
                           static_cast<double>(kernels::kKvBlockTokens);
  return {.weight_bytes = static_cast<double>(plan.layer_bytes + plan.head_bytes),
          .kv_bytes = token_bytes * static_cast<double>(options.prompt + options.generate / 2),
          .token_ops = ops_of_weight * static_cast<double>(s.layers * layer_weights),
          .sampled_row_ops = ops_of_weight * static_cast<double>(s.hidden * s.vocab)};
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Shares of what the machine could do at best, as measured in this run.
void AddCpuShares(const Work& work, const BatchResult& r, double prompt_tokens,
                  const MachineSpeed& machine, nlohmann::ordered_json* one) {
  const double median = Median(r.step_s);
  const auto batch = static_cast<double>(r.batch);
  (*one)["prefill_int8_peak_fraction"] =
      (work.token_ops * prompt_tokens + work.sampled_row_ops * batch) / r.prefill_s /
      machine.int8_peak;
  (*one)["decode_weight_bandwidth_fraction"] = work.weight_bytes / median / machine.bandwidth;
  (*one)["decode_weight_sustained_bandwidth_fraction"] =
      work.weight_bytes / Mean(r.step_s) / machine.sustained_bandwidth;
  (*one)["decode_int8_peak_fraction"] =
      (work.token_ops + work.sampled_row_ops) * batch / median / machine.int8_peak;
}

// The floor of a decode step: its weights once at the copy bandwidth or its matrix products at the
// matrix rate, whichever is longer, and then its cache once at the copy bandwidth: attention waits
// for the projections and they for it, so that the two do not overlap.
void AddGpuShares(const Work& work, const BatchResult& r, double prompt_tokens, bool int8,
                  const MachineSpeed& machine, nlohmann::ordered_json* one) {
  const double median = Median(r.step_s);
  const auto batch = static_cast<double>(r.batch);
  const double peak = int8 ? machine.int8_peak : machine.bf16_peak;
  const double ops_s = (work.token_ops + work.sampled_row_ops) * batch / peak;
  const double floor_s = std::max(work.weight_bytes / machine.bandwidth, ops_s) +
                         work.kv_bytes * batch / machine.bandwidth;
  (*one)["step_floor_ms"] = floor_s * 1e3;
  (*one)["step_floor_fraction"] = floor_s / median;
  (*one)["step_device_ms"] = r.device_step_s * 1e3;
  (*one)["step_gap_fraction"] = 1 - r.device_step_s / median;
  (*one)["prefill_matrix_peak_fraction"] =
      (work.token_ops * prompt_tokens + work.sampled_row_ops * batch) / r.prefill_s / peak;
}

}  // namespace

nlohmann::ordered_json BenchReport(const BenchOptions& options, const worker::EngineConfig& config,
                                   const std::string& name, const Measured& measured) {
  const bool gpu = config.device == Device::kCuda;
  nlohmann::ordered_json out;
  out["model"] = name;
  out["tp"] = options.ranks;
  out["device"] = gpu ? octet::Describe(config.gpu) : "cpu";
  out["threads"] = config.threads;
  out["instruction_set"] = kernels::IsaName(kernels::ActiveIsa());
  out["weights"] = worker::WeightFormatName(config.weights.layers);
  out["head"] = worker::WeightFormatName(config.weights.head);
  out["group_size"] = config.weights.group;
  out["kv"] = worker::KvName(config);
  out["activations"] = worker::ActivationFormatName(config.activations);
  out["weight_bytes"] = measured.memory.weight_bytes;
  if (gpu) {
    const worker::DeviceReserve& reserve = measured.memory.reserve;
    out["graph_bytes"] = measured.reserve.later_bytes;  // NCCL's among them
    out["graph_reserve_bytes"] = reserve.graph_bytes + reserve.communicator_bytes;
  }
  out[gpu ? "copy_bandwidth_bytes_per_s" : "read_bandwidth_bytes_per_s"] =
      measured.machine.bandwidth;
  if (!gpu) out["read_sustained_bandwidth_bytes_per_s"] = measured.machine.sustained_bandwidth;
  out["int8_peak_ops_per_s"] = measured.machine.int8_peak;
  if (gpu) out["bf16_peak_ops_per_s"] = measured.machine.bf16_peak;
  out["results"] = nlohmann::ordered_json::array();
  const Work work = WorkOf(options, config);
  const bool int8 = config.activations == kernels::ActivationFormat::kInt8;
  for (const BatchResult& r : measured.results) {
    const double prompt_tokens = static_cast<double>(r.batch * options.prompt);
    const double median = Median(r.step_s);
    nlohmann::ordered_json one;
    one["batch"] = r.batch;
    one["prompt_tokens"] = options.prompt;
    one["generated_tokens"] = options.generate;
    one["prefill_tokens_per_s"] = prompt_tokens / r.prefill_s;
    one["decode_tokens_per_s"] = static_cast<double>(r.batch) / median;
    one["decode_tokens_per_s_mean"] = static_cast<double>(r.batch) / Mean(r.step_s);
    one["step_ms"] = median * 1e3;
    if (gpu) {
      AddGpuShares(work, r, prompt_tokens, int8, measured.machine, &one);
    } else {
      AddCpuShares(work, r, prompt_tokens, measured.machine, &one);
    }
    out["results"].push_back(one);
  }
  return out;
}

void PrintBenchTable(const nlohmann::ordered_json& report) {
  std::printf("%s: %s weights, %s KV, %s activations, tp %lld, %d threads a rank, %s\n",
              report["model"].get<std::string>().c_str(),
              report["weights"].get<std::string>().c_str(), report["kv"].get<std::string>().c_str(),
              report["activations"].get<std::string>().c_str(),
              static_cast<long long>(report["tp"].get<int64_t>()), report["threads"].get<int>(),
              report["instruction_set"].get<std::string>().c_str());
  const bool gpu = report.contains("bf16_peak_ops_per_s");
  std::printf(
      "%s, bandwidth %.1f GB/s", report["device"].get<std::string>().c_str(),
      report[gpu ? "copy_bandwidth_bytes_per_s" : "read_bandwidth_bytes_per_s"].get<double>() /
          1e9);
  if (!gpu) {
    std::printf(" (sustained %.1f)",
                report["read_sustained_bandwidth_bytes_per_s"].get<double>() / 1e9);
  }
  std::printf(", int8 peak %.2f TOPS, weights %.2f GB a rank\n",
              report["int8_peak_ops_per_s"].get<double>() / 1e12,
              report["weight_bytes"].get<double>() / 1e9);
  const char* const shares[][3] = {
      {"prefill_int8_peak_fraction", "decode_weight_sustained_bandwidth_fraction",
       "decode_int8_peak_fraction"},
      {"prefill_matrix_peak_fraction", "step_floor_fraction", "step_gap_fraction"}};
  std::printf("%6s %18s %17s %10s %13s %17s %12s\n", "batch", "prefill tokens/s", "decode tokens/s",
              "step ms", "prefill/peak", gpu ? "floor/step" : "decode/sustained",
              gpu ? "gap/step" : "decode/peak");
  for (const auto& r : report["results"]) {
    std::printf("%6lld %18.1f %17.1f %10.2f %13.2f %17.2f %12.2f\n",
                static_cast<long long>(r["batch"].get<int64_t>()),
                r["prefill_tokens_per_s"].get<double>(), r["decode_tokens_per_s"].get<double>(),
                r["step_ms"].get<double>(), r[shares[gpu][0]].get<double>(),
                r[shares[gpu][1]].get<double>(), r[shares[gpu][2]].get<double>());
  }
}

}  // namespace octet::launch
