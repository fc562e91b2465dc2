// Qwen3: an RMS norm on every query and key head before rope; heads that are as wide as head_dim
// says, whatever hidden is. `attention_bias` puts a bias on q, k, v and o.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec,
                         ReadLlamaLike(config, {.context = 32768, .head_dim = 128}));
  spec.qk_norm = true;
  OCTET_ASSIGN_OR_RETURN(spec.qkv_bias, config.Bool("attention_bias", false));
  spec.output_bias = spec.qkv_bias;
  OCTET_ASSIGN_OR_RETURN(spec.sliding_window, QwenWindow(config, spec.layers));
  return spec;
}

TensorNames Names(const ModelSpec& spec) {
  TensorNames names = LlamaNames(spec);
  names.q_norm = "model.layers.{}.self_attn.q_norm";
  names.k_norm = "model.layers.{}.self_attn.k_norm";
  return names;
}

}  // namespace

const Family kQwen3 = {"Qwen3ForCausalLM", "qwen3", Read, Names};

}  // namespace octet::worker
