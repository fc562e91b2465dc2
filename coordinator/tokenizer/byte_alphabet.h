// The spelling of bytes in a byte-level tokenizer.json. JSON strings hold characters, not bytes, so
// each of the 256 bytes is written as one printable character: 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF
// stand for themselves as code points, the other 68 are U+0100, U+0101, ... in order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace octet::tokenizer {

// The code point that spells `byte`.
int32_t SpellingOfByte(uint8_t byte);

// The bytes that `spelling` stands for; nothing when it holds a character outside the alphabet.
// REQUIRES: valid UTF-8.
std::optional<std::string> BytesOfSpelling(std::string_view spelling);

}  // namespace octet::tokenizer
