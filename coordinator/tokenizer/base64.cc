#include "coordinator/tokenizer/base64.h"

#include <array>
#include <cstdint>

namespace octet::tokenizer {
namespace {

constexpr int8_t kNoDigit = -1;

std::array<int8_t, 256> MakeBase64Digits() {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::array<int8_t, 256> digits;
  digits.fill(kNoDigit);
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<uint8_t>(kAlphabet[i])] = static_cast<int8_t>(i);
  }
  return digits;
}

}  // namespace

std::optional<std::string> DecodeBase64(std::string_view text) {
  static const std::array<int8_t, 256> digits = MakeBase64Digits();
  if (text.empty() || text.size() % 4 != 0) return {};
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  std::string bytes;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_padding = i >= text.size() - padding;
    const int8_t digit = is_padding ? int8_t{0} : digits[static_cast<uint8_t>(text[i])];
    if (digit == kNoDigit) return {};
    bits = (bits << 6) | static_cast<uint32_t>(digit);
    if (i % 4 != 3) continue;
    for (int shift = 16; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(bits >> shift));
    bits = 0;
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

}  // namespace octet::tokenizer
