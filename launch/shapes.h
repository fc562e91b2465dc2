// Shapes of well-known models by name, for planning and measuring without a checkpoint.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "worker/model/model_spec.h"

namespace octet::launch {

struct ShapeSource {
  worker::ModelSpec spec;
  DType embedding = DType::kBF16;
  std::string name;
};

// A name of ShapeNames(), a config.json, or a checkpoint directory (of which only config.json is
// read).
Result<ShapeSource> ResolveShape(const std::string& name_or_path);
std::vector<std::string> ShapeNames();

}  // namespace octet::launch
