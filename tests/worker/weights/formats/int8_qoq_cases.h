// A small model whose linears are int8 or QoQ, written one value at a time from the formats'
// specifications, and the same weights in f32.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_folder.h"
#include "worker/model/families/families.h"
#include "worker/weights/stored_modules.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker::int8_qoq {

using nlohmann::json;
using test::StoredTensor;

// QoQ wants multiples of 32, and of 128 where there are groups. It splits eight ways.
inline json Config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 128},
          {"intermediate_size", 1152},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 2},
          {"head_dim", 32},
          {"vocab_size", 600},
          {"max_position_embeddings", 128},
          {"tie_word_embeddings", false}};
}

// How linears are stored: what config.json says, and how a module is written. `weights` [outputs,
// inputs] is filled with what the tensors stand for.
struct Format {
  std::string name;
  json quantization;
  std::function<std::vector<StoredTensor>(const LinearModule& module, std::mt19937& random,
                                          std::vector<float>* weights)>
      write;
};

inline std::string Bytes(const std::vector<int8_t>& values) {
  return {values.begin(), values.end()};
}

inline float F16Of(float value) { return F16ToFloat(FloatToF16(value)); }

// `type` of the scales.
inline Format Int8(const std::string& strategy, bool symmetric, bool is_static, DType type) {
  const bool one = strategy == "tensor";
  json inputs = {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"dynamic", !is_static}};
  json weights = {
      {"num_bits", 8}, {"type", "int"}, {"symmetric", symmetric}, {"strategy", strategy}};
  const auto write = [=](const LinearModule& m, std::mt19937& random, std::vector<float>* out) {
    const int64_t scale_count = one ? 1 : m.outputs;
    std::vector<float> scales;
    std::vector<int8_t> zeros, codes;
    for (int64_t i = 0; i < scale_count; ++i) {
      const float scale = 0.0005f + 1e-6f * static_cast<float>(random() % 1000);
      scales.push_back(type == DType::kBF16 ? BF16ToFloat(FloatToBF16(scale)) : F16Of(scale));
      zeros.push_back(static_cast<int8_t>(symmetric ? 0 : static_cast<int>(random() % 256) - 128));
    }
    for (int64_t i = 0; i < m.outputs * m.inputs; ++i) {
      codes.push_back(static_cast<int8_t>(static_cast<int>(random() % 256) - 128));
      const int64_t of = one ? 0 : i / m.inputs;
      out->push_back(static_cast<float>(codes.back() - zeros[of]) * scales[of]);
    }
    const std::vector<int64_t> of_scale =
        one ? std::vector<int64_t>{1} : std::vector<int64_t>{m.outputs, 1};
    std::vector<StoredTensor> tensors = {
        {m.name + ".weight", "I8", {m.outputs, m.inputs}, Bytes(codes)},
        {m.name + ".weight_scale", std::string(DTypeName(type)), of_scale,
         test::StoredBytes(type, scales)}};
    if (!symmetric)
      tensors.push_back({m.name + ".weight_zero_point", "I8", of_scale, Bytes(zeros)});
    if (is_static) {
      tensors.push_back(
          {m.name + ".input_scale", "F32", {1}, test::StoredBytes(DType::kF32, {0.05f})});
    }
    return tensors;
  };
  return {"int-quantized " + strategy + (symmetric ? "" : ", zero points") +
              (is_static ? ", static" : ""),
          {{"quant_method", "compressed-tensors"},
           {"format", "int-quantized"},
           {"config_groups",
            {{"group_0",
              {{"targets", {"Linear"}}, {"weights", weights}, {"input_activations", inputs}}}}}},
          write};
}

inline Format SmoothQuant() {
  Format format = Int8("channel", true, false, DType::kF16);
  format.name = "smooth_quant";
  format.quantization = {{"quant_method", "smooth_quant"}, {"quant_dtype", "int8"}};
  const auto write = format.write;
  format.write = [write](const LinearModule& m, std::mt19937& random, std::vector<float>* out) {
    std::vector<StoredTensor> tensors = write(m, random, out);
    tensors[1].name = m.name + ".scale";
    return tensors;
  };
  return format;
}

// Codes [outputs, inputs] in the order in which the format's packer walks: tiles of 32 by 32, and
// in a tile (output % 8, input / 4 % 4, input / 16, output / 8 % 2, input % 4); outputs 16 apart
// share a byte.
inline std::string QoqTiles(const LinearModule& m, const std::vector<int>& codes) {
  std::string bytes;
  for (int64_t n = 0; n < m.outputs; n += 32) {
    for (int64_t k = 0; k < m.inputs; k += 32) {
      for (int c = 0; c < 8; ++c) {
        for (int e = 0; e < 4; ++e) {
          for (int d = 0; d < 2; ++d) {
            for (int b = 0; b < 2; ++b) {
              for (int f = 0; f < 4; ++f) {
                const int64_t at = (n + b * 8 + c) * m.inputs + k + d * 16 + e * 4 + f;
                bytes += static_cast<char>(codes[at] | codes[at + 16 * m.inputs] << 4);
              }
            }
          }
        }
      }
    }
  }
  return bytes;
}

inline StoredTensor QoqCodes(const LinearModule& m, const std::vector<int>& codes) {
  return {m.name + ".qweight", "I8", {m.outputs / 32, m.inputs * 16}, QoqTiles(m, codes)};
}

inline Format QoqChannel() {
  const auto write = [](const LinearModule& m, std::mt19937& random, std::vector<float>* out) {
    std::vector<float> scales, zeros;
    std::vector<int> codes;
    for (int64_t n = 0; n < m.outputs; ++n) {
      scales.push_back(F16Of(0.01f + 1e-5f * static_cast<float>(random() % 1000)));
      zeros.push_back(F16Of(scales.back() * static_cast<float>(random() % 16)));
    }
    for (int64_t i = 0; i < m.outputs * m.inputs; ++i) {
      codes.push_back(static_cast<int>(random() % 16));
      const int64_t n = i / m.inputs;
      out->push_back(static_cast<float>(codes.back()) * scales[n] - zeros[n]);
    }
    return std::vector<StoredTensor>{
        QoqCodes(m, codes),
        {m.name + ".s1_scales", "F16", {m.outputs}, test::StoredBytes(DType::kF16, scales)},
        {m.name + ".s1_szeros", "F16", {m.outputs}, test::StoredBytes(DType::kF16, zeros)}};
  };
  return {"qoq channel", {{"quant_method", "qoq"}, {"group_size", -1}}, write};
}

// The int8 weight of a code, as the format's kernel computes it: modulo 256, then signed.
inline int QoqInt8(int code, int step, int8_t zero) {
  return static_cast<int8_t>(static_cast<uint8_t>(code * step + zero));
}

inline Format QoqGroups() {
  const auto write = [](const LinearModule& m, std::mt19937& random, std::vector<float>* out) {
    const int64_t groups = m.inputs / 128;
    std::vector<float> scales;
    std::vector<int> codes(m.outputs * m.inputs);
    std::vector<int8_t> steps(groups * m.outputs), zeros(groups * m.outputs);
    for (int64_t n = 0; n < m.outputs; ++n) {
      scales.push_back(F16Of(0.001f + 1e-6f * static_cast<float>(random() % 1000)));
    }
    out->resize(codes.size());
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t p = 0; p < m.outputs; ++p) {  // position p of a tile holds its output
        const int64_t n = p / 32 * 32 + p % 4 * 8 + p % 32 / 4;
        const int step = 1 + static_cast<int>(random() % 17);
        // A zero point from 0 to 15 that leaves some codes within 8 bits; stored less itself times
        // the step, modulo 256.
        const int zero = static_cast<int>(random() % 16);
        const int least = std::max(0, zero - 128 / step);
        const int most = std::min(15, zero + 127 / step);
        steps[g * m.outputs + p] = static_cast<int8_t>(step);
        zeros[g * m.outputs + p] = static_cast<int8_t>(static_cast<uint8_t>(-zero * step));
        for (int64_t k = g * 128; k < (g + 1) * 128; ++k) {
          const int code = least + static_cast<int>(random() % (most - least + 1));
          codes[n * m.inputs + k] = code;
          const int value = QoqInt8(code, step, zeros[g * m.outputs + p]);
          EXPECT_EQ(value, (code - zero) * step);
          (*out)[n * m.inputs + k] = static_cast<float>(value) * scales[n];
        }
      }
    }
    return std::vector<StoredTensor>{
        QoqCodes(m, codes),
        {m.name + ".s1_scales", "F16", {m.outputs}, test::StoredBytes(DType::kF16, scales)},
        {m.name + ".s2_scales", "I8", {groups, m.outputs}, Bytes(steps)},
        {m.name + ".s2_zeros", "I8", {groups, m.outputs}, Bytes(zeros)}};
  };
  return {"qoq groups", {{"quant_method", "qoq"}, {"group_size", 128}}, write};
}

inline std::vector<Format> Formats() {
  return {Int8("channel", true, false, DType::kF32),
          Int8("channel", true, true, DType::kBF16),
          Int8("channel", false, false, DType::kF16),
          Int8("tensor", true, true, DType::kF32),
          SmoothQuant(),
          QoqChannel(),
          QoqGroups()};
}

// One model twice: as the format has it, and the same weights as f32.
class Made {
 public:
  explicit Made(const Format& format) : spec(*SpecFromConfig(Config().dump())) {
    std::map<std::string, LinearModule> modules;
    for (const LinearModule& module : LinearModulesOf(spec)) {
      if (module.kind != LinearKind::kHead) modules[module.name + ".weight"] = module;
    }
    std::mt19937 random(7);
    for (const ExpectedTensor& tensor : ExpectedTensors(spec)) {
      const std::vector<int64_t> shape = tensor.cols > 0
                                             ? std::vector<int64_t>{tensor.rows, tensor.cols}
                                             : std::vector<int64_t>{tensor.rows};
      std::vector<float> values;
      const auto module = modules.find(tensor.name);
      if (module != modules.end()) {
        for (StoredTensor& part : format.write(module->second, random, &values)) {
          tensors.push_back(std::move(part));
        }
      } else {
        for (int64_t i = 0; i < tensor.rows * std::max<int64_t>(1, tensor.cols); ++i) {
          values.push_back(static_cast<float>(random() % 2000) / 8000.0f - 0.125f);
        }
        tensors.push_back({tensor.name, "F32", shape, test::StoredBytes(DType::kF32, values)});
      }
      floats_.push_back({tensor.name, "F32", shape, test::StoredBytes(DType::kF32, values)});
    }
    float_folder.Write("config.json", Config().dump());
    float_folder.Write("model.safetensors", test::Safetensors(floats_));
    config = Config();
    config["quantization_config"] = format.quantization;
  }
  void Write() const {
    folder.Write("config.json", config.dump());
    folder.Write("model.safetensors", test::Safetensors(tensors));
  }
  StoredTensor& Tensor(const std::string& name) {
    for (StoredTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }

  test::TempFolder folder;
  test::TempFolder float_folder;
  ModelSpec spec;
  json config;
  std::vector<StoredTensor> tensors;

 private:
  std::vector<StoredTensor> floats_;
};

}  // namespace octet::worker::int8_qoq
