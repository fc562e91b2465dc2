// The text that a token becomes, as the rules of a decoder say. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/tokenizer/definition.h"

namespace octet::tokenizer {

// The byte that a token of byte fallback stands for: 0x0A for "<0x0A>".
std::optional<uint8_t> ByteOfFallbackToken(std::string_view spelling);
std::string FallbackTokenOfByte(uint8_t byte);

struct TokenText {
  std::string bytes;     // need not be UTF-8 with byte-level rules, or for a byte
  bool is_byte = false;  // of byte fallback
};
TokenText TextOfToken(const DecoderRules& rules, const std::string& spelling);

// The same for a token at the beginning of a text, by the rules kFirstToken, kFirstPiece and
// kFirstPieces; by others as above.
TokenText TextOfFirstToken(const DecoderRules& rules, const std::string& spelling);

}  // namespace octet::tokenizer
