#include "worker/model/families/config_reader.h"

#include <cmath>
#include <limits>
#include <sstream>

#include "base/json/json.h"

namespace octet::worker {
namespace {

std::string ShownNumber(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

// The integer in `value`, if it is one that an int64 holds.
std::optional<int64_t> AsInt64(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

}  // namespace

std::string Shown(const nlohmann::json& value) {
  if (value.is_object()) return "an object of " + std::to_string(value.size()) + " keys";
  if (value.is_array()) return "an array of " + std::to_string(value.size()) + " values";
  if (value.is_string()) return Quoted(value.get_ref<const std::string&>());
  return value.dump();
}

const nlohmann::json* ConfigReader::Find(const std::string& key) const {
  const auto found = object_.get().find(key);
  return found == object_.get().end() || found->is_null() ? nullptr : &*found;
}

Status ConfigReader::Unexpected(const std::string& key, const std::string& expected) const {
  const nlohmann::json* value = Find(key);
  return InvalidArgument(what_ + ": key \"" + key + "\" is " +
                         (value == nullptr ? std::string("missing") : Shown(*value)) +
                         ", expected " + expected);
}

Status ConfigReader::Unsupported(const std::string& key, const std::string& supported) const {
  return Unimplemented(what_ + ": key \"" + key + "\" is " + Shown(*Find(key)) +
                       ", supported is only " + supported);
}

Result<int64_t> ConfigReader::Int(const std::string& key, int64_t min, int64_t max,
                                  std::optional<int64_t> absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr && absent.has_value()) return *absent;
  const std::optional<int64_t> number = value == nullptr ? std::nullopt : AsInt64(*value);
  if (!number.has_value() || *number < min || *number > max) {
    return Unexpected(key,
                      "an integer in [" + std::to_string(min) + ", " + std::to_string(max) + "]");
  }
  return *number;
}

Result<double> ConfigReader::Number(const std::string& key, double min, double max,
                                    std::optional<double> absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr && absent.has_value()) return *absent;
  const double number = value != nullptr && value->is_number() ? value->get<double>() : NAN;
  if (!(number >= min && number <= max)) {
    return Unexpected(key, "a number in [" + ShownNumber(min) + ", " + ShownNumber(max) + "]");
  }
  return number;
}

Result<bool> ConfigReader::Bool(const std::string& key, bool absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Unexpected(key, "true or false");
  return value->get<bool>();
}

Result<std::string> ConfigReader::String(const std::string& key, const std::string& absent) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_string()) return Unexpected(key, "a string");
  return value->get<std::string>();
}

Result<ConfigReader> ConfigReader::Object(const std::string& key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr || !value->is_object()) return Unexpected(key, "an object");
  return ConfigReader(*value, what_ + ": " + key);
}

}  // namespace octet::worker
