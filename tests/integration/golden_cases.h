// The golden checkpoints and the reference's logits, and a group that runs them.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/engine_group.h"
#include "worker/engine/worker_options.h"
#include "worker/model/families/families.h"
#include "worker/weights/safetensors.h"

namespace octet {

using worker::SafetensorsFile;
using worker::TensorInfo;

inline const std::string kSource = OCTET_SOURCE_DIR;

struct Case {
  const char* name;
  const char* model;
  const char* logits;
  const char* weights = "int4";  // of the run with quantized weights
  int64_t ranks_max = 8;
};

template <typename T>
std::vector<T> ReadTensor(const SafetensorsFile& file, const std::string& name) {
  const TensorInfo* tensor = file.Find(name);
  if (tensor == nullptr) return {};
  std::vector<T> values(static_cast<size_t>(tensor->end - tensor->begin) / sizeof(T));
  const Status status = file.Read(*tensor, 0, tensor->end - tensor->begin,
                                  reinterpret_cast<std::byte*>(values.data()));
  EXPECT_TRUE(status.ok()) << status.message();
  return values;
}

class GoldenTest : public ::testing::TestWithParam<Case> {
 protected:
  std::vector<testing::StepOutput> Run(const std::vector<worker::StepPlan>& plans, int64_t ranks,
                                       const worker::WorkerOptions& options) {
    const auto checkpoint = worker::Checkpoint::Open(kSource + "/" + GetParam().model);
    if (!checkpoint.ok()) CheckFailed(__FILE__, __LINE__, checkpoint.status().message());
    const auto spec = worker::SpecFromConfig(checkpoint->config_json());
    if (!spec.ok()) CheckFailed(__FILE__, __LINE__, spec.status().message());
    const auto weights = worker::ResolveWeightOptions(
        *checkpoint, *spec,
        {.layers = options.weights, .head = options.head, .group = options.group_size});
    if (!weights.ok()) CheckFailed(__FILE__, __LINE__, weights.status().message());
    return testing::RunGroup(
        ranks,
        [&](int64_t n, int64_t rank) {
          return worker::MakeEngineConfig(options, *spec, *weights, n, rank).value();
        },
        &*checkpoint, plans);
  }

  static worker::WorkerOptions Exact() {
    worker::WorkerOptions options;
    options.activations = "f32";
    options.kv = "bf16";
    options.max_num_seqs = 1;
    options.max_num_batched_tokens = 256;
    options.threads = 1;
    return options;
  }
};

inline constexpr Case kGoldens[] = {
    {"llama", "tests/golden/llama", "tests/golden/llama/logits.safetensors"},
    {"llama_linear", "tests/golden/llama_linear", "tests/golden/llama_linear/logits.safetensors"},
    {"qwen2", "tests/golden/qwen2", "tests/golden/qwen2/logits.safetensors"},
    {"demo", "launch/demo_model/model", "tests/golden/demo/logits.safetensors"},
};

// Quantized by others, and kept as they are.
inline constexpr Case kQuantizedGoldens[] = {
    {"gptq", "tests/golden/gptq", "tests/golden/gptq/logits.safetensors", "auto", 4},
    {"gptq_act", "tests/golden/gptq_act", "tests/golden/gptq_act/logits.safetensors", "auto"},
    {"gptq8_v2", "tests/golden/gptq8_v2", "tests/golden/gptq8_v2/logits.safetensors", "auto", 4},
    {"awq", "tests/golden/awq", "tests/golden/awq/logits.safetensors", "auto", 4},
    {"packed", "tests/golden/packed", "tests/golden/packed/logits.safetensors", "auto", 4},
    {"packed_act", "tests/golden/packed_act", "tests/golden/packed_act/logits.safetensors", "auto",
     4},
};

}  // namespace octet
