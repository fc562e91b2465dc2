#include "coordinator/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace octet::tokenizer {
namespace {

TEST(Utf8, EveryCodePointGoesThereAndBack) {
  for (int32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    std::string text;
    AppendCodePoint(value, &text);
    ASSERT_FALSE(InvalidUtf8Offset(text).has_value()) << value;
    ASSERT_EQ(FirstCodePoint(text).value, value);
    ASSERT_EQ(FirstCodePoint(text).length_bytes, static_cast<int32_t>(text.size()));
    ASSERT_EQ(LastCodePoint("a" + text).value, value);
  }
}

TEST(Utf8, BrokenTextIsFoundAtItsPlace) {
  struct Case {
    const char* text;
    int64_t at;
  };
  const Case cases[] = {
      {"\x80", 0},         {"a\xC0\x80", 1},
      {"\xC1\xBF", 0},     {"\xE0\x9F\xBF", 0},
      {"\xED\xA0\x80", 0}, {"\xF0\x8F\xBF\xBF", 0},
      {"\xF5\x80", 0},     {"\xF4\x90\x80\x80", 0},
      {"ab\xE4\xBB", 2},   {"\xC3\xA9\xF0\x9F\x98", 2},
      {"\xE4\xBBx", 0},
  };
  for (const Case& c : cases) EXPECT_EQ(InvalidUtf8Offset(c.text), c.at) << c.text;
  EXPECT_EQ(InvalidUtf8Offset(""), std::nullopt);
}

// The table of the Unicode standard, section 3.9, "U+FFFD Substitution of Maximal Subparts".
TEST(LossyUtf8Decoder, ReplacesMaximalPartsHoweverTheBytesAreCut) {
  const std::pair<std::string, std::string> cases[] = {
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xF0\x9F\x98", "\uFFFD"},
  };
  for (const auto& [bytes, expected] : cases) {
    for (size_t cut = 0; cut <= bytes.size(); ++cut) {
      LossyUtf8Decoder decoder;
      std::string text;
      decoder.Append(std::string_view(bytes).substr(0, cut), &text);
      decoder.Append(std::string_view(bytes).substr(cut), &text);
      decoder.Finish(&text);
      EXPECT_EQ(text, expected) << "cut at " << cut;
    }
  }
}

TEST(Utf8, WhiteSpaceIsTheUnicodeProperty) {
  int count = 0;
  for (int32_t value = 0; value <= 0x10FFFF; ++value) count += IsWhiteSpace(value) ? 1 : 0;
  EXPECT_EQ(count, 25);
  EXPECT_FALSE(IsWhiteSpace(0x180E));
  EXPECT_FALSE(IsWhiteSpace(0x200B));
}

}  // namespace
}  // namespace octet::tokenizer
