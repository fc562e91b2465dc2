// From config.json to a ModelSpec. A family is one small file with one function; the table that
// joins them is in families.cc. Text in, spec out: no file is opened here.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "worker/model/model_spec.h"
#include "worker/model/tensor_names.h"

namespace octet::worker {

// `generation_config` adds end tokens to those of config.json. Every value is checked against the
// limits of model_spec.h; a message names the key, the value found and the limit. A variant that
// would change the results and is not supported is Unimplemented, never ignored.
Result<ModelSpec> SpecFromConfig(
    const std::string& config_json,
    const std::optional<std::string>& generation_config_json = std::nullopt);

// Where a checkpoint of this spec keeps its tensors. An architecture that no family reads (specs
// made for benchmarks and tests) has Llama's names.
TensorNames NamesOf(const ModelSpec& spec);

}  // namespace octet::worker
