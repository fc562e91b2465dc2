// Typed, bounded reads from one parsed JSON object. Absent and null mean the default.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/status.h"

namespace octet::worker {

class ConfigReader {
 public:
  // `what` names the object in messages: "config.json", "config.json: rope_scaling".
  // REQUIRES: `object` is a JSON object and outlives the reader.
  ConfigReader(const nlohmann::json& object, std::string what)
      : object_(object), what_(std::move(what)) {}

  const std::string& what() const { return what_; }
  // The value of a key, or nullptr where it is absent or null.
  const nlohmann::json* Find(const std::string& key) const;
  bool Has(const std::string& key) const { return Find(key) != nullptr; }
  // The key is there and says null, where a family gives that a meaning of its own.
  bool IsNull(const std::string& key) const { return object_.get().contains(key) && !Has(key); }

  // An integer in [min, max]. Without a default the key must be there.
  Result<int64_t> Int(const std::string& key, int64_t min, int64_t max,
                      std::optional<int64_t> absent = std::nullopt) const;
  // A finite number in [min, max].
  Result<double> Number(const std::string& key, double min, double max,
                        std::optional<double> absent = std::nullopt) const;
  Result<bool> Bool(const std::string& key, bool absent) const;
  Result<std::string> String(const std::string& key, const std::string& absent) const;
  // The object under `key`; REQUIRES: Has(key).
  Result<ConfigReader> Object(const std::string& key) const;

  // "config.json: key "x" is 7, expected ..."
  Status Unexpected(const std::string& key, const std::string& expected) const;
  // The key is there, but says what no part here computes. REQUIRES: Has(key).
  Status Unsupported(const std::string& key, const std::string& supported) const;

 private:
  std::reference_wrapper<const nlohmann::json> object_;
  std::string what_;
};

// A value as it is shown in a message: short, on one line.
std::string Shown(const nlohmann::json& value);

}  // namespace octet::worker
