// What all families that descend from Llama share: RMS norm, rotate-half RoPE, gated SiLU MLP, and
// the names of the tensors. A family states only where it differs.
#pragma once

#include "base/status.h"
#include "worker/model/families/family.h"

namespace octet::worker {

inline constexpr double kNormEpsMin = 1e-12;
inline constexpr double kNormEpsMax = 1e-1;

// What a family takes where config.json does not say.
struct LlamaDefaults {
  int64_t context = 0;
  int64_t head_dim = 0;  // 0: hidden_size / num_attention_heads
};

// Everything but biases, sliding window and end tokens.
Result<ModelSpec> ReadLlamaLike(const ConfigReader& config, const LlamaDefaults& absent);

// Every part is a module of its own.
TensorNames LlamaNames(const ModelSpec& spec);

// A sliding window for all layers (its size) or for none (0). Layers that differ from one another
// are Unimplemented.
Result<int64_t> WindowOfLayers(const ConfigReader& config, int64_t layers, int64_t window,
                               int64_t first_sliding_layer);

// The window of Qwen2 and Qwen3: it counts only with `use_sliding_window`, from layer
// `max_window_layers` on.
Result<int64_t> QwenWindow(const ConfigReader& config, int64_t layers);

}  // namespace octet::worker
