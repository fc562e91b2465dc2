// OPT: layer norms with a bias, learned positions from row 2 of their table on, a plain ReLU MLP, a
// bias on every linear (`enable_bias`). Source: transformers, models/opt. The one model of the
// family that norms after each block and embeds in fewer dimensions (350m) is refused by name.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

constexpr int64_t kPositionOffset = 2;
constexpr double kNormEps = 1e-5;  // torch's default, for config.json does not say

Status CheckNothingElse(const ConfigReader& config, const ModelSpec& spec) {
  const struct {
    const char* key;
    bool expected;
  } flags[] = {{"do_layer_norm_before", true},
               {"_remove_final_layer_norm", false},
               {"layer_norm_elementwise_affine", true}};
  for (const auto& flag : flags) {
    OCTET_ASSIGN_OR_RETURN(const bool found, config.Bool(flag.key, flag.expected));
    if (found != flag.expected) {
      return config.Unsupported(flag.key, flag.expected ? "true" : "false");
    }
  }
  OCTET_ASSIGN_OR_RETURN(const std::string act, config.String("activation_function", "relu"));
  if (act != "relu") return config.Unsupported("activation_function", "\"relu\"");
  OCTET_ASSIGN_OR_RETURN(const int64_t width,
                         config.Int("word_embed_proj_dim", 1, kHiddenMax, spec.hidden));
  if (width != spec.hidden) {
    return config.Unsupported("word_embed_proj_dim",
                              "hidden_size, which is " + std::to_string(spec.hidden));
  }
  return {};
}

Result<ModelSpec> Read(const ConfigReader& config) {
  ModelSpec spec;
  OCTET_ASSIGN_OR_RETURN(spec.layers, config.Int("num_hidden_layers", 1, kLayersMax));
  OCTET_ASSIGN_OR_RETURN(spec.hidden, config.Int("hidden_size", 2, kHiddenMax));
  OCTET_ASSIGN_OR_RETURN(spec.ffn, config.Int("ffn_dim", 1, kFfnMax));
  OCTET_ASSIGN_OR_RETURN(spec.vocab, config.Int("vocab_size", 1, kVocabMax, 50272));
  OCTET_ASSIGN_OR_RETURN(spec.heads, config.Int("num_attention_heads", 1, kHeadsMax));
  OCTET_ASSIGN_OR_RETURN(
      spec.context, config.Int("max_position_embeddings", 1, kContextMax - kPositionOffset, 2048));
  OCTET_RETURN_IF_ERROR(CheckNothingElse(config, spec));
  spec.kv_heads = spec.heads;
  spec.head_dim = spec.hidden / spec.heads;
  if (spec.hidden % spec.heads != 0 || spec.head_dim % 2 != 0 || spec.head_dim > kHeadDimMax) {
    return config.Unexpected("hidden_size", "an even multiple of num_attention_heads, which is " +
                                                std::to_string(spec.heads) + ", of at most " +
                                                std::to_string(kHeadDimMax) + " a head");
  }
  spec.norm = NormType::kLayer;
  spec.norm_eps = kNormEps;
  spec.mlp = MlpType::kRelu;
  spec.position_offset = kPositionOffset;
  spec.position_rows = spec.context + kPositionOffset;
  OCTET_ASSIGN_OR_RETURN(const bool bias, config.Bool("enable_bias", true));
  spec.qkv_bias = spec.output_bias = spec.gate_up_bias = spec.down_bias = bias;
  OCTET_ASSIGN_OR_RETURN(spec.tied_embeddings, config.Bool("tie_word_embeddings", true));
  return spec;
}

TensorNames Names(const ModelSpec& spec) {
  const std::string layer = "model.decoder.layers.{}.";
  TensorNames names = LlamaNames(spec);
  names.embedding = "model.decoder.embed_tokens";
  names.positions = "model.decoder.embed_positions";
  names.final_norm = "model.decoder.final_layer_norm";
  names.attention_norm = layer + "self_attn_layer_norm";
  names.mlp_norm = layer + "final_layer_norm";
  names.q = {.module = layer + "self_attn.q_proj"};
  names.k = {.module = layer + "self_attn.k_proj"};
  names.v = {.module = layer + "self_attn.v_proj"};
  names.o = {.module = layer + "self_attn.out_proj"};
  names.gate = {};
  names.up = {.module = layer + "fc1"};
  names.down = {.module = layer + "fc2"};
  return names;
}

}  // namespace

const Family kOpt = {"OPTForCausalLM", "opt", Read, Names};

}  // namespace octet::worker
