#include "coordinator/tokenizer/byte_alphabet.h"

#include <array>

#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

constexpr int kSpellingEnd = 256 + 68;

struct Alphabet {
  std::array<int32_t, 256> spelling_of_byte{};
  std::array<int16_t, kSpellingEnd> byte_of_spelling{};  // -1: spells no byte
};

Alphabet MakeAlphabet() {
  Alphabet alphabet;
  alphabet.byte_of_spelling.fill(-1);
  int32_t next_shifted = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const int32_t spelling = printable ? byte : next_shifted++;
    alphabet.spelling_of_byte[byte] = spelling;
    alphabet.byte_of_spelling[spelling] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet = MakeAlphabet();
  return alphabet;
}

}  // namespace

int32_t SpellingOfByte(uint8_t byte) { return TheAlphabet().spelling_of_byte[byte]; }

std::optional<std::string> BytesOfSpelling(std::string_view spelling) {
  const Alphabet& alphabet = TheAlphabet();
  std::string bytes;
  while (!spelling.empty()) {
    const CodePoint c = FirstCodePoint(spelling);
    if (c.value >= kSpellingEnd || alphabet.byte_of_spelling[c.value] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(alphabet.byte_of_spelling[c.value]));
    spelling.remove_prefix(static_cast<size_t>(c.length_bytes));
  }
  return bytes;
}

}  // namespace octet::tokenizer
