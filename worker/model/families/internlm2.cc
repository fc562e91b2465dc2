// InternLM2 and 2.5: q, k and v are one module, in which each kv head's query heads are followed by
// its key and its value head; `bias` puts a bias on it and on the attention output. Source:
// lmdeploy v0.3.0, deploy/source_model/internlm2.py.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, ReadLlamaLike(config, {.context = 2048}));
  OCTET_ASSIGN_OR_RETURN(spec.qkv_bias, config.Bool("bias", true));
  spec.output_bias = spec.qkv_bias;
  return spec;
}

TensorNames Names(const ModelSpec& spec) {
  const std::string layer = "model.layers.{}.";
  const std::string wqkv = layer + "attention.wqkv";
  const int64_t head_dim = spec.head_dim;
  const int64_t group = spec.heads / spec.kv_heads * head_dim;  // rows of a kv head's query heads
  const int64_t stride = group + 2 * head_dim;
  TensorNames names = LlamaNames(spec);
  names.embedding = "model.tok_embeddings";
  names.head = "output";
  names.attention_norm = layer + "attention_norm";
  names.mlp_norm = layer + "ffn_norm";
  names.q = {.module = wqkv, .first = 0, .block = group, .stride = stride};
  names.k = {.module = wqkv, .first = group, .block = head_dim, .stride = stride};
  names.v = {.module = wqkv, .first = group + head_dim, .block = head_dim, .stride = stride};
  names.o = {.module = layer + "attention.wo"};
  names.gate = {.module = layer + "feed_forward.w1"};
  names.up = {.module = layer + "feed_forward.w3"};
  names.down = {.module = layer + "feed_forward.w2"};
  return names;
}

}  // namespace

const Family kInternLm2 = {"InternLM2ForCausalLM", "internlm2", Read, Names};

}  // namespace octet::worker
