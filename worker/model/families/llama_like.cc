#include "worker/model/families/llama_like.h"

#include <algorithm>
#include <string>

#include "base/json/json.h"
#include "worker/model/families/rope_config.h"

namespace octet::worker {
namespace {

Status ReadHeads(const ConfigReader& config, int64_t head_dim_absent, ModelSpec* spec) {
  OCTET_ASSIGN_OR_RETURN(spec->heads, config.Int("num_attention_heads", 1, kHeadsMax));
  OCTET_ASSIGN_OR_RETURN(spec->kv_heads,
                         config.Int("num_key_value_heads", 1, kHeadsMax, spec->heads));
  if (spec->heads % spec->kv_heads != 0) {
    return config.Unexpected("num_key_value_heads", "a divisor of num_attention_heads, which is " +
                                                        std::to_string(spec->heads));
  }
  const bool given = config.Has("head_dim") || head_dim_absent != 0;
  if (!given && spec->hidden % spec->heads != 0) {
    return config.Unexpected("hidden_size", "a multiple of num_attention_heads, which is " +
                                                std::to_string(spec->heads) +
                                                ", as head_dim is not given");
  }
  const std::string even = "an even integer in [2, " + std::to_string(kHeadDimMax) + "]";
  if (given) {
    OCTET_ASSIGN_OR_RETURN(spec->head_dim, config.Int("head_dim", 2, kHeadDimMax, head_dim_absent));
    if (spec->head_dim % 2 != 0) return config.Unexpected("head_dim", even);
    return {};
  }
  spec->head_dim = spec->hidden / spec->heads;
  if (spec->head_dim % 2 != 0 || spec->head_dim > kHeadDimMax) {
    return config.Unexpected("hidden_size", "such that hidden_size / num_attention_heads (" +
                                                std::to_string(spec->head_dim) + ") is " + even);
  }
  return {};
}

}  // namespace

Result<int64_t> WindowOfLayers(const ConfigReader& config, int64_t layers, int64_t window,
                               int64_t first_sliding_layer) {
  int64_t sliding = std::max<int64_t>(0, layers - first_sliding_layer);
  const nlohmann::json* types = config.Find("layer_types");
  if (types != nullptr) {
    sliding = 0;
    if (!types->is_array() || static_cast<int64_t>(types->size()) != layers) {
      return config.Unexpected("layer_types",
                               "one string for each of " + std::to_string(layers) + " layers");
    }
    for (const nlohmann::json& type : *types) {
      if (type == "sliding_attention") {
        ++sliding;
      } else if (type != "full_attention") {
        return Unimplemented(config.what() + ": key \"layer_types\" names " + Shown(type) +
                             ", supported are \"full_attention\" and \"sliding_attention\"");
      }
    }
  }
  if (sliding == 0) return 0;
  if (sliding == layers && window > 0) return window;
  return Unimplemented(config.what() + ": a sliding window of " + std::to_string(window) + " on " +
                       std::to_string(sliding) + " of " + std::to_string(layers) +
                       " layers; supported is one for all layers or for none");
}

Result<int64_t> QwenWindow(const ConfigReader& config, int64_t layers) {
  OCTET_ASSIGN_OR_RETURN(const bool slides, config.Bool("use_sliding_window", false));
  if (!slides || config.IsNull("sliding_window")) return 0;
  OCTET_ASSIGN_OR_RETURN(const int64_t window, config.Int("sliding_window", 1, kContextMax, 4096));
  OCTET_ASSIGN_OR_RETURN(const int64_t first, config.Int("max_window_layers", 0, kContextMax, 28));
  return WindowOfLayers(config, layers, window, first);
}

TensorNames LlamaNames(const ModelSpec&) {
  const std::string layer = "model.layers.{}.";
  return {.embedding = "model.embed_tokens",
          .final_norm = "model.norm",
          .head = "lm_head",
          .attention_norm = layer + "input_layernorm",
          .mlp_norm = layer + "post_attention_layernorm",
          .q = {.module = layer + "self_attn.q_proj"},
          .k = {.module = layer + "self_attn.k_proj"},
          .v = {.module = layer + "self_attn.v_proj"},
          .o = {.module = layer + "self_attn.o_proj"},
          .gate = {.module = layer + "mlp.gate_proj"},
          .up = {.module = layer + "mlp.up_proj"},
          .down = {.module = layer + "mlp.down_proj"}};
}

Result<ModelSpec> ReadLlamaLike(const ConfigReader& config, const LlamaDefaults& absent) {
  OCTET_ASSIGN_OR_RETURN(const std::string act, config.String("hidden_act", "silu"));
  if (act != "silu") return config.Unsupported("hidden_act", "\"silu\"");
  ModelSpec spec;
  OCTET_ASSIGN_OR_RETURN(spec.layers, config.Int("num_hidden_layers", 1, kLayersMax));
  OCTET_ASSIGN_OR_RETURN(spec.hidden, config.Int("hidden_size", 2, kHiddenMax));
  OCTET_ASSIGN_OR_RETURN(spec.ffn, config.Int("intermediate_size", 1, kFfnMax));
  OCTET_ASSIGN_OR_RETURN(spec.vocab, config.Int("vocab_size", 1, kVocabMax));
  OCTET_RETURN_IF_ERROR(ReadHeads(config, absent.head_dim, &spec));
  OCTET_ASSIGN_OR_RETURN(spec.context,
                         config.Int("max_position_embeddings", 1, kContextMax, absent.context));
  OCTET_ASSIGN_OR_RETURN(spec.norm_eps,
                         config.Number("rms_norm_eps", kNormEpsMin, kNormEpsMax, 1e-6));
  OCTET_RETURN_IF_ERROR(ReadRope(config, &spec));
  OCTET_ASSIGN_OR_RETURN(spec.tied_embeddings, config.Bool("tie_word_embeddings", false));
  return spec;
}

}  // namespace octet::worker
