#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

// Length of the character that starts with `lead`; 0 when no character starts so.
int LengthFromLead(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) return 3;
  return lead < 0xF5 ? 4 : 0;
}

// The second byte has a narrower range after some leads: this is what keeps out overlong forms,
// surrogates and values above U+10FFFF.
bool SecondByteFits(uint8_t lead, uint8_t second) {
  switch (lead) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return second >= 0x80 && second <= 0xBF;
  }
}

bool IsContinuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

}  // namespace

std::optional<int64_t> InvalidUtf8Offset(std::string_view text) {
  const int64_t end = static_cast<int64_t>(text.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  for (int64_t i = 0; i < end;) {
    if (bytes[i] < 0x80) {
      ++i;
      continue;
    }
    const int length = LengthFromLead(bytes[i]);
    if (length == 0 || end - i < length || !SecondByteFits(bytes[i], bytes[i + 1])) return i;
    for (int k = 2; k < length; ++k) {
      if (!IsContinuation(bytes[i + k])) return i;
    }
    i += length;
  }
  return std::nullopt;
}

bool BeginsCharacter(std::string_view bytes) {
  if (bytes.empty()) return false;
  const auto lead = static_cast<uint8_t>(bytes[0]);
  if (static_cast<int>(bytes.size()) >= LengthFromLead(lead)) return false;
  if (bytes.size() >= 2 && !SecondByteFits(lead, static_cast<uint8_t>(bytes[1]))) return false;
  return bytes.size() < 3 || IsContinuation(static_cast<uint8_t>(bytes[2]));
}

CodePoint FirstCodePoint(std::string_view text) {
  const auto* b = reinterpret_cast<const uint8_t*>(text.data());
  switch (LengthFromLead(b[0])) {
    case 2:
      return {((b[0] & 0x1F) << 6) | (b[1] & 0x3F), 2};
    case 3:
      return {((b[0] & 0x0F) << 12) | ((b[1] & 0x3F) << 6) | (b[2] & 0x3F), 3};
    case 4:
      return {((b[0] & 0x07) << 18) | ((b[1] & 0x3F) << 12) | ((b[2] & 0x3F) << 6) | (b[3] & 0x3F),
              4};
    default:
      return {b[0], 1};
  }
}

CodePoint LastCodePoint(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && IsContinuation(static_cast<uint8_t>(text[start]))) --start;
  return FirstCodePoint(text.substr(start));
}

void AppendCodePoint(int32_t value, std::string* out) {
  const auto tail = [&](int shift) {
    out->push_back(static_cast<char>(0x80 | ((value >> shift) & 0x3F)));
  };
  if (value < 0x80) {
    out->push_back(static_cast<char>(value));
  } else if (value < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (value >> 6)));
    tail(0);
  } else if (value < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (value >> 12)));
    tail(6);
    tail(0);
  } else {
    out->push_back(static_cast<char>(0xF0 | (value >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

bool IsWhiteSpace(int32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

void LossyUtf8Decoder::Append(std::string_view bytes, std::string* out) {
  for (const char byte : bytes) AppendByte(static_cast<uint8_t>(byte), out);
}

void LossyUtf8Decoder::AppendByte(uint8_t byte, std::string* out) {
  if (held_bytes_ > 0) {
    const auto lead = static_cast<uint8_t>(held_[0]);
    const bool fits = held_bytes_ == 1 ? SecondByteFits(lead, byte) : IsContinuation(byte);
    if (fits) {
      held_[held_bytes_++] = static_cast<char>(byte);
      if (held_bytes_ == LengthFromLead(lead)) {
        out->append(held_, static_cast<size_t>(held_bytes_));
        held_bytes_ = 0;
      }
      return;
    }
    Finish(out);  // and the byte is looked at again as a beginning
  }
  const int length = LengthFromLead(byte);
  if (length == 1) {
    out->push_back(static_cast<char>(byte));
  } else if (length == 0) {
    out->append(kReplacementCharacter);
  } else {
    held_[0] = static_cast<char>(byte);
    held_bytes_ = 1;
  }
}

void LossyUtf8Decoder::Finish(std::string* out) {
  if (held_bytes_ > 0) out->append(kReplacementCharacter);
  held_bytes_ = 0;
}

}  // namespace octet::tokenizer
