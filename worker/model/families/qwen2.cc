// Qwen1.5, Qwen2 and Qwen2.5: a bias on q, k and v, none elsewhere, whatever config.json says.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, ReadLlamaLike(config, {.context = 32768}));
  spec.qkv_bias = true;
  OCTET_ASSIGN_OR_RETURN(spec.sliding_window, QwenWindow(config, spec.layers));
  return spec;
}

}  // namespace

const Family kQwen2 = {"Qwen2ForCausalLM", "qwen2", Read, LlamaNames};

}  // namespace octet::worker
