// A small model's folder whose linears are quantized and packed by this file, one value at a time,
// from the formats' specifications (formats.md of the project's design; AutoGPTQ's, AutoAWQ's and
// compressed-tensors' own code), and the weights that they stand for: the oracle of the readers.
#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_folder.h"
#include "worker/model/families/families.h"
#include "worker/weights/stored_modules.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {

struct StoredCase {
  std::string method = "gptq";  // gptq, gptq_v2, awq, pack-quantized
  int64_t bits = 4;
  int64_t group = 32;  // -1: all inputs
  bool symmetric = true;
  bool act_order = false;
  bool head = false;
  std::string as_floats;  // modules with this in their names are not packed; empty: all are
  DType scales = DType::kF16;
  uint32_t seed = 1;

  bool LeavesAsFloats(const std::string& module) const {
    return !as_floats.empty() && module.find(as_floats) != std::string::npos;
  }

  std::string Name() const {
    return method + " " + std::to_string(bits) + " bits, group " + std::to_string(group) +
           (symmetric ? "" : ", zero points") + (act_order ? ", act-order" : "") +
           (head ? ", head" : "") + (as_floats.empty() ? "" : ", not " + as_floats) + ", scales " +
           std::string(DTypeName(scales));
  }
};

// Sizes are multiples of 8 and of little else: 1064 inputs are 33.25 groups of 32 and 8.3 of 128,
// cut by leaves of 128 and 256; heads of 24 cut groups. It splits eight ways.
inline nlohmann::json StoredConfig(bool qwen2) {
  return {{"architectures", {qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"}},
          {"hidden_size", 88},
          {"intermediate_size", 1064},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 2},
          {"head_dim", 24},
          {"vocab_size", 1304},
          {"max_position_embeddings", 128},
          {"tie_word_embeddings", false}};
}

inline nlohmann::json QuantizationJson(const StoredCase& c) {
  if (c.method == "awq") {
    return {{"quant_method", "awq"},
            {"bits", c.bits},
            {"group_size", c.group},
            {"zero_point", true},
            {"version", "gemm"}};
  }
  if (c.method == "pack-quantized") {
    nlohmann::json weights = {{"num_bits", c.bits},
                              {"type", "int"},
                              {"symmetric", c.symmetric},
                              {"strategy", c.group == -1 ? "channel" : "group"},
                              {"dynamic", false}};
    if (c.group != -1) weights["group_size"] = c.group;
    if (c.act_order) weights["actorder"] = "group";
    nlohmann::json config = {
        {"quant_method", "compressed-tensors"},
        {"format", "pack-quantized"},
        {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}}}}}};
    if (!c.as_floats.empty()) config["ignore"] = {"lm_head", "re:.*" + c.as_floats + ".*"};
    return config;
  }
  nlohmann::json config = {{"quant_method", "gptq"},  {"bits", c.bits},
                           {"group_size", c.group},   {"sym", c.symmetric},
                           {"desc_act", c.act_order}, {"checkpoint_format", c.method},
                           {"lm_head", c.head}};
  if (!c.as_floats.empty()) {
    config["dynamic"] = {{"-:.*" + c.as_floats + ".*", nlohmann::json::object()}};
  }
  return config;
}

// One quantized linear, unpacked: the weights are (codes - zeros) * scales.
struct StoredLinear {
  int64_t outputs = 0;
  int64_t inputs = 0;
  int64_t groups = 0;
  std::vector<int> codes;         // [outputs, inputs]
  std::vector<int> zeros;         // [outputs, groups]
  std::vector<float> scales;      // [outputs, groups]
  std::vector<int32_t> group_of;  // [inputs]

  float Weight(int64_t output, int64_t input) const {
    const int64_t at = output * groups + group_of[input];
    return static_cast<float>(codes[output * inputs + input] - zeros[at]) * scales[at];
  }
};

inline float RoundTo(DType type, float value) {
  if (type == DType::kF16) return F16ToFloat(FloatToF16(value));
  return type == DType::kBF16 ? BF16ToFloat(FloatToBF16(value)) : value;
}

inline StoredLinear MakeLinear(const StoredCase& c, int64_t outputs, int64_t inputs,
                               const std::vector<int32_t>& group_of, std::mt19937& random) {
  StoredLinear linear{.outputs = outputs, .inputs = inputs, .group_of = group_of};
  const int64_t group = c.group == -1 ? inputs : c.group;
  linear.groups = (inputs + group - 1) / group;
  const int range = 1 << c.bits;
  for (int64_t i = 0; i < outputs * inputs; ++i) {
    linear.codes.push_back(static_cast<int>(random() % range));
  }
  for (int64_t i = 0; i < outputs * linear.groups; ++i) {
    // Zero points of 0 are what format "gptq" can not keep apart: from 1 on there.
    const int least = c.method == "gptq" ? 1 : 0;
    const int zero = least + static_cast<int>(random() % (range - least));
    linear.zeros.push_back(c.symmetric ? range / 2 : zero);
    const float scale = 0.001f + 0.0001f * static_cast<float>(random() % 1000);
    linear.scales.push_back(RoundTo(c.scales, random() % 16 == 0 ? -scale : scale));
  }
  return linear;
}

// Groups of the inputs: in their order, or dealt at random, all of them full but the last.
inline std::vector<int32_t> GroupsOf(const StoredCase& c, int64_t inputs, std::mt19937& random) {
  const int64_t group = c.group == -1 ? inputs : c.group;
  std::vector<int32_t> groups(inputs);
  for (int64_t k = 0; k < inputs; ++k) groups[k] = static_cast<int32_t>(k / group);
  if (c.act_order) std::shuffle(groups.begin(), groups.end(), random);
  return groups;
}

class StoredCheckpoint {
 public:
  StoredCheckpoint(const nlohmann::json& config, const StoredCase& stored)
      : spec(*SpecFromConfig(config.dump())), stored(stored), random_(stored.seed) {
    nlohmann::json quantized = config;
    quantized["quantization_config"] = QuantizationJson(stored);
    folder.Write("config.json", quantized.dump());
    std::map<std::string, LinearModule> modules;
    for (const LinearModule& module : LinearModulesOf(spec)) {
      if (module.kind == LinearKind::kHead && !stored.head) continue;
      if (stored.LeavesAsFloats(module.name)) continue;
      modules[module.name + ".weight"] = module;
    }
    // Parts of one linear share their groups, as one activation made them.
    std::map<std::pair<int64_t, LinearKind>, std::vector<int32_t>> groups;
    for (const ExpectedTensor& tensor : ExpectedTensors(spec)) {
      const auto found = modules.find(tensor.name);
      if (found == modules.end()) {
        AddFloats(tensor);
        continue;
      }
      const LinearModule& module = found->second;
      std::vector<int32_t>& of = groups[{module.layer, module.kind}];
      if (of.empty()) of = GroupsOf(stored, module.inputs, random_);
      linears[module.name] = MakeLinear(stored, module.outputs, module.inputs, of, random_);
      Pack(module.name, linears[module.name]);
    }
    WriteFile();
  }

  void WriteFile() { folder.Write("model.safetensors", octet::test::Safetensors(tensors)); }

  octet::test::StoredTensor& Tensor(const std::string& name) {
    for (octet::test::StoredTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }
  void Remove(const std::string& name) {
    std::erase_if(tensors, [&](const auto& tensor) { return tensor.name == name; });
  }
  void EditConfig(const std::function<void(nlohmann::json&)>& edit) {
    nlohmann::json config = StoredConfig(spec.qkv_bias);
    config["quantization_config"] = QuantizationJson(stored);
    edit(config);
    folder.Write("config.json", config.dump());
  }

  octet::test::TempFolder folder;
  ModelSpec spec;
  StoredCase stored;
  std::vector<octet::test::StoredTensor> tensors;
  std::map<std::string, StoredLinear> linears;
  std::map<std::string, std::vector<float>> floats;  // of tensors that are not packed

  float Weight(const std::string& module, int64_t output, int64_t input) const {
    const auto packed = linears.find(module);
    if (packed != linears.end()) return packed->second.Weight(output, input);
    const std::vector<float>& values = floats.at(module + ".weight");
    const int64_t inputs = module.find("down_proj") != std::string::npos ? spec.ffn
                           : module.find("o_proj") != std::string::npos ? spec.heads * spec.head_dim
                                                                        : spec.hidden;
    return values[output * inputs + input];
  }

 private:
  void AddFloats(const ExpectedTensor& tensor) {
    std::vector<float>& values = floats[tensor.name];
    values.resize(tensor.rows * std::max<int64_t>(1, tensor.cols));
    for (float& value : values) {
      value = RoundTo(DType::kF16,
                      static_cast<float>(static_cast<int>(random_() % 2000) - 1000) / 8000.0f);
    }
    std::vector<int64_t> shape = {tensor.rows};
    if (tensor.cols > 0) shape.push_back(tensor.cols);
    tensors.push_back({tensor.name, "F16", shape, octet::test::StoredBytes(DType::kF16, values)});
  }

  // words[row, col / per] of a matrix, along columns; place(col % per) is the code's place.
  template <typename Code>
  static std::string Words(int64_t rows, int64_t cols, int64_t bits, const Code& code) {
    const int64_t per = 32 / bits;
    const int64_t words = (cols + per - 1) / per;
    std::string bytes(rows * words * 4, '\0');
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t word = 0; word < words; ++word) {
        uint32_t value = 0;
        for (int64_t i = 0; i < per && word * per + i < cols; ++i) {
          value |= static_cast<uint32_t>(code(row, word * per + i)) << (i * bits);
        }
        std::memcpy(bytes.data() + (row * words + word) * 4, &value, 4);
      }
    }
    return bytes;
  }

  static std::string Transposed(const std::string& bytes, int64_t rows, int64_t cols,
                                int64_t each) {
    std::string out(bytes.size(), '\0');
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t col = 0; col < cols; ++col) {
        std::memcpy(out.data() + (col * rows + row) * each,
                    bytes.data() + (row * cols + col) * each, each);
      }
    }
    return out;
  }

  void Add(const std::string& name, const std::string& type, const std::vector<int64_t>& shape,
           const std::string& bytes) {
    tensors.push_back({name, type, shape, bytes});
  }

  void Pack(const std::string& module, const StoredLinear& l) {
    const int64_t per = 32 / stored.bits;
    const int64_t in_words = (l.inputs + per - 1) / per;
    const int64_t out_words = (l.outputs + per - 1) / per;
    const auto code = [&](int64_t n, int64_t k) { return l.codes[n * l.inputs + k]; };
    const auto zero = [&](int64_t n, int64_t g) { return l.zeros[n * l.groups + g]; };
    const std::string scales = octet::test::StoredBytes(stored.scales, l.scales);
    const std::string type(DTypeName(stored.scales));
    std::string numbers(l.inputs * 4, '\0');
    std::memcpy(numbers.data(), l.group_of.data(), numbers.size());
    if (stored.method == "pack-quantized") {
      Add(module + ".weight_packed", "I32", {l.outputs, in_words},
          Words(l.outputs, l.inputs, stored.bits, code));
      Add(module + ".weight_scale", type, {l.outputs, l.groups}, scales);
      std::string shape(16, '\0');
      std::memcpy(shape.data(), &l.outputs, 8);
      std::memcpy(shape.data() + 8, &l.inputs, 8);
      Add(module + ".weight_shape", "I64", {2}, shape);
      if (!stored.symmetric) {
        const std::string by_group = Words(l.groups, l.outputs, stored.bits,
                                           [&](int64_t g, int64_t n) { return zero(n, g); });
        Add(module + ".weight_zero_point", "I32", {out_words, l.groups},
            Transposed(by_group, l.groups, out_words, 4));
      }
      if (stored.act_order) Add(module + ".weight_g_idx", "I32", {l.inputs}, numbers);
      return;
    }
    const bool awq = stored.method == "awq";
    // The output that nibble i of an AWQ word holds.
    const auto place = [awq](int64_t n) {
      constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
      return awq ? n / 8 * 8 + kOrder[n % 8] : n;
    };
    if (awq) {
      Add(module + ".qweight", "I32", {l.inputs, out_words},
          Words(l.inputs, l.outputs, 4, [&](int64_t k, int64_t n) { return code(place(n), k); }));
    } else {
      const std::string by_output = Words(l.outputs, l.inputs, stored.bits, code);
      Add(module + ".qweight", "I32", {in_words, l.outputs},
          Transposed(by_output, l.outputs, in_words, 4));
      Add(module + ".g_idx", "I32", {l.inputs}, numbers);
    }
    const int less = stored.method == "gptq" ? 1 : 0;
    Add(module + ".qzeros", "I32", {l.groups, out_words},
        Words(l.groups, l.outputs, stored.bits,
              [&](int64_t g, int64_t n) { return zero(place(n), g) - less; }));
    Add(module + ".scales", type, {l.groups, l.outputs},
        Transposed(scales, l.outputs, l.groups, DTypeBytes(stored.scales)));
  }

  std::mt19937 random_;
};

}  // namespace octet::worker
