// Rope as config.json has it, for the families that descend from Llama.
#pragma once

#include "base/status.h"
#include "worker/model/families/config_reader.h"
#include "worker/model/model_spec.h"

namespace octet::worker {

// spec->rope from rope_parameters (transformers 5) or rope_theta with rope_scaling (before), and
// what the scaling makes of the context. REQUIRES: spec->context and spec->head_dim are read.
Status ReadRope(const ConfigReader& config, ModelSpec* spec);

// The head is rotated as a whole. REQUIRES: nothing; an absent key means so.
Status CheckWholeRotary(const ConfigReader& config, const char* key);

}  // namespace octet::worker
