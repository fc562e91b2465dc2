// Reading a JSON document that nobody vouches for, with the tokenizer's limits. Every complaint
// names the file, the key, what was found and what was expected.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace octet::tokenizer {

// `file` is a name for messages.
Result<nlohmann::json> ParseJson(std::string_view text, const std::string& file);

// A text from outside, fit for a message: in back quotes, short, without control characters.
std::string Quoted(std::string_view text);

// A value and the way to it ("tokenizer.json: model.merges"). Points into a document that outlives
// it. A missing member reads as null: tokenizer.json means the same by both.
class JsonView {
 public:
  JsonView(const nlohmann::json& value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool is_null() const { return value_->is_null(); }

  // REQUIRES: nothing; a member of what is not an object is null.
  JsonView Member(const std::string& key) const;
  // REQUIRES: an array, index below its size.
  JsonView Element(size_t index) const;

  Result<bool> Bool(bool when_null) const;
  Result<std::string> String() const;
  Result<std::string> String(const std::string& when_null) const;
  // An integer in [0, end).
  Result<int32_t> Id(int64_t end) const;
  Status ExpectObject() const;
  Status ExpectArray(int64_t size_max) const;
  // The member "type" of an object.
  Result<std::string> Type() const;

  Status Expected(const std::string& what) const;
  Status Unsupported(const std::string& found, const std::string& supported) const;

 private:
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace octet::tokenizer
