// What config.json, or a file beside it, says of how a checkpoint is quantized. Text in, facts out:
// no tensor is read here. What would change the weights and is not read by a format of this folder
// is refused by name, never ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace octet::worker {

enum class QuantizationMethod : uint8_t {
  kGptq,
  kAwq,
  kPackQuantized,  // compressed-tensors
  kIntQuantized,   // compressed-tensors, int8 weights and activations
  kSmoothQuant,    // LMDeploy, likewise
  kQoq,            // QServe, converted by convert_qoq.py
};

struct QuantizationConfig {
  QuantizationMethod method = QuantizationMethod::kGptq;
  int64_t bits = 4;                 // 4 or 8
  int64_t group = 0;                // inputs that share a scale; 0: all inputs of a linear
  bool symmetric = false;           // every zero point is 2^(bits-1); false also where nobody says
  bool act_order = false;           // an input may belong to any group
  bool zero_less_one = false;       // GPTQ: zero points are stored less one ("gptq", not "gptq_v2")
  bool one_scale = false;           // int8: one for all of a matrix
  bool static_activations = false;  // int8: inputs have scales in the file
  bool head = false;                // the vocabulary head is quantized too, as far as the file says

  // "int4 GPTQ, group 128, act-order"
  std::string Describe() const;
};

inline constexpr int64_t kStoredGroupMin = 8;
inline constexpr int64_t kStoredGroupMax = 65536;

// The texts of a model's folder; the first that there is counts.
struct QuantizationTexts {
  std::optional<std::string> quantize_config;  // quantize_config.json
  std::optional<std::string> quant_config;     // quant_config.json
  std::string config;                          // config.json, for its key quantization_config
};

// Nothing for a checkpoint that is not quantized.
Result<std::optional<QuantizationConfig>> ReadQuantizationConfig(const QuantizationTexts& texts);

}  // namespace octet::worker
