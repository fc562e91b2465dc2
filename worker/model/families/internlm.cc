// InternLM 1: Llama with biases on q, k, v and o where `bias` says so, and its own key for rope.
// Sources: configuration_internlm.py and modeling_internlm.py of InternLM's repository
// (tools/transformers), whose default is the "dynamic" rule with a factor of 1.
#include <algorithm>

#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

// How far the dynamic rule is meant to carry a model of 2048 tokens: to 16K, says its source.
constexpr int64_t kDynamicReach = 8;

Status ReadRotary(const ConfigReader& config, ModelSpec* spec) {
  RopeSpec& rope = spec->rope;
  std::string type = "dynamic";
  if (config.Has("rotary")) {
    OCTET_ASSIGN_OR_RETURN(const ConfigReader rotary, config.Object("rotary"));
    OCTET_ASSIGN_OR_RETURN(type, rotary.String("type", "dynamic"));
    if (type != "origin" && type != "dynamic") {
      return rotary.Unsupported("type", "\"origin\" or \"dynamic\"");
    }
    OCTET_ASSIGN_OR_RETURN(rope.theta, rotary.Number("base", 1.0, 1e15, 10000.0));
    OCTET_ASSIGN_OR_RETURN(rope.factor, rotary.Number("scaling_factor", 1.0, 1e6, 1.0));
  }
  if (type == "origin") return {};
  rope.type = RopeType::kDynamic;
  rope.original_context = spec->context;
  spec->scaled_context = std::min(spec->context * kDynamicReach, kContextMax);
  return {};
}

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, ReadLlamaLike(config, {.context = 2048}));
  // Files made for transformers' own classes have rope where the others have it.
  if (!config.Has("rope_scaling") && !config.Has("rope_parameters")) {
    OCTET_RETURN_IF_ERROR(ReadRotary(config, &spec));
  }
  OCTET_ASSIGN_OR_RETURN(spec.qkv_bias, config.Bool("bias", true));
  spec.output_bias = spec.qkv_bias;
  return spec;
}

}  // namespace

const Family kInternLm = {"InternLMForCausalLM", "internlm", Read, LlamaNames};

}  // namespace octet::worker
