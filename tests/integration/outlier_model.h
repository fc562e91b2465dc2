// The demo model as a Qwen2 without biases and with outlier channels of keys: biases of 300 in a
// pair of channels of the keys of the first and last layer, whose rows are made `factor` times as
// large and those of its queries as much smaller, so that text stays about as likely as it was.
#pragma once

#include <cmath>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_folder.h"
#include "worker/weights/checkpoint.h"

namespace octet {

inline const std::string kDemo = std::string(OCTET_SOURCE_DIR) + "/launch/demo_model/";
inline constexpr int64_t kHeadDim = 32;
inline constexpr int64_t kHalf = kHeadDim / 2;
inline constexpr int64_t kHeads = 8;
inline constexpr int64_t kKvHeads = 2;

struct Outliers {
  const char* name;
  std::vector<int64_t> pairs;
  float factor = 1;
  float bias = 0;
};

// Pair i turns by 10000^(-i / 16) a token: 15 hardly at all within the windows, 4 all the time.
inline const std::vector<Outliers>& Models() {
  static const std::vector<Outliers> models = {
      {"none", {}, 1, 0},          {"slow x1", {15}, 1, 300},
      {"slow x8", {15}, 8, 300},   {"3 slow x8", {13, 14, 15}, 8, 300},
      {"middle x8", {11}, 8, 200}, {"fast x32", {4}, 32, 300}};
  return models;
}

// Rows `pair` and `pair` + 16 of every head times `factor`: exact in bf16.
inline void ScaleRows(std::string* bytes, int64_t heads, int64_t pair, float factor) {
  auto* values = reinterpret_cast<uint16_t*>(bytes->data());
  const auto columns = static_cast<int64_t>(bytes->size()) / 2 / (heads * kHeadDim);
  for (int64_t head = 0; head < heads; ++head) {
    for (const int64_t row : {head * kHeadDim + pair, head * kHeadDim + pair + kHalf}) {
      for (uint16_t* v = values + row * columns; v < values + (row + 1) * columns; ++v) {
        *v = FloatToBF16(BF16ToFloat(*v) * factor);
      }
    }
  }
}

inline test::StoredTensor BiasOf(const std::string& name, const std::vector<float>& values) {
  return {
      name, "F32", {static_cast<int64_t>(values.size())}, test::StoredBytes(DType::kF32, values)};
}

inline void AddOutliers(const Outliers& outliers, std::vector<test::StoredTensor>* tensors) {
  std::vector<test::StoredTensor> biases;
  for (int64_t layer = 0; layer < 6; ++layer) {
    const std::string module = "model.layers." + std::to_string(layer) + ".self_attn.";
    std::vector<float> k_bias(kKvHeads * kHeadDim, 0.0f);
    const bool has_outliers = layer == 0 || layer == 5;
    for (test::StoredTensor& tensor : *tensors) {
      for (const int64_t pair : outliers.pairs) {
        if (!has_outliers) continue;
        if (tensor.name == module + "q_proj.weight") {
          ScaleRows(&tensor.bytes, kHeads, pair, 1 / outliers.factor);
        }
        if (tensor.name == module + "k_proj.weight") {
          ScaleRows(&tensor.bytes, kKvHeads, pair, outliers.factor);
        }
      }
    }
    for (int64_t head = 0; has_outliers && head < kKvHeads; ++head) {
      for (const int64_t pair : outliers.pairs) {
        const double angle = 0.7 + 2.1 * static_cast<double>(layer + 3 * head + pair);
        float* bias = k_bias.data() + head * kHeadDim + pair;
        bias[0] = outliers.bias * static_cast<float>(std::cos(angle));
        bias[kHalf] = outliers.bias * static_cast<float>(std::sin(angle));
      }
    }
    biases.push_back(BiasOf(module + "q_proj.bias", std::vector<float>(kHeads * kHeadDim, 0.0f)));
    biases.push_back(BiasOf(module + "k_proj.bias", k_bias));
    biases.push_back(BiasOf(module + "v_proj.bias", std::vector<float>(kKvHeads * kHeadDim, 0.0f)));
  }
  tensors->insert(tensors->end(), biases.begin(), biases.end());
}

inline std::vector<test::StoredTensor> TensorsOf(const std::string& folder) {
  const auto checkpoint = worker::Checkpoint::Open(folder);
  if (!checkpoint.ok()) CheckFailed(__FILE__, __LINE__, checkpoint.status().message());
  std::vector<test::StoredTensor> tensors;
  for (const worker::Checkpoint::Tensor& found : checkpoint->tensors()) {
    const worker::TensorInfo& info = *found.info;
    test::StoredTensor tensor{info.name, std::string(info.type_name()), {}, ""};
    tensor.shape.assign(info.dims.begin(), info.dims.begin() + info.rank);
    tensor.bytes.resize(static_cast<size_t>(info.end - info.begin));
    const Status read =
        checkpoint->ReadWhole(found, reinterpret_cast<std::byte*>(tensor.bytes.data()));
    if (!read.ok()) CheckFailed(__FILE__, __LINE__, read.message());
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

// The demo model's folder as a Qwen2 with these outliers.
inline void WriteModel(const Outliers& outliers, const test::TempFolder& folder) {
  std::vector<test::StoredTensor> tensors = TensorsOf(kDemo + "model");
  AddOutliers(outliers, &tensors);
  folder.Write("model.safetensors", test::Safetensors(tensors));
  auto config = nlohmann::json::parse(std::ifstream(kDemo + "model/config.json"));
  config["architectures"] = {"Qwen2ForCausalLM"};
  config["model_type"] = "qwen2";
  config["use_sliding_window"] = false;
  folder.Write("config.json", config.dump());
}

// The largest magnitudes of keys and values in each layer of the demo model, on 2048 tokens of its
// held-out text that no test here measures on: what a calibration finds.
inline constexpr float kDemoLargest[6][2] = {{5.1f, 3.5f},   {7.0f, 6.4f}, {10.4f, 8.0f},
                                             {13.8f, 10.3f}, {8.6f, 8.6f}, {8.9f, 10.9f}};

// The demo model without outliers, and those magnitudes as static scales of an int8 cache.
inline void WriteModelWithStaticScales(const test::TempFolder& folder) {
  std::vector<test::StoredTensor> tensors = TensorsOf(kDemo + "model");
  for (int64_t layer = 0; layer < 6; ++layer) {
    for (int which = 0; which < 2; ++which) {
      tensors.push_back({"model.layers." + std::to_string(layer) + ".self_attn." +
                             (which == 0 ? "k_scale" : "v_scale"),
                         "F32",
                         {1},
                         test::StoredBytes(DType::kF32, {kDemoLargest[layer][which] / 127})});
    }
  }
  folder.Write("model.safetensors", test::Safetensors(tensors));
  auto config = nlohmann::json::parse(std::ifstream(kDemo + "model/config.json"));
  config["quantization_config"] = {
      {"quant_method", "compressed-tensors"},
      {"kv_cache_scheme",
       {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "tensor"}}}};
  folder.Write("config.json", config.dump());
}

}  // namespace octet
