// The golden checkpoints and the reference's logits, and a group that runs them.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
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
  const char* config = nullptr;  // in place of the model's own
  int64_t ranks_max = 8;
  const char* weights = "int4";  // of the run with quantized weights
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

inline constexpr int64_t kContext = 256;

class GoldenTest : public ::testing::TestWithParam<Case> {
 protected:
  std::vector<testing::StepOutput> Run(const std::vector<worker::StepPlan>& plans, int64_t ranks,
                                       const worker::WorkerOptions& options) {
    const auto checkpoint = worker::Checkpoint::Open(kSource + "/" + GetParam().model);
    if (!checkpoint.ok()) CheckFailed(__FILE__, __LINE__, checkpoint.status().message());
    std::string config = checkpoint->config_json();
    if (GetParam().config != nullptr) {
      std::ifstream file(kSource + "/" + GetParam().config);
      config.assign(std::istreambuf_iterator<char>(file), {});
    }
    const auto spec = worker::SpecFromConfig(config);
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
    options.max_model_len = kContext;  // of every golden, some of them by rope scaling
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
    {"gptq", "tests/golden/gptq", "tests/golden/gptq/logits.safetensors", nullptr, 4, "auto"},
    {"gptq_act", "tests/golden/gptq_act", "tests/golden/gptq_act/logits.safetensors", nullptr, 8,
     "auto"},
    {"gptq8_v2", "tests/golden/gptq8_v2", "tests/golden/gptq8_v2/logits.safetensors", nullptr, 4,
     "auto"},
    {"awq", "tests/golden/awq", "tests/golden/awq/logits.safetensors", nullptr, 4, "auto"},
    {"packed", "tests/golden/packed", "tests/golden/packed/logits.safetensors", nullptr, 4, "auto"},
    {"packed_act", "tests/golden/packed_act", "tests/golden/packed_act/logits.safetensors", nullptr,
     4, "auto"},
};

// Families and rope types. Those with four leaves run on at most four ranks: more than they have kv
// heads where those are two.
inline constexpr Case kFamilyGoldens[] = {
    {"qwen", "tests/golden/qwen", "tests/golden/qwen/logits.safetensors", nullptr, 4},
    {"qwen3", "tests/golden/qwen3", "tests/golden/qwen3/logits.safetensors", nullptr, 4},
    {"internlm", "tests/golden/internlm", "tests/golden/internlm/logits.safetensors", nullptr, 4},
    {"internlm2", "tests/golden/internlm2", "tests/golden/internlm2/logits.safetensors", nullptr,
     4},
    {"opt", "tests/golden/opt", "tests/golden/opt/logits.safetensors", nullptr, 4},
    {"llama_bias", "tests/golden/internlm", "tests/golden/llama_bias/logits.safetensors",
     "tests/golden/llama_bias/config.json", 4},
    {"llama_yarn", "tests/golden/llama", "tests/golden/llama_yarn/logits.safetensors",
     "tests/golden/llama_yarn/config.json"},
    {"llama_yarn_mscale", "tests/golden/llama", "tests/golden/llama_yarn_mscale/logits.safetensors",
     "tests/golden/llama_yarn_mscale/config.json"},
    {"llama_dynamic", "tests/golden/llama", "tests/golden/llama_dynamic/logits.safetensors",
     "tests/golden/llama_dynamic/config.json"},
    {"mistral_window", "tests/golden/llama", "tests/golden/mistral_window/logits.safetensors",
     "tests/golden/mistral_window/config.json"},
    {"qwen2_window", "tests/golden/qwen2", "tests/golden/qwen2_window/logits.safetensors",
     "tests/golden/qwen2_window/config.json"},
};

}  // namespace octet
