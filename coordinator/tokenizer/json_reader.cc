#include "coordinator/tokenizer/json_reader.h"

#include <algorithm>

#include "base/json/json.h"
#include "coordinator/tokenizer/limits.h"

namespace octet::tokenizer {
namespace {

constexpr size_t kShownBytes = 60;

std::string Found(const nlohmann::json& value) {
  if (value.is_string()) return Quoted(value.get_ref<const std::string&>());
  if (value.is_number() || value.is_boolean()) return value.dump();
  return value.type_name();
}

}  // namespace

std::string Quoted(std::string_view text) {
  std::string out = "`";
  size_t end = std::min(text.size(), kShownBytes);
  while (end < text.size() && end > 0 && (text[end] & 0xC0) == 0x80) --end;
  for (const char c : text.substr(0, end)) {
    out.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c);
  }
  return out + (end < text.size() ? "`..." : "`");
}

Result<nlohmann::json> ParseJson(std::string_view text, const std::string& file) {
  return octet::ParseJson(text, file,
                          {.bytes_max = kTokenizerJsonBytesMax, .depth_max = kJsonDepthMax});
}

JsonView JsonView::Member(const std::string& key) const {
  static const nlohmann::json missing = nullptr;
  const std::string separator = path_.back() == ':' ? " " : ".";
  const std::string path = path_ + separator + key;
  if (!value_->is_object()) return {missing, path};
  const auto found = value_->find(key);
  return {found == value_->end() ? missing : *found, path};
}

JsonView JsonView::Element(size_t index) const {
  return {(*value_)[index], path_ + "[" + std::to_string(index) + "]"};
}

Result<bool> JsonView::Bool(bool when_null) const {
  if (is_null()) return when_null;
  if (!value_->is_boolean()) return Expected("true or false");
  return value_->get<bool>();
}

Result<std::string> JsonView::String() const {
  if (!value_->is_string()) return Expected("a string");
  return value_->get<std::string>();
}

Result<std::string> JsonView::String(const std::string& when_null) const {
  if (is_null()) return when_null;
  return String();
}

Result<int32_t> JsonView::Id(int64_t end) const {
  if (!value_->is_number_unsigned() || value_->get<uint64_t>() >= static_cast<uint64_t>(end)) {
    return Expected("a token id in [0, " + std::to_string(end) + ")");
  }
  return value_->get<int32_t>();
}

Status JsonView::ExpectObject() const {
  if (!value_->is_object()) return Expected("an object");
  return {};
}

Status JsonView::ExpectArray(int64_t size_max) const {
  if (!value_->is_array()) return Expected("an array");
  if (static_cast<int64_t>(value_->size()) > size_max) {
    return ResourceExhausted(path_ + " has " + std::to_string(value_->size()) +
                             " entries, the limit is " + std::to_string(size_max));
  }
  return {};
}

Result<std::string> JsonView::Type() const {
  OCTET_RETURN_IF_ERROR(ExpectObject());
  return Member("type").String();
}

Status JsonView::Expected(const std::string& what) const {
  const std::string found = is_null() ? "missing" : Found(*value_);
  return InvalidArgument(path_ + " is " + found + ", expected " + what);
}

Status JsonView::Unsupported(const std::string& found, const std::string& supported) const {
  return Unimplemented(path_ + ": " + found + " is not supported; supported: " + supported);
}

}  // namespace octet::tokenizer
