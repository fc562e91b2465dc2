// What is in a checkpoint, and in which formats its weights are to be kept.
#include <algorithm>
#include <array>
#include <optional>

#include "base/json/json.h"
#include "worker/model/families/families.h"
#include "worker/weights/float_rows.h"
#include "worker/weights/loader.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

using kernels::WeightFormat;

constexpr std::array<int64_t, 4> kGroups = {32, 64, 128, 256};
constexpr int64_t kWideHidden = 2048;

std::string ShapeText(const ExpectedTensor& tensor) {
  std::string text = "[";
  text += std::to_string(tensor.rows);
  if (tensor.cols > 0) text += ", " + std::to_string(tensor.cols);
  return text + "]";
}

Status CheckTensor(const Checkpoint& checkpoint, const ExpectedTensor& expected) {
  const Checkpoint::Tensor* found = checkpoint.Find(expected.name);
  if (found == nullptr) {
    return NotFound("tensor " + Quoted(expected.name) + " of shape " + ShapeText(expected) +
                    " is missing from the checkpoint");
  }
  const TensorInfo& info = *found->info;
  const std::string what = checkpoint.FileOf(*found) + ": tensor " + Quoted(expected.name) + ": ";
  const int64_t rank = expected.cols > 0 ? 2 : 1;
  if (info.rank != rank || info.dims[0] != expected.rows ||
      (rank == 2 && info.dims[1] != expected.cols)) {
    return DataLoss(what + "shape " + info.shape_text() + ", expected " + ShapeText(expected) +
                    " by config.json");
  }
  if (!info.dtype().has_value() || !IsFloat(*info.dtype())) {
    return Unimplemented(what + "type " + std::string(info.type_name()) +
                         ", supported are F32, F16 and BF16");
  }
  return {};
}

// Tensors that carry nothing: tables that are computed, and the head that a tied model does not
// use.
bool IsIgnored(const std::string& name, const ModelSpec& spec) {
  const std::string table = "rotary_emb.inv_freq";
  if (name.size() >= table.size() &&
      name.compare(name.size() - table.size(), table.size(), table) == 0) {
    return true;
  }
  return spec.tied_embeddings && name == NamesOf(spec).head + ".weight";
}

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

}  // namespace

Status CheckTensors(const Checkpoint& checkpoint, const ModelSpec& spec) {
  std::vector<ExpectedTensor> expected = ExpectedTensors(spec);
  for (const ExpectedTensor& tensor : expected) {
    OCTET_RETURN_IF_ERROR(CheckTensor(checkpoint, tensor));
  }
  const auto by_name = [](const auto& a, const auto& b) { return a.name < b.name; };
  std::sort(expected.begin(), expected.end(), by_name);
  for (const Checkpoint::Tensor& found : checkpoint.tensors()) {
    const ExpectedTensor wanted = {.name = found.info->name};
    if (std::binary_search(expected.begin(), expected.end(), wanted, by_name)) continue;
    if (IsIgnored(found.info->name, spec)) continue;
    return InvalidArgument(checkpoint.FileOf(found) + ": tensor " + Quoted(found.info->name) +
                           " is not part of " + spec.architecture +
                           " as config.json describes it; leaving it out would change the model");
  }
  return {};
}

StoredTypes StoredTypesOf(const Checkpoint& checkpoint, const ModelSpec& spec) {
  const TensorNames names = NamesOf(spec);
  const auto type_of = [&](const std::string& name) {
    return *checkpoint.Find(name)->info->dtype();
  };
  StoredTypes stored;
  stored.embedding = type_of(names.embedding + ".weight");
  stored.positions =
      spec.position_rows > 0 ? type_of(names.positions + ".weight") : stored.embedding;
  stored.head = spec.tied_embeddings ? stored.embedding : type_of(names.head + ".weight");
  bool first = true;
  for (const ExpectedTensor& tensor : ExpectedTensors(spec)) {
    if (!tensor.in_layer || tensor.cols == 0) continue;
    const DType dtype = type_of(tensor.name);
    stored.layers = first || dtype == stored.layers ? dtype : DType::kF32;
    first = false;
  }
  return stored;
}

Result<WeightOptions> ResolveWeightOptions(const StoredTypes& stored, const ModelSpec& spec,
                                           const WeightRequest& request) {
  WeightOptions options;
  OCTET_ASSIGN_OR_RETURN(options.layers, Choose("weight", request.layers, FormatOf(stored.layers)));
  const WeightFormat head_kept = request.layers == "auto" ? FormatOf(stored.head) : options.layers;
  const bool quantized = kernels::IsQuantized(options.layers);
  OCTET_ASSIGN_OR_RETURN(options.head,
                         Choose("head", request.head, quantized ? WeightFormat::kInt8 : head_kept));
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
  OCTET_RETURN_IF_ERROR(CheckTensors(checkpoint, spec));
  return ResolveWeightOptions(StoredTypesOf(checkpoint, spec), spec, request);
}

}  // namespace octet::worker
