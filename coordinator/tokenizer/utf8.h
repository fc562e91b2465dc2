// UTF-8 at the tokenizer's edges: is a text valid, which code point stands here, and how a stream
// of arbitrary bytes becomes valid text. Pure functions and one small state machine without locks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace octet::tokenizer {

// The offset of the first byte that is not part of valid UTF-8 (no surrogates, no overlong forms,
// nothing above U+10FFFF), or nothing when the whole text is valid.
std::optional<int64_t> InvalidUtf8Offset(std::string_view text);

// Whether `bytes` are the beginning of a character that more bytes would complete.
bool BeginsCharacter(std::string_view bytes);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct CodePoint {
  int32_t value = 0;
  int32_t length_bytes = 0;
};
// REQUIRES: `text` is valid UTF-8 and not empty.
CodePoint FirstCodePoint(std::string_view text);
CodePoint LastCodePoint(std::string_view text);

void AppendCodePoint(int32_t value, std::string* out);

// The Unicode property White_Space, which has been the same set since Unicode 6.3.
bool IsWhiteSpace(int32_t code_point);

// Turns bytes that come in pieces of any length into valid UTF-8. Each maximal part of a broken
// character becomes one U+FFFD, as WHATWG, Python and Rust do it, and the result does not depend on
// where the pieces were cut. Holds at most three bytes.
class LossyUtf8Decoder {
 public:
  void Append(std::string_view bytes, std::string* out);
  // The held bytes can no longer become a character: they become one U+FFFD.
  void Finish(std::string* out);

 private:
  void AppendByte(uint8_t byte, std::string* out);

  char held_[4] = {};
  int held_bytes_ = 0;
};

}  // namespace octet::tokenizer
