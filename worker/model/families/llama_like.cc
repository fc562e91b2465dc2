#include "worker/model/families/llama_like.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/json/json.h"

namespace octet::worker {
namespace {

constexpr double kNormEpsMin = 1e-12;
constexpr double kNormEpsMax = 1e-1;

Status Unsupported(const ConfigReader& config, const std::string& key,
                   const std::string& supported) {
  return Unimplemented(config.what() + ": key \"" + key + "\" is " + Shown(*config.Find(key)) +
                       ", supported is only " + supported);
}

// Keys that change what the model computes and that no part here computes.
Status CheckNothingElse(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(const std::string act, config.String("hidden_act", "silu"));
  if (act != "silu") return Unsupported(config, "hidden_act", "\"silu\"");
  OCTET_ASSIGN_OR_RETURN(const bool mlp_bias, config.Bool("mlp_bias", false));
  if (mlp_bias) return Unsupported(config, "mlp_bias", "false");
  return {};
}

Status ReadHeads(const ConfigReader& config, ModelSpec* spec) {
  OCTET_ASSIGN_OR_RETURN(spec->heads, config.Int("num_attention_heads", 1, kHeadsMax));
  OCTET_ASSIGN_OR_RETURN(spec->kv_heads,
                         config.Int("num_key_value_heads", 1, kHeadsMax, spec->heads));
  if (spec->heads % spec->kv_heads != 0) {
    return config.Unexpected("num_key_value_heads", "a divisor of num_attention_heads, which is " +
                                                        std::to_string(spec->heads));
  }
  if (!config.Has("head_dim") && spec->hidden % spec->heads != 0) {
    return config.Unexpected("hidden_size", "a multiple of num_attention_heads, which is " +
                                                std::to_string(spec->heads) +
                                                ", as head_dim is not given");
  }
  const std::string even = "an even integer in [2, " + std::to_string(kHeadDimMax) + "]";
  if (config.Has("head_dim")) {
    OCTET_ASSIGN_OR_RETURN(spec->head_dim, config.Int("head_dim", 2, kHeadDimMax));
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

// The object with rope's type, and whether it is transformers 5's.
struct RopeSource {
  std::optional<ConfigReader> scaling;  // rope_parameters or rope_scaling
  bool theta_inside = false;
};

Result<RopeSource> FindRope(const ConfigReader& config) {
  RopeSource source;
  if (config.Has("rope_parameters")) {
    OCTET_ASSIGN_OR_RETURN(ConfigReader parameters, config.Object("rope_parameters"));
    source.scaling.emplace(parameters);
    source.theta_inside = parameters.Has("rope_theta");
  } else if (config.Has("rope_scaling")) {
    OCTET_ASSIGN_OR_RETURN(ConfigReader scaling, config.Object("rope_scaling"));
    source.scaling.emplace(scaling);
  }
  return source;
}

Status CheckWholeRotary(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(const double part, config.Number("partial_rotary_factor", 0.0, 1.0, 1.0));
  if (part != 1.0) return Unsupported(config, "partial_rotary_factor", "1");
  return {};
}

Status ReadScaling(const ConfigReader& scaling, RopeSpec* rope) {
  const std::string key = scaling.Has("rope_type") || !scaling.Has("type") ? "rope_type" : "type";
  OCTET_ASSIGN_OR_RETURN(const std::string type, scaling.String(key, "default"));
  if (type == "default") {
    if (!scaling.Has(key) && scaling.Has("factor")) {
      return scaling.Unexpected(key, "the type that \"factor\" belongs to");
    }
    return {};
  }
  if (type != "linear" && type != "llama3") {
    return Unsupported(scaling, key, "\"default\", \"linear\" or \"llama3\"");
  }
  OCTET_ASSIGN_OR_RETURN(rope->factor, scaling.Number("factor", 1.0, 1e6));
  rope->type = RopeType::kLinear;
  if (type == "linear") return {};
  rope->type = RopeType::kLlama3;
  OCTET_ASSIGN_OR_RETURN(rope->low_freq_factor, scaling.Number("low_freq_factor", 1e-6, 1e6, 1.0));
  OCTET_ASSIGN_OR_RETURN(rope->high_freq_factor,
                         scaling.Number("high_freq_factor", 1e-6, 1e6, 4.0));
  if (rope->high_freq_factor <= rope->low_freq_factor) {
    return scaling.Unexpected(
        "high_freq_factor", "more than low_freq_factor, which is " + Shown(rope->low_freq_factor));
  }
  OCTET_ASSIGN_OR_RETURN(rope->original_context,
                         scaling.Int("original_max_position_embeddings", 1, kContextMax, 8192));
  return {};
}

}  // namespace

Result<RopeSpec> ReadRope(const ConfigReader& config) {
  RopeSpec rope;
  OCTET_ASSIGN_OR_RETURN(const RopeSource source, FindRope(config));
  OCTET_RETURN_IF_ERROR(CheckWholeRotary(config));
  if (source.scaling.has_value()) {
    for (const char* layer_type : {"full_attention", "sliding_attention"}) {
      if (source.scaling->Has(layer_type)) {
        return Unimplemented(source.scaling->what() +
                             ": rope that differs between layer types is not supported");
      }
    }
    OCTET_RETURN_IF_ERROR(CheckWholeRotary(*source.scaling));
    OCTET_RETURN_IF_ERROR(ReadScaling(*source.scaling, &rope));
  }
  const ConfigReader& holder = source.theta_inside ? *source.scaling : config;
  OCTET_ASSIGN_OR_RETURN(rope.theta, holder.Number("rope_theta", 1.0, 1e15, 10000.0));
  return rope;
}

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

Result<ModelSpec> ReadLlamaLike(const ConfigReader& config, int64_t context_absent) {
  OCTET_RETURN_IF_ERROR(CheckNothingElse(config));
  ModelSpec spec;
  OCTET_ASSIGN_OR_RETURN(spec.layers, config.Int("num_hidden_layers", 1, kLayersMax));
  OCTET_ASSIGN_OR_RETURN(spec.hidden, config.Int("hidden_size", 2, kHiddenMax));
  OCTET_ASSIGN_OR_RETURN(spec.ffn, config.Int("intermediate_size", 1, kFfnMax));
  OCTET_ASSIGN_OR_RETURN(spec.vocab, config.Int("vocab_size", 1, kVocabMax));
  OCTET_RETURN_IF_ERROR(ReadHeads(config, &spec));
  OCTET_ASSIGN_OR_RETURN(spec.context,
                         config.Int("max_position_embeddings", 1, kContextMax, context_absent));
  OCTET_ASSIGN_OR_RETURN(spec.norm_eps,
                         config.Number("rms_norm_eps", kNormEpsMin, kNormEpsMax, 1e-6));
  OCTET_ASSIGN_OR_RETURN(spec.rope, ReadRope(config));
  OCTET_ASSIGN_OR_RETURN(spec.tied_embeddings, config.Bool("tie_word_embeddings", false));
  return spec;
}

}  // namespace octet::worker
