// What must hold of any tokenizer that loads, whatever its files say.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/utf8.h"

namespace octet::fuzz {

inline void CheckDecoding(const tokenizer::Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                          bool skip_special_tokens) {
  const std::string text = tokenizer.Decode(ids, skip_special_tokens);
  OCTET_CHECK(!tokenizer::InvalidUtf8Offset(text).has_value());
  tokenizer::IncrementalDetokenizer detokenizer(&tokenizer, skip_special_tokens);
  std::string joined;
  for (const int32_t id : ids) {
    const std::string piece = detokenizer.Append(id);
    OCTET_CHECK(!tokenizer::InvalidUtf8Offset(piece).has_value());
    joined += piece;
  }
  OCTET_CHECK(joined + detokenizer.Finish() == text);
}

// With plain ranges, the ids are the same where there is no special token.
inline void CheckPlainText(const tokenizer::Tokenizer& tokenizer, const std::string& text) {
  const auto all = tokenizer.Encode(text, false, true);
  if (!all.ok()) return;
  const auto specials = [&](const std::vector<int32_t>& ids) {
    return std::count_if(ids.begin(), ids.end(),
                         [&](int32_t id) { return tokenizer.IsSpecial(id); });
  };
  ByteSpans plain;
  for (size_t at = 2; at + 9 <= text.size(); at += 17) {
    size_t end = at + 9;
    while (at < end && (text[at] & 0xC0) == 0x80) ++at;
    while (end < text.size() && (text[end] & 0xC0) == 0x80) ++end;
    plain.Add(at, end);
  }
  const auto some = tokenizer.Encode(text, false, plain);
  OCTET_CHECK(some.ok());
  if (specials(*all) == 0) OCTET_CHECK(*some == *all);
}

// A refusal has a sentence; a tokenizer turns a fixed text into ids inside its vocabulary, and any
// ids into valid UTF-8, in pieces as in one.
inline void CheckTokenizer(const Result<tokenizer::Tokenizer>& tokenizer) {
  static const std::string text =
      "Hello  hello, w\xC3\xB6rld! it's 1234567 <s>\xE2\x82\xAC\n\n\t a\xCC\x81 \xF0\x9F\x98\x80 "
      "<|x|>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \xE2\x96\x81\xEF\xBC\xA1 \xC2\xA0  ";
  if (!tokenizer.ok()) {
    OCTET_CHECK(!tokenizer.status().message().empty());
    return;
  }
  for (const bool parse : {true, false}) {
    const auto ids = tokenizer->Encode(text, /*add_special_tokens=*/parse, parse);
    if (!ids.ok()) continue;
    for (const int32_t id : *ids) {
      OCTET_CHECK_GE(id, 0);
      OCTET_CHECK_LT(id, tokenizer->vocab_size());
    }
    CheckDecoding(*tokenizer, *ids, false);
  }
  CheckPlainText(*tokenizer, text);
  std::vector<int32_t> odd = {-1, 0, 1, 2, 255, 256, 1 << 30};
  for (int32_t id = 3; id < 300; ++id) odd.push_back(id);
  CheckDecoding(*tokenizer, odd, true);
}

}  // namespace octet::fuzz
