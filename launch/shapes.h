// Shapes of well-known models by name, for planning and measuring without a checkpoint.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "worker/model/model_spec.h"
#include "worker/weights/loader.h"

namespace octet::launch {

struct ShapeSource {
  worker::ModelSpec spec;
  worker::StoredTypes stored;  // how a checkpoint of this shape keeps its tensors
  std::string name;
};

// A name of ShapeNames(), a config.json, or a directory that holds one; of weights beside it only
// the headers are read, and the group numbers of inputs.
Result<ShapeSource> ResolveShape(const std::string& name_or_path);
std::vector<std::string> ShapeNames();

}  // namespace octet::launch
