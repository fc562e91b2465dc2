#include "worker/weights/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/json/json.h"

namespace octet::worker {
namespace {

struct ElementType {
  std::string_view name;
  int64_t bits;
  std::optional<DType> dtype;
};

// Every type of the format; those without a DType may lie in a file but are not read.
constexpr std::array<ElementType, 22> kElementTypes = {{
    {"F32", 32, DType::kF32},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"I8", 8, DType::kI8},
    {"U8", 8, DType::kU8},
    {"I32", 32, DType::kI32},
    {"I64", 64, DType::kI64},
    {"BOOL", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"U32", 32, {}},
    {"F64", 64, {}},
    {"U64", 64, {}},
    {"C64", 64, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
}};
constexpr int64_t kEntryBytesMin = 48;                    // the shortest text of one tensor, about
constexpr size_t kHeaderTokenBytesMax = size_t{8} << 20;  // __metadata__ may hold a whole config

// Follows the text one token at a time: object, tensor name, tensor object, its three keys.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderReader(std::string file_name, int64_t header_bytes) : file_name_(std::move(file_name)) {
    tensors_.reserve(std::min(header_bytes / kEntryBytesMin, kTensorsMax));
  }

  const Status& status() const { return status_; }
  std::vector<TensorInfo>& tensors() { return tensors_; }

  bool null() override { return Wrong("null"); }
  bool boolean(bool) override { return Wrong("true or false"); }
  bool number_integer(number_integer_t value) override {
    return Wrong("the negative number " + std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Wrong("the number " + Quoted(text));
  }
  bool binary(binary_t&) override { return Wrong("binary"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kShape && place_ != Place::kOffsets) return Wrong("a number");
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Wrong("the number " + std::to_string(value) + ", more than fits 63 bits");
    }
    const auto number = static_cast<int64_t>(value);
    if (place_ == Place::kShape) {
      if (tensor_.rank == kTensorRankMax) {
        return Fail("its shape has more than " + std::to_string(kTensorRankMax) + " dimensions");
      }
      tensor_.dims[tensor_.rank++] = number;
      return true;
    }
    if (offset_count_ == 2) return Fail("data_offsets has more than two numbers");
    (offset_count_++ == 0 ? tensor_.begin : tensor_.end) = number;
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kField || field_ != "dtype") return Wrong("the text " + Quoted(value));
    for (size_t i = 0; i < kElementTypes.size(); ++i) {
      if (kElementTypes[i].name != value) continue;
      tensor_.type = static_cast<uint8_t>(i);
      place_ = Place::kTensor;
      return true;
    }
    return Fail("dtype " + Quoted(value) + " is not known");
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::kFile) {
      place_ = Place::kNames;
      return true;
    }
    if (place_ != Place::kValue) return Wrong("an object");
    if (tensor_.name == "__metadata__") {
      if (has_metadata_) return Fail("is given twice");
      has_metadata_ = true;
      place_ = Place::kMetadata;
      return true;
    }
    place_ = Place::kTensor;
    fields_seen_ = 0;
    offset_count_ = 0;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      if (fields_seen_ != 7) return Fail("needs dtype, shape and data_offsets");
      if (static_cast<int64_t>(tensors_.size()) == kTensorsMax) {
        return Fail("is one too many: the limit is " + std::to_string(kTensorsMax) + " tensors");
      }
      tensors_.push_back(std::move(tensor_));
    }
    place_ = place_ == Place::kNames ? Place::kFile : Place::kNames;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kField || field_ == "dtype") return Wrong("an array");
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }
  bool end_array() override {
    if (place_ == Place::kOffsets && offset_count_ != 2) {
      return Fail("data_offsets needs two numbers");
    }
    place_ = Place::kTensor;
    return true;
  }

  bool key(string_t& name) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ == Place::kNames) {
      tensor_ = {};
      tensor_.name = name;
      place_ = Place::kValue;
      if (static_cast<int64_t>(name.size()) <= kTensorNameBytesMax) return true;
      return Fail("has a name of " + std::to_string(name.size()) + " bytes, the limit is " +
                  std::to_string(kTensorNameBytesMax));
    }
    const int bit = name == "dtype" ? 1 : name == "shape" ? 2 : name == "data_offsets" ? 4 : 0;
    if (bit == 0) return Fail("has the unknown key " + Quoted(name));
    if ((fields_seen_ & bit) != 0) return Fail("has the key " + Quoted(name) + " twice");
    fields_seen_ |= bit;
    field_ = name;
    place_ = Place::kField;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    status_ = DataLoss(
        file_name_ + ": the header is not valid JSON at its byte " + std::to_string(position) +
        (tensor_.name.empty() ? "" : ", in or after tensor " + Quoted(tensor_.name)));
    return false;
  }

 private:
  enum class Place { kFile, kNames, kValue, kMetadata, kTensor, kField, kShape, kOffsets };

  bool Fail(const std::string& what) {
    status_ = DataLoss(file_name_ + ": tensor " + Quoted(tensor_.name) + ": " + what);
    return false;
  }
  bool Wrong(const std::string& found) {
    if (place_ == Place::kFile || place_ == Place::kNames) {
      status_ = DataLoss(file_name_ + ": the header is " + found + ", not an object of tensors");
      return false;
    }
    const std::string where = place_ == Place::kMetadata ? "a value of __metadata__"
                              : place_ == Place::kValue  ? "the entry"
                                                         : field_;
    const std::string expected = place_ == Place::kMetadata ? "a text"
                                 : place_ == Place::kValue  ? "an object"
                                 : field_ == "dtype"        ? "a text"
                                                            : "a list of non-negative integers";
    return Fail(where + " is " + found + ", expected " + expected);
  }

  std::string file_name_;
  std::vector<TensorInfo> tensors_;
  Status status_;
  Place place_ = Place::kFile;
  TensorInfo tensor_;
  std::string field_;
  int fields_seen_ = 0;  // bits: dtype 1, shape 2, data_offsets 4
  int offset_count_ = 0;
  bool has_metadata_ = false;
};

// The parser keeps the token it reads, spaces before it included, several times over and in buffers
// that double: a header that is one string, one number or one gap would take far more than itself.
Status CheckTokens(std::string_view header, const std::string& file_name) {
  bool in_string = false;
  size_t begin = 0;
  for (size_t i = 0; i < header.size(); ++i) {
    const char c = header[i];
    if (i - begin >= kHeaderTokenBytesMax) {
      return DataLoss(file_name + ": the header has " +
                      (in_string ? "a string" : "a number or gap") + " of more than " +
                      std::to_string(kHeaderTokenBytesMax) + " bytes, which is the limit");
    }
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
      begin = i + 1;
    } else if (!in_string &&
               (c == ',' || c == ':' || c == '[' || c == ']' || c == '{' || c == '}')) {
      begin = i + 1;
    }
  }
  return {};
}

std::string RangeText(const TensorInfo& tensor) {
  std::string text = "[";
  text += std::to_string(tensor.begin) + ", " + std::to_string(tensor.end) + ")";
  return text;
}

Status CheckSize(const TensorInfo& tensor, const std::string& file_name) {
  const std::string what = file_name + ": tensor " + Quoted(tensor.name) + ": ";
  const ElementType& type = kElementTypes[tensor.type];
  const std::string shape = tensor.shape_text() + " of " + std::string(type.name);
  int64_t bits = type.bits;
  for (int64_t i = 0; i < tensor.rank; ++i) {
    if (__builtin_mul_overflow(bits, tensor.dims[i], &bits)) {
      return DataLoss(what + "the size of shape " + shape + " overflows 63 bits");
    }
  }
  if (bits % 8 != 0) return DataLoss(what + "shape " + shape + " is not a whole number of bytes");
  if (tensor.end - tensor.begin == bits / 8) return {};
  return DataLoss(what + "data_offsets " + RangeText(tensor) + " hold " +
                  std::to_string(tensor.end - tensor.begin) + " bytes, but shape " + shape +
                  " takes " + std::to_string(bits / 8));
}

// The tensors in the order of their bytes must follow one another from 0 to the end of the file.
Status CheckCover(const std::vector<TensorInfo>& tensors, int64_t data_bytes,
                  const std::string& file_name) {
  std::vector<int32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return std::pair(tensors[a].begin, tensors[a].end) <
           std::pair(tensors[b].begin, tensors[b].end);
  });
  int64_t next = 0;
  for (const int32_t i : order) {
    const TensorInfo& tensor = tensors[i];
    if (tensor.begin != next || tensor.end < tensor.begin || tensor.end > data_bytes) {
      return DataLoss(file_name + ": tensor " + Quoted(tensor.name) + ": data_offsets " +
                      RangeText(tensor) + " must begin at " + std::to_string(next) +
                      ", where the tensor before ends, and end inside the " +
                      std::to_string(data_bytes) + " bytes of data");
    }
    OCTET_RETURN_IF_ERROR(CheckSize(tensor, file_name));
    next = tensor.end;
  }
  if (next == data_bytes) return {};
  return DataLoss(file_name + ": " + std::to_string(data_bytes) +
                  " bytes follow the header, but its tensors cover " + std::to_string(next));
}

}  // namespace

std::string_view TensorInfo::type_name() const { return kElementTypes[type].name; }
std::optional<DType> TensorInfo::dtype() const { return kElementTypes[type].dtype; }

Result<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view header, int64_t data_bytes,
                                                       const std::string& file_name) {
  const size_t first = header.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || header[first] != '{') {
    return DataLoss(file_name + ": the header does not begin with '{'");
  }
  OCTET_RETURN_IF_ERROR(CheckTokens(header, file_name));
  HeaderReader reader(file_name, static_cast<int64_t>(header.size()));
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &reader)) return reader.status();
  std::vector<TensorInfo> tensors = std::move(reader.tensors());
  OCTET_RETURN_IF_ERROR(CheckCover(tensors, data_bytes, file_name));
  const auto by_name = [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; };
  std::sort(tensors.begin(), tensors.end(), by_name);
  const auto same_name = [](const TensorInfo& a, const TensorInfo& b) { return a.name == b.name; };
  const auto twice = std::adjacent_find(tensors.begin(), tensors.end(), same_name);
  if (twice != tensors.end()) {
    return DataLoss(file_name + ": tensor " + Quoted(twice->name) + " is given twice");
  }
  return tensors;
}

}  // namespace octet::worker
