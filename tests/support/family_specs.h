// A model's spec with what other families than Llama's add to the decoder.
#pragma once

#include "worker/model/model_spec.h"

namespace octet::testing {

// Prompts longer than this are rotated by their length and scale their queries.
inline constexpr int64_t kTrainedContext = 40;

// Qwen's dynamic NTK and logn, and Qwen3's norms of heads.
inline worker::ModelSpec LikeQwen(worker::ModelSpec spec) {
  spec.rope.type = worker::RopeType::kQwenDynamic;
  spec.rope.original_context = kTrainedContext;
  spec.logn_context = kTrainedContext;
  spec.qk_norm = true;
  spec.qkv_bias = true;
  return spec;
}

// Layer norms, learned positions, a plain ReLU and a bias on every linear.
inline worker::ModelSpec LikeOpt(worker::ModelSpec spec) {
  spec.norm = worker::NormType::kLayer;
  spec.mlp = worker::MlpType::kRelu;
  spec.position_offset = 2;
  spec.position_rows = spec.context + spec.position_offset;
  spec.qkv_bias = spec.output_bias = spec.gate_up_bias = spec.down_bias = true;
  return spec;
}

}  // namespace octet::testing
