#include "worker/weights/stored_modules.h"

#include <algorithm>
#include <set>

#include "base/json/json.h"
#include "worker/model/families/families.h"
#include "worker/weights/float_rows.h"
#include "worker/weights/static_kv_scales.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {
namespace {

constexpr char kWeight[] = ".weight";
constexpr char kBias[] = ".bias";

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string ShapeText(const std::vector<int64_t>& dims) {
  std::string text = "[";
  for (const int64_t dim : dims) text += (text.size() == 1 ? "" : ", ") + std::to_string(dim);
  return text + "]";
}

std::string TypesText(const std::vector<DType>& types) {
  std::string text;
  for (size_t i = 0; i < types.size(); ++i) {
    text += i == 0 ? "" : i + 1 == types.size() ? " and " : ", ";
    text += DTypeName(types[i]);
  }
  return text;
}

// What a tensor must be; the message says `source` asked for it.
Status CheckTensor(const Checkpoint& checkpoint, const std::string& name,
                   const StoredTensorSpec& spec, const std::string& source) {
  const Checkpoint::Tensor* found = checkpoint.Find(name);
  if (found == nullptr) {
    if (!spec.required) return {};
    return NotFound("tensor " + Quoted(name) + " of shape " + ShapeText(spec.dims) +
                    " is missing from the checkpoint");
  }
  const TensorInfo& info = *found->info;
  const std::string what = checkpoint.FileOf(*found) + ": tensor " + Quoted(name) + ": ";
  if (info.rank != static_cast<int64_t>(spec.dims.size()) ||
      !std::equal(spec.dims.begin(), spec.dims.end(), info.dims.begin())) {
    return DataLoss(what + "shape " + info.shape_text() + ", expected " + ShapeText(spec.dims) +
                    " by " + source);
  }
  const bool is_read = info.dtype().has_value() && std::find(spec.types.begin(), spec.types.end(),
                                                             *info.dtype()) != spec.types.end();
  if (is_read) return {};
  return Unimplemented(what + "type " + std::string(info.type_name()) + ", supported are " +
                       TypesText(spec.types));
}

const std::vector<DType> kFloatTypes = {DType::kF32, DType::kF16, DType::kBF16};

// Tensors that carry nothing: tables that are computed, and the head that a tied model does not
// use.
bool IsIgnored(const std::string& name, const ModelSpec& spec) {
  if (EndsWith(name, "rotary_emb.inv_freq")) return true;
  if (IsKvScaleTensor(name)) return true;  // read where they are asked for
  return spec.tied_embeddings && name == NamesOf(spec).head + kWeight;
}

// A tied model's head, where the file has one all the same, is the embedding: some rows of both are
// compared, first and last among them.
Status CheckTiedHead(const Checkpoint& checkpoint, const ModelSpec& spec) {
  constexpr int64_t kRowsCompared = 64;
  if (!spec.tied_embeddings) return {};
  const TensorNames names = NamesOf(spec);
  const std::string head_name = names.head + kWeight, table_name = names.embedding + kWeight;
  const Checkpoint::Tensor* head = checkpoint.Find(head_name);
  const Checkpoint::Tensor* table = checkpoint.Find(table_name);
  if (head == nullptr || table == nullptr) return {};
  const Status differs = FailedPrecondition(
      "config.json says tie_word_embeddings, but tensor " + Quoted(head_name) + " is not " +
      Quoted(table_name) + "; set tie_word_embeddings to false if the head counts");
  const TensorInfo &of_head = *head->info, &of_table = *table->info;
  if (of_head.dtype() != of_table.dtype() || of_head.shape_text() != of_table.shape_text() ||
      of_head.rank != 2 || !of_head.dtype().has_value()) {
    return differs;
  }
  const int64_t rows = of_head.dims[0], cols = of_head.dims[1];
  const int64_t row_bytes = cols * DTypeBytes(*of_head.dtype());
  std::vector<std::byte> a(row_bytes), b(row_bytes);
  for (int64_t i = 0; i < kRowsCompared; ++i) {
    const int64_t row = i * (rows - 1) / (kRowsCompared - 1);
    OCTET_RETURN_IF_ERROR(checkpoint.ReadRows(*head, {row, row + 1, 0, cols}, a.data()));
    OCTET_RETURN_IF_ERROR(checkpoint.ReadRows(*table, {row, row + 1, 0, cols}, b.data()));
    if (a != b) return differs;
  }
  return {};
}

// Whether all values of a tensor are zero.
Result<bool> IsZero(const Checkpoint& checkpoint, const Checkpoint::Tensor& tensor) {
  const TensorInfo& info = *tensor.info;
  if (info.rank != 1 || !info.dtype().has_value() || !IsFloat(*info.dtype())) return false;
  std::vector<std::byte> bytes(info.end - info.begin);
  OCTET_RETURN_IF_ERROR(checkpoint.ReadRows(tensor, {0, 1, 0, info.dims[0]}, bytes.data()));
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

std::vector<LinearModule> LinearModulesOf(const ModelSpec& spec) {
  const TensorNames names = NamesOf(spec);
  std::map<std::string, const ExpectedTensor*> by_name;
  const std::vector<ExpectedTensor> expected = ExpectedTensors(spec);
  for (const ExpectedTensor& tensor : expected) by_name[tensor.name] = &tensor;
  std::vector<LinearModule> modules;
  std::set<std::string> seen;
  const auto add = [&](const std::string& module, LinearKind kind, int64_t layer) {
    const auto found = by_name.find(module + kWeight);
    if (found == by_name.end() || !seen.insert(module).second) return;
    modules.push_back({module, kind, layer, found->second->rows, found->second->cols});
  };
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    for (const auto& [slot, kind] :
         {std::pair{&names.q, LinearKind::kQkv}, std::pair{&names.k, LinearKind::kQkv},
          std::pair{&names.v, LinearKind::kQkv}, std::pair{&names.o, LinearKind::kO},
          std::pair{&names.gate, LinearKind::kGateUp}, std::pair{&names.up, LinearKind::kGateUp},
          std::pair{&names.down, LinearKind::kDown}}) {
      add(OfLayer(slot->module, layer), kind, layer);
    }
  }
  if (!spec.tied_embeddings) add(names.head, LinearKind::kHead, 0);
  return modules;
}

std::string StoredTensorName(const std::string& module, const char* suffix) {
  return module + "." + suffix;
}

// Every module is stored in one way, and every tensor of it is as it must be.
Status StoredModules::CheckModules(const Checkpoint& checkpoint) {
  for (size_t i = 0; i < modules_.size() && format_ != nullptr; ++i) {
    const LinearModule& module = modules_[i];
    const std::vector<StoredTensorSpec> tensors = format_->Tensors(module.outputs, module.inputs);
    const std::string first = StoredTensorName(module.name, tensors[0].suffix);
    if (checkpoint.Find(first) == nullptr) continue;
    const bool has_weight = std::any_of(
        tensors.begin(), tensors.end(),
        [](const StoredTensorSpec& tensor) { return tensor.suffix == std::string_view("weight"); });
    if (!has_weight && checkpoint.Find(module.name + kWeight) != nullptr) {
      return DataLoss(checkpoint.FileOf(*checkpoint.Find(first)) + ": tensor " + Quoted(first) +
                      " is there beside " + Quoted(module.name + kWeight) +
                      ", expected one of them");
    }
    packed_[module.name] = static_cast<int64_t>(i);
    const std::string source = "config.json and " + format_->config().Describe();
    for (const StoredTensorSpec& tensor : tensors) {
      OCTET_RETURN_IF_ERROR(
          CheckTensor(checkpoint, StoredTensorName(module.name, tensor.suffix), tensor, source));
    }
    if (format_->GroupNumbers() == nullptr) continue;
    const StoredTensorSpec numbers = {
        format_->GroupNumbers(), {DType::kI32}, {module.inputs}, format_->config().act_order};
    OCTET_RETURN_IF_ERROR(
        CheckTensor(checkpoint, StoredTensorName(module.name, numbers.suffix), numbers, source));
  }
  return {};
}

Status StoredModules::CheckOtherTensors(const Checkpoint& checkpoint, const ModelSpec& spec) const {
  std::set<std::string> known;
  for (const ExpectedTensor& tensor : ExpectedTensors(spec)) {
    const bool is_weight = EndsWith(tensor.name, kWeight);
    const std::string module =
        is_weight ? tensor.name.substr(0, tensor.name.size() - sizeof kWeight + 1) : "";
    if (is_weight && IsPacked(module)) {
      for (const auto& part : format_->Tensors(tensor.rows, tensor.cols)) {
        known.insert(StoredTensorName(module, part.suffix));
      }
      if (const char* numbers = format_->GroupNumbers(); numbers != nullptr) {
        known.insert(StoredTensorName(module, numbers));
      }
      continue;
    }
    known.insert(tensor.name);
    for (const char* suffix : {".qweight", ".weight_packed"}) {
      const Checkpoint::Tensor* packed = checkpoint.Find(module + suffix);
      if (!is_weight || checkpoint.Find(tensor.name) != nullptr || packed == nullptr) continue;
      return InvalidArgument(checkpoint.FileOf(*packed) + ": tensor " + Quoted(packed->info->name) +
                             " is there in the place of " + Quoted(tensor.name) +
                             ", and no quantization config says how to " + "read it");
    }
    std::vector<int64_t> dims = {tensor.rows};
    if (tensor.cols > 0) dims.push_back(tensor.cols);
    OCTET_RETURN_IF_ERROR(
        CheckTensor(checkpoint, tensor.name, {"", kFloatTypes, dims}, "config.json"));
  }
  for (const Checkpoint::Tensor& found : checkpoint.tensors()) {
    const std::string& name = found.info->name;
    if (known.count(name) != 0 || IsIgnored(name, spec)) continue;
    // Some packers give every module a bias, of zeros where the model has none.
    if (EndsWith(name, kBias) && IsPacked(name.substr(0, name.size() - sizeof kBias + 1))) {
      OCTET_ASSIGN_OR_RETURN(const bool is_zero, IsZero(checkpoint, found));
      if (is_zero) continue;
    }
    return InvalidArgument(checkpoint.FileOf(found) + ": tensor " + Quoted(name) +
                           " is not part of " + spec.architecture +
                           " as config.json describes it; leaving it out would change the model");
  }
  return {};
}

// Parts of one linear, and the same linears of all layers, are stored in one way.
Status StoredModules::FindLinears(const Checkpoint& checkpoint) {
  const LinearModule* first[kLinearKinds] = {};
  bool has_f16_scales[kLinearKinds] = {};
  DType float_type[kLinearKinds] = {};
  bool any_layer = false;
  for (const LinearModule& module : modules_) {
    const auto kind = static_cast<size_t>(module.kind);
    const bool packed = IsPacked(module.name);
    if (packed && module.kind != LinearKind::kHead) any_layer = true;
    const bool is_first = first[kind] == nullptr;
    if (is_first) first[kind] = &module;
    if (packed != IsPacked(first[kind]->name)) {
      const std::string& one = packed ? module.name : first[kind]->name;
      const std::string& other = packed ? first[kind]->name : module.name;
      return Unimplemented("module " + Quoted(one) + " is quantized and " + Quoted(other) +
                           " is not; linears that are one here must be stored in one way");
    }
    const char* suffix =
        packed ? format_->Tensors(module.outputs, module.inputs)[format_->ScaleTensor()].suffix
               : "weight";
    const DType type = *checkpoint.Find(StoredTensorName(module.name, suffix))->info->dtype();
    has_f16_scales[kind] = (is_first || has_f16_scales[kind]) && type == DType::kF16;
    float_type[kind] = is_first || type == float_type[kind] ? type : DType::kF32;
  }
  if (packed_.empty()) return {};
  const QuantizationConfig& config = format_->config();
  linears_.format = KeptOf(config, true).format;
  std::optional<KeptLinear>* const places[] = {&linears_.qkv, &linears_.o, &linears_.gate_up,
                                               &linears_.down, &linears_.head};
  for (size_t kind = 0; kind < std::size(places); ++kind) {
    if (first[kind] == nullptr) continue;
    const bool is_head = static_cast<LinearKind>(kind) == LinearKind::kHead;
    if (IsPacked(first[kind]->name)) {
      *places[kind] = KeptOf(config, has_f16_scales[kind]);
    } else if (any_layer && !is_head) {
      *places[kind] = {.format = FormatOf(float_type[kind])};
    }
  }
  return {};
}

int64_t KeptGroup(int64_t stored_group) {
  constexpr int64_t kKernelGroup = 128;
  return stored_group % kKernelGroup == 0 ? kKernelGroup : stored_group;
}

KeptLinear KeptOf(const QuantizationConfig& config, bool has_f16_scales) {
  using enum kernels::ScaleFormat;
  return {.format = config.bits == 4 ? kernels::WeightFormat::kInt4 : kernels::WeightFormat::kInt8,
          .group = KeptGroup(config.group),
          .asymmetric = !config.symmetric,
          .scale_format = has_f16_scales && config.symmetric ? kF16 : kF32};
}

Result<StoredModules> StoredModules::Open(const Checkpoint& checkpoint, const ModelSpec& spec) {
  StoredModules stored;
  OCTET_ASSIGN_OR_RETURN(const std::optional<QuantizationConfig> config,
                         ReadQuantizationConfig(checkpoint.quantization()));
  if (config.has_value()) stored.format_ = MakeStoredFormat(*config);
  stored.modules_ = LinearModulesOf(spec);
  OCTET_RETURN_IF_ERROR(stored.CheckModules(checkpoint));
  if (config.has_value() && !stored.any_packed()) {
    return InvalidArgument("the quantization config says " + config->Describe() +
                           ", but no module has a tensor " +
                           Quoted(stored.format_->Tensors(8, 8)[0].suffix));
  }
  OCTET_RETURN_IF_ERROR(stored.CheckOtherTensors(checkpoint, spec));
  OCTET_RETURN_IF_ERROR(CheckTiedHead(checkpoint, spec));
  OCTET_RETURN_IF_ERROR(stored.FindLinears(checkpoint));
  if (!stored.any_packed()) return stored;
  OCTET_RETURN_IF_ERROR(stored.ReadGroupNumbers(checkpoint));
  const std::optional<KeptLinear> o = stored.linears_.o;
  OCTET_RETURN_IF_ERROR(stored.CheckOrders());
  // With act-order it became one of floats.
  if (o.has_value() && stored.linears_.o != o) stored.FindRuns(spec, *o);
  return stored;
}

}  // namespace octet::worker
