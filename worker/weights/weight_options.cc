// What is in a checkpoint, and in which formats its weights are to be kept.
#include <algorithm>
#include <array>
#include <optional>

#include "base/json/json.h"
#include "worker/model/families/families.h"
#include "worker/weights/float_rows.h"
#include "worker/weights/loader.h"
#include "worker/weights/stored_modules.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

using kernels::WeightFormat;

constexpr std::array<int64_t, 4> kGroups = {32, 64, 128, 256};
constexpr int64_t kWideHidden = 2048;

std::optional<WeightFormat> FormatNamed(const std::string& name) {
  if (name == "f32") return WeightFormat::kF32;
  if (name == "f16") return WeightFormat::kF16;
  if (name == "bf16") return WeightFormat::kBF16;
  if (name == "int8") return WeightFormat::kInt8;
  if (name == "int4") return WeightFormat::kInt4;
  return std::nullopt;
}

// The format asked for, or `automatic`.
Result<WeightFormat> Choose(const std::string& what, const std::string& name,
                            WeightFormat automatic) {
  if (name == "auto") return automatic;
  const std::optional<WeightFormat> format = FormatNamed(name);
  if (format.has_value()) return *format;
  return InvalidArgument(what + " format " + Quoted(name) +
                         " is not one of auto, f32, f16, bf16, int8, int4");
}

Status KeptAsStored(const std::string& what, const std::string& asked, const StoredTypes& stored) {
  return InvalidArgument(what + " format " + Quoted(asked) + ": the checkpoint stores " +
                         stored.quantization + ", which is kept as it is; expected \"auto\"");
}

}  // namespace

Status CheckTensors(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return StoredModules::Open(checkpoint, spec).status();
}

StoredTypes StoredTypesOf(const Checkpoint& checkpoint, const StoredModules& modules,
                          const ModelSpec& spec) {
  const TensorNames names = NamesOf(spec);
  StoredTypes stored;
  stored.embedding = *checkpoint.Find(names.embedding + ".weight")->info->dtype();
  stored.positions = spec.position_rows > 0
                         ? *checkpoint.Find(names.positions + ".weight")->info->dtype()
                         : stored.embedding;
  stored.head = stored.embedding;
  bool first = true;
  for (const LinearModule& module : modules.modules()) {
    if (modules.IsPacked(module.name)) continue;
    const DType dtype = *checkpoint.Find(module.name + ".weight")->info->dtype();
    if (module.kind == LinearKind::kHead) {
      stored.head = dtype;
      continue;
    }
    stored.layers = first || dtype == stored.layers ? dtype : DType::kF32;
    first = false;
  }
  stored.linears = modules.linears();
  if (modules.any_packed()) stored.quantization = modules.format()->config().Describe();
  return stored;
}

StoredTypes StoredTypesOf(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return StoredTypesOf(checkpoint, StoredModules::Open(checkpoint, spec).value(), spec);
}

StoredTypes StoredTypesOf(const std::optional<QuantizationConfig>& config, DType type) {
  StoredTypes stored = {.layers = type, .head = type, .embedding = type};
  if (!config.has_value()) return stored;
  const KeptLinear kept = KeptOf(*config, type == DType::kF16);
  StoredLinears& linears = stored.linears;
  linears.format = kept.format;
  linears.ordered_inputs = config->act_order;
  linears.qkv = linears.o = linears.gate_up = linears.down = kept;
  // The most that it takes: whether it is kept in runs, and how long they are, its groups decide.
  if (config->act_order) linears.o = {.format = WeightFormat::kF32};
  if (config->head) linears.head = kept;
  stored.quantization = config->Describe();
  return stored;
}

Result<WeightOptions> ResolveWeightOptions(const StoredTypes& stored, const ModelSpec& spec,
                                           const WeightRequest& request) {
  const bool is_quantized = stored.linears.has_layers();
  WeightOptions options;
  options.stored = stored.linears;
  OCTET_ASSIGN_OR_RETURN(options.layers,
                         Choose("weight", request.layers,
                                is_quantized ? stored.linears.format : FormatOf(stored.layers)));
  if (is_quantized && options.layers != stored.linears.format) {
    return KeptAsStored("weight", request.layers, stored);
  }
  const bool keeps_head = request.layers == "auto" || is_quantized;
  const WeightFormat head_kept = keeps_head ? FormatOf(stored.head) : options.layers;
  const bool makes_int8 = kernels::IsQuantized(options.layers) && !is_quantized;
  OCTET_ASSIGN_OR_RETURN(options.head,
                         Choose("head", request.head,
                                stored.linears.head.has_value() ? stored.linears.head->format
                                : makes_int8                    ? WeightFormat::kInt8
                                                                : head_kept));
  if (stored.linears.head.has_value() && options.head != stored.linears.head->format) {
    return KeptAsStored("head", request.head, stored);
  }
  options.embedding = stored.embedding;
  options.group = request.group != 0 ? request.group : spec.hidden >= kWideHidden ? 128 : 32;
  if (std::find(kGroups.begin(), kGroups.end(), options.group) == kGroups.end()) {
    return InvalidArgument("weight group of " + std::to_string(options.group) +
                           " inputs is not one of 32, 64, 128, 256 (or 0 for auto)");
  }
  return options;
}

Result<WeightOptions> ResolveWeightOptions(const Checkpoint& checkpoint, const ModelSpec& spec,
                                           const WeightRequest& request) {
  OCTET_ASSIGN_OR_RETURN(const StoredModules modules, StoredModules::Open(checkpoint, spec));
  return ResolveWeightOptions(StoredTypesOf(checkpoint, modules, spec), spec, request);
}

}  // namespace octet::worker
