// tokenizer.json from anyone: refused with a sentence, or a tokenizer that turns a fixed text into
// ids inside its vocabulary, and any ids into valid UTF-8.
// Input: tokenizer.json, and after a zero byte tokenizer_config.json.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/utf8.h"

using octet::tokenizer::Tokenizer;

namespace {

void CheckUtf8(const std::string& text) {
  OCTET_CHECK(!octet::tokenizer::InvalidUtf8Offset(text).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string text =
      "Hello  hello, w\xC3\xB6rld! it's 1234567 <s>\xE2\x82\xAC\n\n\t a\xCC\x81 \xF0\x9F\x98\x80 "
      "<|x|>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa   ";
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = input.find('\0');
  const auto tokenizer = Tokenizer::FromJson(input.substr(0, cut), cut == std::string_view::npos
                                                                       ? std::string_view()
                                                                       : input.substr(cut + 1));
  if (!tokenizer.ok()) {
    OCTET_CHECK(!tokenizer.status().message().empty());
    return 0;
  }
  const auto ids = tokenizer->Encode(text, /*add_special_tokens=*/true);
  if (ids.ok()) {
    for (const int32_t id : *ids) {
      OCTET_CHECK_GE(id, 0);
      OCTET_CHECK_LT(id, tokenizer->vocab_size());
    }
    CheckUtf8(tokenizer->Decode(*ids, false));
  }
  const std::vector<int32_t> odd = {-1, 0, 1, 2, 255, 256, 1 << 30};
  CheckUtf8(tokenizer->Decode(odd, true));
  return 0;
}
