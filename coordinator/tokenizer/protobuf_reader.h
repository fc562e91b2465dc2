// Reads one protobuf message of which nobody vouches for a byte, field by field, without a schema
// and without allocating: every length is checked against what is there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace octet::tokenizer {

class ProtobufReader {
 public:
  // `message` outlives this; `path` names it in messages ("tokenizer.model: pieces[7]").
  ProtobufReader(std::string_view message, std::string path)
      : message_(message), path_(std::move(path)) {}

  struct Field {
    enum class Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
    uint32_t number = 0;
    Wire wire = Wire::kVarint;
    uint64_t value = 0;      // of all but kBytes
    std::string_view bytes;  // of kBytes
  };
  // The next field; nothing at the end.
  Result<std::optional<Field>> Next();

  const std::string& path() const { return path_; }
  // A complaint about the place that was read last.
  Status Broken(const std::string& what) const;

 private:
  Result<uint64_t> ReadVarint();
  Result<uint64_t> ReadFixed(size_t bytes);

  std::string_view message_;
  std::string path_;
  size_t at_ = 0;
};

// The value of a field, when it has the wire type that its schema says.
Result<bool> BoolOf(const ProtobufReader& reader, const ProtobufReader::Field& field);
Result<int64_t> IntOf(const ProtobufReader& reader, const ProtobufReader::Field& field);
Result<float> FloatOf(const ProtobufReader& reader, const ProtobufReader::Field& field);
Result<std::string_view> BytesOf(const ProtobufReader& reader, const ProtobufReader::Field& field);

}  // namespace octet::tokenizer
