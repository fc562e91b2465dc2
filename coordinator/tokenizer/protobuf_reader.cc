#include "coordinator/tokenizer/protobuf_reader.h"

#include <bit>

namespace octet::tokenizer {
namespace {

constexpr int kVarintBytesMax = 10;

Status WrongWire(const ProtobufReader& reader, const ProtobufReader::Field& field,
                 const char* expected) {
  return reader.Broken("field " + std::to_string(field.number) + " has wire type " +
                       std::to_string(static_cast<int>(field.wire)) + ", expected " + expected);
}

}  // namespace

Status ProtobufReader::Broken(const std::string& what) const {
  return InvalidArgument(path_ + ": " + what + ", before byte " + std::to_string(at_) + " of " +
                         std::to_string(message_.size()));
}

Result<uint64_t> ProtobufReader::ReadVarint() {
  uint64_t value = 0;
  for (int i = 0; i < kVarintBytesMax; ++i) {
    if (at_ == message_.size()) return Broken("a number is cut short");
    const auto byte = static_cast<uint8_t>(message_[at_++]);
    value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) return value;
  }
  return Broken("a number has more than " + std::to_string(kVarintBytesMax) + " bytes");
}

Result<uint64_t> ProtobufReader::ReadFixed(size_t bytes) {
  if (message_.size() - at_ < bytes) return Broken("a number is cut short");
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(message_[at_++])) << (8 * i);
  }
  return value;
}

Result<std::optional<ProtobufReader::Field>> ProtobufReader::Next() {
  if (at_ == message_.size()) return std::optional<Field>();
  OCTET_ASSIGN_OR_RETURN(const uint64_t tag, ReadVarint());
  if (tag >> 3 == 0 || tag > UINT32_MAX) {
    return Broken("found the field number " + std::to_string(tag >> 3) + ", expected 1 to " +
                  std::to_string(UINT32_MAX >> 3));
  }
  Field field;
  field.number = static_cast<uint32_t>(tag >> 3);
  switch (tag & 7) {
    case 0: {
      OCTET_ASSIGN_OR_RETURN(field.value, ReadVarint());
      break;
    }
    case 1: {
      field.wire = Field::Wire::kFixed64;
      OCTET_ASSIGN_OR_RETURN(field.value, ReadFixed(8));
      break;
    }
    case 2: {
      field.wire = Field::Wire::kBytes;
      OCTET_ASSIGN_OR_RETURN(const uint64_t length, ReadVarint());
      if (length > message_.size() - at_) {
        return Broken("field " + std::to_string(field.number) + " says it has " +
                      std::to_string(length) + " bytes where " +
                      std::to_string(message_.size() - at_) + " are left");
      }
      field.bytes = message_.substr(at_, length);
      at_ += length;
      break;
    }
    case 5: {
      field.wire = Field::Wire::kFixed32;
      OCTET_ASSIGN_OR_RETURN(field.value, ReadFixed(4));
      break;
    }
    default:
      return Broken("field " + std::to_string(field.number) + " has wire type " +
                    std::to_string(tag & 7) + ", expected 0, 1, 2 or 5");
  }
  return std::optional<Field>(field);
}

Result<bool> BoolOf(const ProtobufReader& reader, const ProtobufReader::Field& field) {
  if (field.wire != ProtobufReader::Field::Wire::kVarint) return WrongWire(reader, field, "0");
  return field.value != 0;
}

Result<int64_t> IntOf(const ProtobufReader& reader, const ProtobufReader::Field& field) {
  if (field.wire != ProtobufReader::Field::Wire::kVarint) return WrongWire(reader, field, "0");
  return static_cast<int64_t>(field.value);
}

Result<float> FloatOf(const ProtobufReader& reader, const ProtobufReader::Field& field) {
  if (field.wire != ProtobufReader::Field::Wire::kFixed32) return WrongWire(reader, field, "5");
  return std::bit_cast<float>(static_cast<uint32_t>(field.value));
}

Result<std::string_view> BytesOf(const ProtobufReader& reader, const ProtobufReader::Field& field) {
  if (field.wire != ProtobufReader::Field::Wire::kBytes) return WrongWire(reader, field, "2");
  return field.bytes;
}

}  // namespace octet::tokenizer
