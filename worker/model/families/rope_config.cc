#include "worker/model/families/rope_config.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

namespace octet::worker {
namespace {

constexpr double kFactorMin = 1e-6;
constexpr double kFactorMax = 1e6;

// The object with rope's type, and whether it is transformers 5's.
struct RopeSource {
  std::optional<ConfigReader> scaling;  // rope_parameters or rope_scaling
  bool theta_inside = false;
};

Result<RopeSource> FindRope(const ConfigReader& config) {
  RopeSource source;
  // As when a file that transformers 5 wrote is given what a model's card says for long texts.
  if (config.Has("rope_parameters") && config.Has("rope_scaling")) {
    return Unimplemented(
        "config.json has both rope_parameters and rope_scaling, supported is one of them: leave "
        "out "
        "the one that does not count");
  }
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

Status ReadLlama3(const ConfigReader& scaling, RopeSpec* rope) {
  rope->type = RopeType::kLlama3;
  OCTET_ASSIGN_OR_RETURN(rope->low_freq_factor,
                         scaling.Number("low_freq_factor", kFactorMin, kFactorMax, 1.0));
  OCTET_ASSIGN_OR_RETURN(rope->high_freq_factor,
                         scaling.Number("high_freq_factor", kFactorMin, kFactorMax, 4.0));
  if (rope->high_freq_factor <= rope->low_freq_factor) {
    return scaling.Unexpected(
        "high_freq_factor", "more than low_freq_factor, which is " + Shown(rope->low_freq_factor));
  }
  OCTET_ASSIGN_OR_RETURN(rope->original_context,
                         scaling.Int("original_max_position_embeddings", 1, kContextMax, 8192));
  return {};
}

// What cos and sin grow by when the context grows by `factor` (arXiv 2309.00071, section 3.4).
double YarnMagnitude(double factor, double weight) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

Status ReadYarn(const ConfigReader& scaling, int64_t context, RopeSpec* rope) {
  rope->type = RopeType::kYarn;
  OCTET_ASSIGN_OR_RETURN(rope->original_context,
                         scaling.Int("original_max_position_embeddings", 1, kContextMax, context));
  OCTET_ASSIGN_OR_RETURN(rope->beta_fast, scaling.Number("beta_fast", kFactorMin, kFactorMax, 32));
  OCTET_ASSIGN_OR_RETURN(rope->beta_slow, scaling.Number("beta_slow", kFactorMin, kFactorMax, 1));
  if (rope->beta_fast < rope->beta_slow) {
    return scaling.Unexpected("beta_fast",
                              "at least beta_slow, which is " + Shown(rope->beta_slow));
  }
  OCTET_ASSIGN_OR_RETURN(rope->truncate, scaling.Bool("truncate", true));
  OCTET_ASSIGN_OR_RETURN(const double mscale, scaling.Number("mscale", 0.0, kFactorMax, 0.0));
  OCTET_ASSIGN_OR_RETURN(const double mscale_all_dim,
                         scaling.Number("mscale_all_dim", 0.0, kFactorMax, 0.0));
  const double inferred =
      mscale != 0.0 && mscale_all_dim != 0.0
          ? YarnMagnitude(rope->factor, mscale) / YarnMagnitude(rope->factor, mscale_all_dim)
          : YarnMagnitude(rope->factor, 1.0);
  OCTET_ASSIGN_OR_RETURN(rope->magnitude,
                         scaling.Number("attention_factor", kFactorMin, kFactorMax, inferred));
  return {};
}

int64_t Stretched(int64_t context, double factor) {
  return static_cast<int64_t>(
      std::min(static_cast<double>(context) * factor, static_cast<double>(kContextMax)));
}

Status ReadScaling(const ConfigReader& scaling, ModelSpec* spec) {
  RopeSpec& rope = spec->rope;
  const std::string key = scaling.Has("rope_type") || !scaling.Has("type") ? "rope_type" : "type";
  OCTET_ASSIGN_OR_RETURN(const std::string type, scaling.String(key, "default"));
  if (type == "default") {
    if (!scaling.Has(key) && scaling.Has("factor")) {
      return scaling.Unexpected(key, "the type that \"factor\" belongs to");
    }
    return {};
  }
  if (type != "linear" && type != "dynamic" && type != "llama3" && type != "yarn") {
    return scaling.Unsupported(key, "\"default\", \"linear\", \"dynamic\", \"llama3\" or \"yarn\"");
  }
  OCTET_ASSIGN_OR_RETURN(rope.factor, scaling.Number("factor", 1.0, kFactorMax));
  if (type == "yarn" && rope.theta <= 1.0) {
    return InvalidArgument(scaling.what() + ": yarn needs a rope_theta above 1");
  }
  if (type == "dynamic" && spec->head_dim <= 2) {
    return InvalidArgument(scaling.what() + ": dynamic scaling needs a head dimension above 2");
  }
  if (type == "llama3") return ReadLlama3(scaling, &rope);
  if (type == "yarn") {
    OCTET_RETURN_IF_ERROR(ReadYarn(scaling, spec->context, &rope));
    // Files differ in whether max_position_embeddings is the length before or after.
    spec->context = std::max(spec->context, Stretched(rope.original_context, rope.factor));
    return {};
  }
  rope.type = type == "linear" ? RopeType::kLinear : RopeType::kDynamic;
  if (type == "dynamic") rope.original_context = spec->context;
  spec->scaled_context = Stretched(spec->context, rope.factor);
  return {};
}

}  // namespace

Status CheckWholeRotary(const ConfigReader& config, const char* key) {
  OCTET_ASSIGN_OR_RETURN(const double part, config.Number(key, 0.0, 1.0, 1.0));
  if (part != 1.0) return config.Unsupported(key, "1");
  return {};
}

Status ReadRope(const ConfigReader& config, ModelSpec* spec) {
  OCTET_ASSIGN_OR_RETURN(const RopeSource source, FindRope(config));
  OCTET_RETURN_IF_ERROR(CheckWholeRotary(config, "partial_rotary_factor"));
  const ConfigReader& holder = source.theta_inside ? *source.scaling : config;
  OCTET_ASSIGN_OR_RETURN(spec->rope.theta, holder.Number("rope_theta", 1.0, 1e15, 10000.0));
  if (!source.scaling.has_value()) return {};
  for (const char* layer_type : {"full_attention", "sliding_attention"}) {
    if (source.scaling->Has(layer_type)) {
      return Unimplemented(source.scaling->what() +
                           ": rope that differs between layer types is not supported");
    }
  }
  OCTET_RETURN_IF_ERROR(CheckWholeRotary(*source.scaling, "partial_rotary_factor"));
  return ReadScaling(*source.scaling, spec);
}

}  // namespace octet::worker
