// tokenizer.json from anyone. Input: tokenizer.json, and after a zero byte tokenizer_config.json.
#include <cstdint>
#include <string_view>

#include "tests/fuzz/tokenizer_checks.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\0');
  const std::string_view config =
      cut == std::string_view::npos ? std::string_view() : input.substr(cut + 1);
  octet::fuzz::CheckTokenizer(octet::tokenizer::Tokenizer::FromJson(input.substr(0, cut), config));
  return 0;
}
