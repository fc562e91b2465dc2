// A small model's folder, written by the test, and its matrices to compare with.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_folder.h"
#include "worker/model/families/families.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {

// Nothing in it divides evenly: groups are cut by heads of 24, the FFN's last grain is short, the
// vocabulary's last tile too. It splits eight ways.
inline nlohmann::json SmallConfig(bool qwen2) {
  return {{"architectures", {qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"}},
          {"hidden_size", 176},
          {"intermediate_size", 1100},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 2},
          {"head_dim", 24},
          {"vocab_size", 1300},
          {"max_position_embeddings", 128},
          {"attention_bias", false},
          {"tie_word_embeddings", qwen2}};
}

class MadeCheckpoint {
 public:
  explicit MadeCheckpoint(const nlohmann::json& config, DType dtype, uint32_t seed = 1)
      : spec(*SpecFromConfig(config.dump())), dtype(dtype) {
    folder.Write("config.json", config.dump());
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 0.05f);
    for (const ExpectedTensor& tensor : ExpectedTensors(spec)) {
      std::vector<float>& of = values[tensor.name];
      of.resize(tensor.rows * std::max<int64_t>(1, tensor.cols));
      for (float& value : of) {
        value = normal(random);
        if (dtype == DType::kF16) value = F16ToFloat(FloatToF16(value));
        if (dtype == DType::kBF16) value = BF16ToFloat(FloatToBF16(value));
      }
      const std::vector<int64_t> shape = tensor.cols > 0
                                             ? std::vector<int64_t>{tensor.rows, tensor.cols}
                                             : std::vector<int64_t>{tensor.rows};
      tensors.push_back({tensor.name, std::string(DTypeName(dtype)), shape, ""});
    }
    WriteFile();
  }

  // The file as `tensors` and `values` say; a tensor whose bytes were set by hand keeps them.
  void WriteFile() {
    std::vector<test::StoredTensor> stored = tensors;
    for (test::StoredTensor& tensor : stored) {
      if (tensor.bytes.empty()) tensor.bytes = test::StoredBytes(dtype, values[tensor.name]);
    }
    folder.Write("model.safetensors", test::Safetensors(stored));
  }

  test::StoredTensor& Tensor(const std::string& name) {
    for (test::StoredTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }

  test::TempFolder folder;
  ModelSpec spec;
  DType dtype;
  std::vector<test::StoredTensor> tensors;
  std::map<std::string, std::vector<float>> values;  // [rows, cols] each, as stored
};

}  // namespace octet::worker
