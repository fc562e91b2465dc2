// Qwen2 and Qwen2.5: a bias on q, k and v, none elsewhere, whatever config.json says. The sliding
// window counts only with `use_sliding_window`, from layer `max_window_layers` on.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

constexpr int64_t kContextAbsent = 32768;
constexpr int64_t kWindowAbsent = 4096;
constexpr int64_t kFirstSlidingLayerAbsent = 28;

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, ReadLlamaLike(config, kContextAbsent));
  spec.qkv_bias = true;
  OCTET_ASSIGN_OR_RETURN(const bool slides, config.Bool("use_sliding_window", false));
  if (!slides || config.IsNull("sliding_window")) return spec;
  OCTET_ASSIGN_OR_RETURN(const int64_t window,
                         config.Int("sliding_window", 1, kContextMax, kWindowAbsent));
  OCTET_ASSIGN_OR_RETURN(const int64_t first,
                         config.Int("max_window_layers", 0, kContextMax, kFirstSlidingLayerAbsent));
  OCTET_ASSIGN_OR_RETURN(spec.sliding_window, WindowOfLayers(config, spec.layers, window, first));
  return spec;
}

}  // namespace

const Family kQwen2 = {"Qwen2ForCausalLM", "qwen2", Read, LlamaNames};

}  // namespace octet::worker
