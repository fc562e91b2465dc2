#include "worker/weights/formats/quantization_config.h"

#include <algorithm>
#include <cctype>

#include "base/json/json.h"
#include "worker/model/families/config_reader.h"

namespace octet::worker {
namespace {

Status NotRead(const ConfigReader& config, const std::string& key, const std::string& supported) {
  const nlohmann::json* found = config.Find(key);
  return Unimplemented(config.what() + ": key \"" + key + "\" is " +
                       (found == nullptr ? std::string("missing") : Shown(*found)) +
                       ", supported is " + supported);
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// The first of several names of one key that is there, or the first.
std::string AnyOf(const ConfigReader& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (config.Has(key)) return key;
  }
  return *keys.begin();
}

Status ReadBits(const ConfigReader& config, const std::string& key, bool has_int8,
                QuantizationConfig* to) {
  OCTET_ASSIGN_OR_RETURN(to->bits, config.Int(key, 1, 16));
  if (to->bits == 4 || (to->bits == 8 && has_int8)) return {};
  return NotRead(config, key, has_int8 ? "4 or 8" : "4");
}

// -1, as null for compressed-tensors, stands for all inputs.
Status ReadGroup(const ConfigReader& config, const std::string& key, QuantizationConfig* to) {
  OCTET_ASSIGN_OR_RETURN(const int64_t group, config.Int(key, INT64_MIN, INT64_MAX, 128));
  to->group = group == -1 ? 0 : group;
  if (group == -1 || (group >= kStoredGroupMin && group <= kStoredGroupMax && group % 8 == 0)) {
    return {};
  }
  return config.Unexpected(key, "-1 or a multiple of 8 in [" + std::to_string(kStoredGroupMin) +
                                    ", " + std::to_string(kStoredGroupMax) + "]");
}

// GPTQModel's overrides by module: a pattern that begins with "-:" leaves modules as they were,
// which their tensors tell by themselves; any other may change bits or groups.
Status CheckOverrides(const ConfigReader& config) {
  const nlohmann::json* dynamic = config.Find("dynamic");
  if (dynamic == nullptr) return {};
  if (!dynamic->is_object()) return config.Unexpected("dynamic", "an object");
  for (const auto& [pattern, overrides] : dynamic->items()) {
    if (pattern.rfind("-:", 0) == 0) continue;
    if (overrides.is_object() && overrides.empty()) continue;
    return Unimplemented(config.what() + ": key \"dynamic\" quantizes the modules " +
                         Quoted(pattern) + " in another way, supported is one way for all");
  }
  return {};
}

Result<QuantizationConfig> ReadGptq(const ConfigReader& config) {
  QuantizationConfig to;
  to.method = QuantizationMethod::kGptq;
  OCTET_RETURN_IF_ERROR(ReadBits(config, AnyOf(config, {"bits", "w_bit", "wbits"}), true, &to));
  OCTET_RETURN_IF_ERROR(ReadGroup(config, AnyOf(config, {"group_size", "q_group_size"}), &to));
  const std::string key = AnyOf(config, {"checkpoint_format", "format"});
  OCTET_ASSIGN_OR_RETURN(const std::string format, config.String(key, "gptq"));
  if (format != "gptq" && format != "gptq_v2") {
    return NotRead(config, key, "\"gptq\" or \"gptq_v2\"");
  }
  to.zero_less_one = format == "gptq";
  OCTET_ASSIGN_OR_RETURN(const bool marlin, config.Bool("is_marlin_format", false));
  if (marlin) return NotRead(config, "is_marlin_format", "false");
  OCTET_ASSIGN_OR_RETURN(const std::string word, config.String("pack_dtype", "int32"));
  if (word != "int32") return NotRead(config, "pack_dtype", "\"int32\"");
  OCTET_RETURN_IF_ERROR(CheckOverrides(config));
  OCTET_ASSIGN_OR_RETURN(to.symmetric, config.Bool("sym", false));
  OCTET_ASSIGN_OR_RETURN(to.act_order, config.Bool("desc_act", false));
  OCTET_ASSIGN_OR_RETURN(to.head, config.Bool("lm_head", false));
  return to;
}

Result<QuantizationConfig> ReadAwq(const ConfigReader& config) {
  QuantizationConfig to;
  to.method = QuantizationMethod::kAwq;
  OCTET_RETURN_IF_ERROR(ReadBits(config, AnyOf(config, {"bits", "w_bit"}), false, &to));
  OCTET_RETURN_IF_ERROR(ReadGroup(config, AnyOf(config, {"group_size", "q_group_size"}), &to));
  const std::string key = AnyOf(config, {"version", "format"});
  OCTET_ASSIGN_OR_RETURN(const std::string version, config.String(key, "gemm"));
  if (Lower(version) != "gemm") return NotRead(config, key, "\"gemm\"");
  OCTET_ASSIGN_OR_RETURN(const std::string backend, config.String("backend", "autoawq"));
  if (Lower(backend) != "autoawq") return NotRead(config, "backend", "\"autoawq\"");
  OCTET_ASSIGN_OR_RETURN(const bool zero_point, config.Bool("zero_point", true));
  if (!zero_point) return NotRead(config, "zero_point", "true");
  return to;
}

// The one entry of config_groups.
Result<ConfigReader> OnlyGroup(const ConfigReader& config) {
  OCTET_ASSIGN_OR_RETURN(const ConfigReader groups, config.Object("config_groups"));
  const nlohmann::json& found = *config.Find("config_groups");
  if (found.size() != 1) {
    return Unimplemented(groups.what() + ": has " + std::to_string(found.size()) +
                         " entries, supported is one way for all modules");
  }
  return groups.Object(found.begin().key());
}

Status ReadStrategy(const ConfigReader& weights, QuantizationConfig* to) {
  OCTET_ASSIGN_OR_RETURN(const std::string strategy, weights.String("strategy", ""));
  if (strategy == "group") {
    if (!weights.Has("group_size")) return weights.Unexpected("group_size", "a number");
    return ReadGroup(weights, "group_size", to);
  }
  if (strategy != "channel") return NotRead(weights, "strategy", "\"group\" or \"channel\"");
  to->group = 0;
  return {};
}

// int8 weights whose inputs are int8 too. Inputs are quantized here by scales of their own, so that
// what the file says of them is checked and not taken.
Result<QuantizationConfig> ReadIntQuantized(const ConfigReader& group) {
  QuantizationConfig to;
  to.method = QuantizationMethod::kIntQuantized;
  OCTET_ASSIGN_OR_RETURN(const ConfigReader weights, group.Object("weights"));
  OCTET_ASSIGN_OR_RETURN(const std::string type, weights.String("type", "int"));
  if (type != "int") return NotRead(weights, "type", "\"int\"");
  OCTET_ASSIGN_OR_RETURN(to.bits, weights.Int("num_bits", 1, 16));
  if (to.bits != 8) return NotRead(weights, "num_bits", "8");
  OCTET_ASSIGN_OR_RETURN(const std::string strategy, weights.String("strategy", ""));
  if (strategy != "channel" && strategy != "tensor") {
    return NotRead(weights, "strategy", "\"channel\" or \"tensor\"");
  }
  to.one_scale = strategy == "tensor";
  OCTET_ASSIGN_OR_RETURN(to.symmetric, weights.Bool("symmetric", true));
  if (group.Has("output_activations")) return NotRead(group, "output_activations", "null");
  if (!group.Has("input_activations")) return to;
  OCTET_ASSIGN_OR_RETURN(const ConfigReader inputs, group.Object("input_activations"));
  OCTET_ASSIGN_OR_RETURN(const std::string input_type, inputs.String("type", "int"));
  if (input_type != "int") return NotRead(inputs, "type", "\"int\"");
  OCTET_ASSIGN_OR_RETURN(const int64_t input_bits, inputs.Int("num_bits", 1, 16));
  if (input_bits != 8) return NotRead(inputs, "num_bits", "8");
  OCTET_ASSIGN_OR_RETURN(const bool dynamic, inputs.Bool("dynamic", false));
  to.static_activations = !dynamic;
  return to;
}

Result<QuantizationConfig> ReadSmoothQuant(const ConfigReader& config) {
  QuantizationConfig to;
  to.method = QuantizationMethod::kSmoothQuant;
  to.bits = 8;
  to.symmetric = true;
  OCTET_ASSIGN_OR_RETURN(const std::string type, config.String("quant_dtype", "int8"));
  if (type != "int8") return NotRead(config, "quant_dtype", "\"int8\"");
  return to;
}

Result<QuantizationConfig> ReadQoq(const ConfigReader& config) {
  QuantizationConfig to;
  to.method = QuantizationMethod::kQoq;
  OCTET_ASSIGN_OR_RETURN(const int64_t group, config.Int("group_size", -1, kStoredGroupMax));
  if (group != -1 && group != 128) return NotRead(config, "group_size", "-1 or 128");
  to.group = group == -1 ? 0 : group;
  return to;
}

Result<QuantizationConfig> ReadCompressedTensors(const ConfigReader& config) {
  QuantizationConfig to;
  to.method = QuantizationMethod::kPackQuantized;
  OCTET_ASSIGN_OR_RETURN(const ConfigReader group, OnlyGroup(config));
  const ConfigReader& holder = group.Has("format") ? group : config;
  OCTET_ASSIGN_OR_RETURN(const std::string format, holder.String("format", ""));
  if (format == "int-quantized") return ReadIntQuantized(group);
  if (format != "pack-quantized") {
    return NotRead(holder, "format", "\"pack-quantized\" or \"int-quantized\"");
  }
  for (const char* key : {"input_activations", "output_activations"}) {
    if (group.Has(key)) return NotRead(group, key, "null");
  }
  OCTET_ASSIGN_OR_RETURN(const ConfigReader weights, group.Object("weights"));
  OCTET_ASSIGN_OR_RETURN(const std::string type, weights.String("type", "int"));
  if (type != "int") return NotRead(weights, "type", "\"int\"");
  OCTET_RETURN_IF_ERROR(ReadBits(weights, "num_bits", true, &to));
  OCTET_RETURN_IF_ERROR(ReadStrategy(weights, &to));
  OCTET_ASSIGN_OR_RETURN(to.symmetric, weights.Bool("symmetric", true));
  OCTET_ASSIGN_OR_RETURN(const bool dynamic, weights.Bool("dynamic", false));
  if (dynamic) return NotRead(weights, "dynamic", "false");
  const nlohmann::json* order = weights.Find("actorder");
  if (order == nullptr || *order == false) return to;
  // "static" and "weight" quantize in another order and store the same; true was once "group".
  to.act_order = *order == "group" || *order == "dynamic" || *order == true;
  if (to.act_order || *order == "weight" || *order == "static") return to;
  return NotRead(weights, "actorder", "null, \"group\" or \"weight\"");
}

Result<QuantizationConfig> ReadMethod(const ConfigReader& config) {
  const std::string key = AnyOf(config, {"quant_method", "method"});
  // Files that name no method are those of the first AutoGPTQ and AutoAWQ.
  const bool is_old_awq = config.Has("zero_point") || config.Has("q_group_size");
  OCTET_ASSIGN_OR_RETURN(const std::string method, config.String(key, is_old_awq ? "awq" : "gptq"));
  if (method == "gptq") return ReadGptq(config);
  if (method == "awq") return ReadAwq(config);
  if (method == "compressed-tensors") return ReadCompressedTensors(config);
  if (method == "smooth_quant") return ReadSmoothQuant(config);
  if (method == "qoq") return ReadQoq(config);
  return NotRead(config, key,
                 "\"gptq\", \"awq\", \"compressed-tensors\", \"smooth_quant\" or \"qoq\"");
}

Result<nlohmann::json> ParseObject(const std::string& text, const std::string& what) {
  OCTET_ASSIGN_OR_RETURN(nlohmann::json value, ParseJson(text, what));
  if (!value.is_object()) return InvalidArgument(what + ": is " + Shown(value) + ", not an object");
  return value;
}

}  // namespace

std::string QuantizationConfig::Describe() const {
  static constexpr const char* kNames[] = {
      "GPTQ", "AWQ", "compressed-tensors", "compressed-tensors W8A8", "smooth_quant", "QoQ"};
  std::string text = "int" + std::to_string(bits) + " " + kNames[static_cast<int>(method)];
  if (one_scale) return text + ", one scale per matrix";
  text += group == 0 ? std::string(", one group per output") : ", group " + std::to_string(group);
  if (!symmetric) text += ", zero points";
  if (act_order) text += ", act-order";
  return text;
}

Result<std::optional<QuantizationConfig>> ReadQuantizationConfig(const QuantizationTexts& texts) {
  for (const auto& [text, name] : {std::pair{&texts.quantize_config, "quantize_config.json"},
                                   std::pair{&texts.quant_config, "quant_config.json"}}) {
    if (!text->has_value()) continue;
    OCTET_ASSIGN_OR_RETURN(const nlohmann::json object, ParseObject(**text, name));
    OCTET_ASSIGN_OR_RETURN(const QuantizationConfig config, ReadMethod(ConfigReader(object, name)));
    return std::optional(config);
  }
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json object, ParseObject(texts.config, "config.json"));
  const ConfigReader whole(object, "config.json");
  const char* key = "quantization_config";
  if (!whole.Has(key)) return std::optional<QuantizationConfig>();
  OCTET_ASSIGN_OR_RETURN(const ConfigReader inner, whole.Object(key));
  // compressed-tensors says nothing of weights where the KV cache alone is quantized.
  const nlohmann::json* groups = inner.Find("config_groups");
  const bool none = groups == nullptr || (groups->is_object() && groups->empty());
  if (none && inner.Has("kv_cache_scheme")) return std::optional<QuantizationConfig>();
  OCTET_ASSIGN_OR_RETURN(const QuantizationConfig config, ReadMethod(inner));
  return std::optional(config);
}

}  // namespace octet::worker
