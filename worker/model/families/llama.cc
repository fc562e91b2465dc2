// Llama 1, 2, 3 and what is saved as such. `attention_bias` puts a bias on q, k, v and o.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, ReadLlamaLike(config, 2048));
  OCTET_ASSIGN_OR_RETURN(spec.qkv_bias, config.Bool("attention_bias", false));
  spec.output_bias = spec.qkv_bias;
  return spec;
}

}  // namespace

const Family kLlama = {"LlamaForCausalLM", "llama", Read, LlamaNames};

}  // namespace octet::worker
