// Qwen, the first (QWenLMHeadModel): q, k and v are thirds of one module, which alone has a bias;
// `intermediate_size` counts gate and up together; rope whose base grows with the length of the
// prompt (use_dynamic_ntk), and queries scaled by the logarithm of their position (use_logn_attn).
// Sources: lmdeploy v0.3.0, deploy/source_model/qwen.py; configuration_qwen.py and modeling_qwen.py
// as the checkpoints bring them.
#include <algorithm>

#include "worker/model/families/llama_like.h"
#include "worker/model/families/rope_config.h"

namespace octet::worker {
namespace {

// How far use_dynamic_ntk is allowed to carry a model beyond its length.
constexpr int64_t kDynamicReach = 4;
constexpr int32_t kEndOfText = 151643;
constexpr int32_t kEndOfTurn = 151645;  // <|im_end|>, at which the chat models stop

// The value of `key`, or of the name that the first files have for it.
Result<int64_t> EitherInt(const ConfigReader& config, const char* key, const char* early,
                          int64_t min, int64_t max) {
  return config.Int(config.Has(key) || !config.Has(early) ? key : early, min, max);
}

Status ReadSizes(const ConfigReader& config, ModelSpec* spec) {
  OCTET_ASSIGN_OR_RETURN(spec->layers,
                         EitherInt(config, "num_hidden_layers", "n_layer", 1, kLayersMax));
  OCTET_ASSIGN_OR_RETURN(spec->hidden, EitherInt(config, "hidden_size", "n_embd", 2, kHiddenMax));
  OCTET_ASSIGN_OR_RETURN(spec->heads,
                         EitherInt(config, "num_attention_heads", "n_head", 1, kHeadsMax));
  spec->kv_heads = spec->heads;
  OCTET_ASSIGN_OR_RETURN(spec->vocab,
                         EitherInt(config, "vocab_size", "padded_vocab_size", 1, kVocabMax));
  OCTET_ASSIGN_OR_RETURN(spec->head_dim, config.Int("kv_channels", 2, kHeadDimMax, 128));
  if (spec->head_dim % 2 != 0 || spec->heads * spec->head_dim != spec->hidden) {
    return config.Unexpected("kv_channels", "an even integer that makes hidden_size, which is " +
                                                std::to_string(spec->hidden) + ", with " +
                                                std::to_string(spec->heads) + " heads");
  }
  OCTET_ASSIGN_OR_RETURN(const int64_t both,
                         EitherInt(config, "intermediate_size", "ffn_hidden_size", 2, 2 * kFfnMax));
  if (both % 2 != 0) return config.Unexpected("intermediate_size", "an even integer");
  spec->ffn = both / 2;
  return {};
}

Status ReadPositions(const ConfigReader& config, ModelSpec* spec) {
  OCTET_RETURN_IF_ERROR(CheckWholeRotary(config, "rotary_pct"));
  OCTET_ASSIGN_OR_RETURN(spec->rope.theta, config.Number("rotary_emb_base", 1.0, 1e15, 10000.0));
  OCTET_ASSIGN_OR_RETURN(const int64_t trained, config.Int("seq_length", 1, kContextMax, 8192));
  OCTET_ASSIGN_OR_RETURN(spec->context,
                         config.Int("max_position_embeddings", 1, kContextMax, trained));
  OCTET_ASSIGN_OR_RETURN(const bool dynamic, config.Bool("use_dynamic_ntk", true));
  OCTET_ASSIGN_OR_RETURN(const bool logn, config.Bool("use_logn_attn", true));
  if (logn) spec->logn_context = trained;
  if (!dynamic) return {};
  if (spec->head_dim <= 2) return config.Unexpected("kv_channels", "more than 2");
  spec->rope.type = RopeType::kQwenDynamic;
  spec->rope.original_context = trained;
  spec->scaled_context = std::min(trained * kDynamicReach, kContextMax);
  return {};
}

Result<ModelSpec> Read(const ConfigReader& config) {
  ModelSpec spec;
  OCTET_RETURN_IF_ERROR(ReadSizes(config, &spec));
  OCTET_RETURN_IF_ERROR(ReadPositions(config, &spec));
  OCTET_ASSIGN_OR_RETURN(spec.norm_eps,
                         config.Number("layer_norm_epsilon", kNormEpsMin, kNormEpsMax, 1e-6));
  OCTET_ASSIGN_OR_RETURN(const bool scaled, config.Bool("scale_attn_weights", true));
  if (!scaled) return config.Unsupported("scale_attn_weights", "true");
  OCTET_ASSIGN_OR_RETURN(const bool no_bias, config.Bool("no_bias", true));
  spec.qkv_bias = true;
  spec.output_bias = spec.gate_up_bias = spec.down_bias = !no_bias;
  OCTET_ASSIGN_OR_RETURN(spec.tied_embeddings, config.Bool("tie_word_embeddings", false));
  // The files name no end token, or only the first of these.
  for (const int32_t end : {kEndOfText, kEndOfTurn}) {
    if (end < spec.vocab) spec.eos_ids.push_back(end);
  }
  return spec;
}

TensorNames Names(const ModelSpec& spec) {
  const std::string layer = "transformer.h.{}.";
  const std::string c_attn = layer + "attn.c_attn";
  return {.embedding = "transformer.wte",
          .final_norm = "transformer.ln_f",
          .head = "lm_head",
          .attention_norm = layer + "ln_1",
          .mlp_norm = layer + "ln_2",
          .q = {.module = c_attn},
          .k = {.module = c_attn, .first = spec.hidden},
          .v = {.module = c_attn, .first = 2 * spec.hidden},
          .o = {.module = layer + "attn.c_proj"},
          .gate = {.module = layer + "mlp.w2"},
          .up = {.module = layer + "mlp.w1"},
          .down = {.module = layer + "mlp.c_proj"}};
}

}  // namespace

const Family kQwen = {"QWenLMHeadModel", "qwen", Read, Names};

}  // namespace octet::worker
