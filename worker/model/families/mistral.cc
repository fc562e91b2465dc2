// Mistral 7B and its successors: no bias; a sliding window on all layers unless it is null. Where
// the key is absent the window is 4096, the default of transformers' MistralConfig.
#include "worker/model/families/llama_like.h"

namespace octet::worker {
namespace {

constexpr int64_t kWindowAbsent = 4096;
constexpr int64_t kContextAbsent = 131072;

Result<ModelSpec> Read(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(ModelSpec spec, ReadLlamaLike(config, {.context = kContextAbsent}));
  if (config.IsNull("sliding_window")) return spec;
  OCTET_ASSIGN_OR_RETURN(const int64_t window,
                         config.Int("sliding_window", 1, kContextMax, kWindowAbsent));
  OCTET_ASSIGN_OR_RETURN(spec.sliding_window, WindowOfLayers(config, spec.layers, window, 0));
  return spec;
}

}  // namespace

const Family kMistral = {"MistralForCausalLM", "mistral", Read, LlamaNames};

}  // namespace octet::worker
