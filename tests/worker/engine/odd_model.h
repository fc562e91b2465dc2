// The odd model of the engine's tests, on made-up weights.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/support/family_specs.h"
#include "worker/engine/engine_config.h"

namespace octet::worker::test {

// Odd on purpose: 7 query heads for each kv head, a short last grain, groups that leaves cut, a
// short last vocabulary tile.
inline ModelSpec OddSpec() {
  ModelSpec spec;
  spec.architecture = "Qwen2ForCausalLM";
  spec.layers = 2;
  spec.hidden = 192;
  spec.ffn = 1224;
  spec.heads = 14;
  spec.kv_heads = 2;
  spec.head_dim = 32;
  spec.vocab = 1300;
  spec.context = 512;
  spec.qkv_bias = true;
  return spec;
}

inline ModelSpec OddSpecLikeQwen() { return testing::LikeQwen(OddSpec()); }
inline ModelSpec OddSpecLikeOpt() { return testing::LikeOpt(OddSpec()); }

struct Variant {
  const char* name;
  kernels::WeightFormat layers, head;
  kernels::KvFormat kv;
  kernels::ActivationFormat activations;
  bool static_kv = false;
  ModelSpec (*spec)() = OddSpec;
};

inline constexpr Variant kVariants[] = {
    {"int4_int8", kernels::WeightFormat::kInt4, kernels::WeightFormat::kInt8,
     kernels::KvFormat::kInt8, kernels::ActivationFormat::kInt8},
    {"bf16_f32", kernels::WeightFormat::kBF16, kernels::WeightFormat::kBF16,
     kernels::KvFormat::kBF16, kernels::ActivationFormat::kF32},
    {"int8_bf16", kernels::WeightFormat::kInt8, kernels::WeightFormat::kInt8,
     kernels::KvFormat::kInt8, kernels::ActivationFormat::kBF16, /*static_kv=*/true},
};

inline EngineConfig MakeTestConfig(const ModelSpec& spec, const Variant& variant, int64_t ranks,
                                   int64_t rank, int threads = 1) {
  EngineConfig config;
  config.spec = spec;
  config.shard = ShardPlan::Make(spec, ranks, rank).value();
  config.weights = {
      .layers = variant.layers, .head = variant.head, .embedding = DType::kBF16, .group = 128};
  config.weights.static_kv = variant.static_kv;
  config.kv = variant.kv;
  config.activations = variant.activations;
  config.context = spec.context;
  config.slots = 8;
  config.step_rows = 160;
  config.kv_blocks = 48;
  config.threads = threads;
  return config;
}

inline std::vector<int32_t> Tokens(int64_t count, int32_t seed, int64_t vocab) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>((seed * 7919 + i * 104729) % vocab));
  }
  return tokens;
}

}  // namespace octet::worker::test
