#include "worker/weights/static_kv_scales.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/dtype.h"
#include "base/json/json.h"
#include "worker/model/families/config_reader.h"
#include "worker/model/families/families.h"
#include "worker/weights/float_rows.h"

namespace octet::worker {
namespace {

constexpr int64_t kExportedRanksMax = 64;

// One layer's numbers as they are stored, before they are one pair for every head.
struct StoredPair {
  float scale = 0;
  float zero = 0;
};

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::string FileNameOf(int64_t layer, int64_t rank) {
  return "layers." + std::to_string(layer) + ".past_kv_scale." + std::to_string(rank) + ".weight";
}

// `what` names where the numbers come from.
Status Store(const std::string& what, const StoredPair& pair, uint16_t* out) {
  out[0] = FloatToF16(pair.scale);
  out[1] = FloatToF16(pair.zero);
  const float scale = F16ToFloat(out[0]);
  if (!std::isfinite(scale) || scale <= 0) {
    return DataLoss(what + ": a scale is " + std::to_string(pair.scale) +
                    ", expected a number from 2^-24 to 65504");
  }
  if (!std::isfinite(F16ToFloat(out[1]))) {
    return DataLoss(what + ": a zero point is " + std::to_string(pair.zero) +
                    ", expected a number of at most 65504");
  }
  return {};
}

// What config.json says of the scales that are tensors.
Status CheckScheme(const Checkpoint& checkpoint) {
  OCTET_ASSIGN_OR_RETURN(const nlohmann::json config,
                         ParseJson(checkpoint.config_json(), "config.json"));
  const ConfigReader top(config, "config.json");
  const std::string missing =
      "config.json: has no quantization_config with a kv_cache_scheme, which says what the "
      "checkpoint's KV scales are for; --kv int8 takes a scale for every token";
  if (!top.Has("quantization_config")) return InvalidArgument(missing);
  OCTET_ASSIGN_OR_RETURN(const ConfigReader quantization, top.Object("quantization_config"));
  if (!quantization.Has("kv_cache_scheme")) return InvalidArgument(missing);
  OCTET_ASSIGN_OR_RETURN(const ConfigReader scheme, quantization.Object("kv_cache_scheme"));
  OCTET_ASSIGN_OR_RETURN(const std::string type, scheme.String("type", "int"));
  if (type == "float") {
    return Unimplemented(scheme.what() +
                         ": key \"type\" is \"float\": these KV scales are for an fp8 cache, "
                         "and an int8 cache needs others; --kv int8 takes a scale for every token");
  }
  if (type != "int") return scheme.Unexpected("type", "\"int\"");
  OCTET_ASSIGN_OR_RETURN(const int64_t bits, scheme.Int("num_bits", 1, 64, 8));
  if (bits != 8) return scheme.Unexpected("num_bits", "8");
  OCTET_ASSIGN_OR_RETURN(const bool symmetric, scheme.Bool("symmetric", true));
  if (!symmetric) return scheme.Unexpected("symmetric", "true");
  if (scheme.Has("dynamic")) {
    OCTET_ASSIGN_OR_RETURN(const bool dynamic, scheme.Bool("dynamic", false));
    if (dynamic) return scheme.Unexpected("dynamic", "false");
  }
  return {};
}

class Reader {
 public:
  Reader(const Checkpoint& checkpoint, const ModelSpec& spec)
      : checkpoint_(checkpoint),
        spec_(spec),
        k_module_(NamesOf(spec).k.module),
        v_module_(NamesOf(spec).v.module),
        attention_(k_module_.substr(0, k_module_.rfind('.'))) {}

  Result<StaticKvScales> Read() {
    scales_.pairs.resize(static_cast<size_t>(spec_.layers * spec_.kv_heads * 4));
    const bool has_files = checkpoint_.HasFile(FileNameOf(0, 0));
    if (FindTensor(0, 0) != nullptr && has_files) {
      return InvalidArgument("the checkpoint has static KV scales twice, in tensor " +
                             Quoted(FindTensor(0, 0)->info->name) + " and in " + FileNameOf(0, 0));
    }
    OCTET_RETURN_IF_ERROR(has_files ? ReadFiles() : ReadTensors());
    return std::move(scales_);
  }

 private:
  uint16_t* PairOf(int64_t layer, int64_t head, int which) {
    return scales_.pairs.data() + ((layer * spec_.kv_heads + head) * 2 + which) * 2;
  }

  // Of the keys (0) or values (1) of a layer; null where there is none.
  const Checkpoint::Tensor* FindTensor(int64_t layer, int which) const {
    const std::string attention = OfLayer(attention_, layer);
    const std::string module = OfLayer(which == 0 ? k_module_ : v_module_, layer);
    for (const std::string& name : {attention + (which == 0 ? ".k_scale" : ".v_scale"),
                                    module + ".output_scale", attention + ".kv_scale"}) {
      const Checkpoint::Tensor* found = checkpoint_.Find(name);
      if (found != nullptr) return found;
    }
    return nullptr;
  }

  Status ReadTensors() {
    if (FindTensor(0, 0) == nullptr) {
      return NotFound("--kv int8-static takes KV scales from the checkpoint, which has neither " +
                      Quoted(OfLayer(attention_, 0) + ".k_scale") + " nor a file " +
                      FileNameOf(0, 0) + "; --kv int8 needs none");
    }
    OCTET_RETURN_IF_ERROR(CheckScheme(checkpoint_));
    for (int64_t layer = 0; layer < spec_.layers; ++layer) {
      for (int which = 0; which < 2; ++which) OCTET_RETURN_IF_ERROR(ReadTensor(layer, which));
    }
    return {};
  }

  Status ReadTensor(int64_t layer, int which) {
    const Checkpoint::Tensor* tensor = FindTensor(layer, which);
    if (tensor == nullptr) {
      return NotFound(
          "tensor " + Quoted(OfLayer(attention_, layer) + (which == 0 ? ".k_scale" : ".v_scale")) +
          " is missing from the checkpoint, which has static KV scales for other layers");
    }
    const TensorInfo& info = *tensor->info;
    const std::string what = checkpoint_.FileOf(*tensor) + ": tensor " + Quoted(info.name);
    if (!info.dtype().has_value() || !IsFloat(*info.dtype())) {
      return Unimplemented(what + ": type " + std::string(info.type_name()) +
                           ", supported are F32, F16 and BF16");
    }
    int64_t count = 1;
    for (int64_t i = 0; i < info.rank; ++i) count *= info.dims[i];
    if (count != 1 && count != spec_.kv_heads) {
      return DataLoss(what + ": shape " + info.shape_text() + ", expected one number or one for " +
                      "each of " + std::to_string(spec_.kv_heads) + " kv heads");
    }
    std::vector<std::byte> stored(static_cast<size_t>(info.end - info.begin));
    std::vector<float> values(static_cast<size_t>(count));
    OCTET_RETURN_IF_ERROR(checkpoint_.ReadWhole(*tensor, stored.data()));
    if (!AllFinite(*info.dtype(), stored.data(), count)) {
      return DataLoss(what + ": infinity or NaN");
    }
    ToFloats(*info.dtype(), stored.data(), count, values.data());
    for (int64_t head = 0; head < spec_.kv_heads; ++head) {
      const float scale = values[count == 1 ? 0 : head];
      OCTET_RETURN_IF_ERROR(Store(what, {.scale = scale}, PairOf(layer, head, which)));
    }
    return {};
  }

  Status ReadFiles() {
    int64_t ranks = 1;
    while (ranks < kExportedRanksMax && checkpoint_.HasFile(FileNameOf(0, ranks))) ++ranks;
    if (spec_.kv_heads % ranks != 0) {
      return InvalidArgument("files layers.0.past_kv_scale.*.weight are of " +
                             std::to_string(ranks) + " ranks, which " +
                             std::to_string(spec_.kv_heads) + " kv heads can not be dealt to");
    }
    for (int64_t layer = 0; layer < spec_.layers; ++layer) {
      for (int64_t rank = 0; rank < ranks; ++rank) {
        OCTET_RETURN_IF_ERROR(ReadFile(layer, rank, spec_.kv_heads / ranks));
      }
    }
    return {};
  }

  Status ReadFile(int64_t layer, int64_t rank, int64_t heads) {
    const std::string name = FileNameOf(layer, rank);
    OCTET_ASSIGN_OR_RETURN(const ReadOnlyFile file, checkpoint_.OpenFile(name));
    std::array<float, 4> numbers = {};
    if (file.bytes() != 8 && file.bytes() != 16) {
      return DataLoss(
          name + ": has " + std::to_string(file.bytes()) +
          " bytes, expected 16 (k scale, k zero, v scale, v zero as f32) or 8 (k scale, "
          "v scale)");
    }
    OCTET_RETURN_IF_ERROR(file.Read(0, file.bytes(), reinterpret_cast<std::byte*>(numbers.data())));
    if (file.bytes() == 8) numbers = {numbers[0], 0, numbers[1], 0};
    for (int64_t head = rank * heads; head < (rank + 1) * heads; ++head) {
      for (int which = 0; which < 2; ++which) {
        const StoredPair pair = {numbers[2 * which], numbers[2 * which + 1]};
        OCTET_RETURN_IF_ERROR(Store(name, pair, PairOf(layer, head, which)));
      }
    }
    return {};
  }

  const Checkpoint& checkpoint_;
  const ModelSpec& spec_;
  const std::string k_module_;
  const std::string v_module_;
  const std::string attention_;  // what the projections lie in
  StaticKvScales scales_;
};

}  // namespace

Result<StaticKvScales> ReadStaticKvScales(const Checkpoint& checkpoint, const ModelSpec& spec) {
  return Reader(checkpoint, spec).Read();
}

bool IsKvScaleTensor(std::string_view name) {
  for (const std::string_view end :
       {".k_scale", ".v_scale", ".kv_scale", ".k_zero_point", ".v_zero_point",
        ".k_proj.output_scale", ".v_proj.output_scale"}) {
    if (EndsWith(name, end)) return true;
  }
  return false;
}

std::string UnusedKvScales(const Checkpoint& checkpoint) {
  const auto& tensors = checkpoint.tensors();
  const bool has_tensors = std::any_of(
      tensors.begin(), tensors.end(),
      [](const Checkpoint::Tensor& tensor) { return IsKvScaleTensor(tensor.info->name); });
  if (!has_tensors && KvScaleFilesIdentity(checkpoint).empty()) return {};
  return "the checkpoint has static KV scales, which are not used: the cache takes a scale for "
         "every token and head, or --kv int8-static";
}

std::string DescribeKvScales(const Checkpoint& checkpoint, const ModelSpec& spec) {
  if (UnusedKvScales(checkpoint).empty()) return "none";
  const Result<StaticKvScales> scales = ReadStaticKvScales(checkpoint, spec);
  if (scales.ok()) return "static int8, taken with --kv int8-static";
  return "static, which can not be taken: " + scales.status().message();
}

std::string KvScaleFilesIdentity(const Checkpoint& checkpoint) {
  std::string text;
  for (int64_t layer = 0; layer < kLayersMax; ++layer) {
    for (int64_t rank = 0; rank < kExportedRanksMax; ++rank) {
      const Result<ReadOnlyFile> file = checkpoint.OpenFile(FileNameOf(layer, rank));
      if (!file.ok() && rank == 0) return text;
      if (!file.ok()) break;
      text += file->Identity() + "\n";
    }
  }
  return text;
}

}  // namespace octet::worker
