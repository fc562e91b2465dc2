#include "coordinator/tokenizer/token_text.h"

#include "coordinator/tokenizer/byte_alphabet.h"

namespace octet::tokenizer {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

void ReplaceAll(const std::string& pattern, const std::string& content, std::string* text) {
  for (size_t at = text->find(pattern); at != std::string::npos;
       at = text->find(pattern, at + content.size())) {
    text->replace(at, pattern.size(), content);
  }
}

}  // namespace

std::optional<uint8_t> ByteOfFallbackToken(std::string_view spelling) {
  if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>') return {};
  const int high = HexDigit(spelling[3]);
  const int low = HexDigit(spelling[4]);
  if (high < 0 || low < 0) return {};
  return static_cast<uint8_t>(high * 16 + low);
}

std::string FallbackTokenOfByte(uint8_t byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
}

TokenText TextOfToken(const DecoderRules& rules, const std::string& spelling) {
  // A token with a character outside the byte alphabet decodes to its own text. So do the library's
  // decoders, and a special token such as "<|fin de texte é|>" therefore decodes byte by byte.
  if (rules.byte_level) return {BytesOfSpelling(spelling).value_or(spelling)};
  std::string text = spelling;
  for (const auto& [pattern, content] : rules.replacements) ReplaceAll(pattern, content, &text);
  if (rules.byte_fallback) {
    if (const auto byte = ByteOfFallbackToken(text)) {
      return {std::string(1, static_cast<char>(*byte)), true};
    }
  }
  return {std::move(text)};
}

TokenText TextOfFirstToken(const DecoderRules& rules, const std::string& spelling) {
  std::string shortened = spelling;
  switch (rules.start_rule) {
    case DecoderRules::Start::kKept:
    case DecoderRules::Start::kStripped:
      break;
    case DecoderRules::Start::kFirstToken:
      ReplaceAll(rules.start, "", &shortened);
      break;
    case DecoderRules::Start::kFirstPiece:
    case DecoderRules::Start::kFirstPieces:
      if (shortened.starts_with(rules.start)) shortened.erase(0, rules.start.size());
      break;
  }
  return TextOfToken(rules, shortened);
}

}  // namespace octet::tokenizer
