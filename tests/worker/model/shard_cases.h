// Decoders that shards are tested on: real ones and any.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "worker/model/model_spec.h"

namespace octet::worker {

inline ModelSpec MakeSpec(const std::string& name, int64_t heads, int64_t kv_heads,
                          int64_t head_dim, int64_t hidden, int64_t ffn, int64_t vocab) {
  ModelSpec spec;
  spec.architecture = name;
  spec.layers = 2;
  spec.heads = heads;
  spec.kv_heads = kv_heads;
  spec.head_dim = head_dim;
  spec.hidden = hidden;
  spec.ffn = ffn;
  spec.vocab = vocab;
  spec.context = 4096;
  return spec;
}

inline ModelSpec Qwen25_72B() { return MakeSpec("Qwen2.5-72B", 64, 8, 128, 8192, 29568, 152064); }
inline ModelSpec Qwen25_05B() { return MakeSpec("Qwen2.5-0.5B", 14, 2, 64, 896, 4864, 151936); }
inline ModelSpec Llama3_70B() { return MakeSpec("Llama-3-70B", 64, 8, 128, 8192, 28672, 128256); }
inline ModelSpec Llama2_7B() { return MakeSpec("Llama-2-7B", 32, 32, 128, 4096, 11008, 32000); }
inline ModelSpec Demo() { return MakeSpec("demo", 8, 2, 32, 256, 1024, 4096); }

inline std::vector<ModelSpec> RealSpecs() {
  return {Qwen25_72B(), Qwen25_05B(), Llama3_70B(), Llama2_7B(), Demo()};
}

inline ModelSpec RandomSpec(std::mt19937& random) {
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  const int64_t kv_heads = pick(1, 12);
  return MakeSpec("random", kv_heads * pick(1, 9), kv_heads, 2 * pick(4, 64), 2 * pick(32, 4096),
                  pick(64, 32000), pick(1, 160000));
}

}  // namespace octet::worker
