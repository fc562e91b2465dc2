#include "launch/engine_bench.h"

#include <algorithm>
#include <cstdio>

#include "kernels/isa.h"

namespace octet::launch {

nlohmann::ordered_json BenchReport(const BenchOptions& options, const worker::EngineConfig& config,
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

void PrintBenchTable(const nlohmann::ordered_json& report) {
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

}  // namespace octet::launch
