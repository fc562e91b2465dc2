// One dialect of config.json and the names of its tensors. Each family is a file of its own; the
// table that joins them is in families.cc.
#pragma once

#include "base/status.h"
#include "worker/model/families/config_reader.h"
#include "worker/model/model_spec.h"
#include "worker/model/tensor_names.h"

namespace octet::worker {

struct Family {
  const char* architecture;  // architectures[0]
  const char* model_type;    // used where architectures is absent
  Result<ModelSpec> (*read)(const ConfigReader& config);
  TensorNames (*names)(const ModelSpec& spec);
};

extern const Family kInternLm;
extern const Family kInternLm2;
extern const Family kLlama;
extern const Family kMistral;
extern const Family kOpt;
extern const Family kQwen;
extern const Family kQwen2;
extern const Family kQwen3;
extern const Family kYi;

}  // namespace octet::worker
