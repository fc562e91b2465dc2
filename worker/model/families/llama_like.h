// What all families that descend from Llama share: RMS norm, rotate-half RoPE, gated SiLU MLP, and
// the names of the tensors. A family states only where it differs.
#pragma once

#include "base/status.h"
#include "worker/model/families/config_reader.h"
#include "worker/model/model_spec.h"
#include "worker/model/tensor_names.h"

namespace octet::worker {

// One dialect of config.json.
struct Family {
  const char* architecture;  // architectures[0]
  const char* model_type;    // used where architectures is absent
  Result<ModelSpec> (*read)(const ConfigReader& config);
  TensorNames (*names)(const ModelSpec& spec);
};

extern const Family kLlama;
extern const Family kMistral;
extern const Family kQwen2;

// Everything but biases, sliding window and end tokens. `context_absent`: the family's default.
Result<ModelSpec> ReadLlamaLike(const ConfigReader& config, int64_t context_absent);

// Every part is a module of its own.
TensorNames LlamaNames(const ModelSpec& spec);

// A sliding window for all layers (its size) or for none (0). Layers that differ from one another
// are Unimplemented.
Result<int64_t> WindowOfLayers(const ConfigReader& config, int64_t layers, int64_t window,
                               int64_t first_sliding_layer);

// rope_parameters (transformers 5) or rope_theta with rope_scaling (before).
Result<RopeSpec> ReadRope(const ConfigReader& config);

}  // namespace octet::worker
