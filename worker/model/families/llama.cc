// Llama 1, 2, 3 and what is saved as such, Yi among them. `attention_bias` puts a bias on q, k, v
// and o, `mlp_bias` on gate, up and down.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, ReadLlamaLike(config, {.context = 2048}));
  OCTET_ASSIGN_OR_RETURN(spec.qkv_bias, config.Bool("attention_bias", false));
  spec.output_bias = spec.qkv_bias;
  OCTET_ASSIGN_OR_RETURN(spec.gate_up_bias, config.Bool("mlp_bias", false));
  spec.down_bias = spec.gate_up_bias;
  return spec;
}

// Yi's first files name the norms otherwise and are Llama in all else.
TensorNames YiNames(const ModelSpec& spec) {
  TensorNames names = LlamaNames(spec);
  names.attention_norm = "model.layers.{}.ln1";
  names.mlp_norm = "model.layers.{}.ln2";
  return names;
}

}  // namespace

const Family kLlama = {"LlamaForCausalLM", "llama", Read, LlamaNames};
const Family kYi = {"YiForCausalLM", "Yi", Read, YiNames};

}  // namespace octet::worker
