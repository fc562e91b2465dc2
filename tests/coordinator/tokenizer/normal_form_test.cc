#include "coordinator/tokenizer/normal_form.h"

#include <gtest/gtest.h>

#include "coordinator/tokenizer/utf8.h"

namespace octet::tokenizer {
namespace {

TEST(NormalForm, NfcComposesOrdersAndExcludes) {
  const std::pair<const char*, const char*> cases[] = {
      {"", ""},
      {"e\u0301", "\u00E9"},
      {"s\u0307\u0323", "\u1E69"},  // marks out of order
      {"s\u0323\u0307", "\u1E69"},
      {"\u1112\u1161\u11AB", "\uD55C"},  // Hangul, by rule
      {"\u0958", "\u0915\u093C"},        // composition exclusion
      {"\u212B", "\u00C5"},              // singleton
      {"a\u0315\u0300\u05AE\u0062", "\u00E0\u05AE\u0315b"},
      {"\u0344", "\u0308\u0301"},
      {"\u0B47\u0300\u0B3E", "\u0B47\u0300\u0B3E"},  // blocked by a mark in between
      {"\uAC38\u11A7", "\uAC38\u11A7"},              // one before the trailing consonants
      {"\u11A7\u1100\u1161\u11A8", "\u11A7\uAC01"},
      {"\u1100\u0301\u1161", "\u1100\u0301\u1161"},
  };
  for (const auto& [in, out] : cases) EXPECT_EQ(ToNormalForm(in, NormalForm::kNfc), out) << in;
}

TEST(NormalForm, NfkcAlsoTakesCompatibilityCharactersApart) {
  const std::pair<const char*, const char*> cases[] = {
      {"\uFF21\uFF11", "A1"},
      {"\uFB01x", "fix"},
      {"\u00A0\u3000", "  "},
      {"\u00BD", "1\u20442"},
      {"\u1E9B\u0323", "\u1E69"},
      {"\uFF76\uFF9E", "\u30AC"},
      {"\uFDFA",
       "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064A\u0647 "
       "\u0648\u0633\u0644\u0645"},
  };
  for (const auto& [in, out] : cases)
    EXPECT_EQ(ToNormalForm(in, NormalForm::kTokenizersNfkc), out) << in;
  EXPECT_TRUE(IsTriviallyNormal("plain", NormalForm::kTokenizersNfkc));
  EXPECT_FALSE(IsTriviallyNormal("\u00A0", NormalForm::kTokenizersNfkc));
}

TEST(NormalForm, TrivialTextIsLeftAlone) {
  EXPECT_TRUE(IsTriviallyNormal("plain \u00E9 \u02FF", NormalForm::kNfc));
  EXPECT_FALSE(IsTriviallyNormal("e\u0300", NormalForm::kNfc));
  EXPECT_FALSE(IsTriviallyNormal("\u4ECA", NormalForm::kNfc));
}

// tokenizers 0.23: U+07FD (Unicode 11) stays behind U+059E, U+11938 (13) is not made, U+32FF (12.1)
// not taken apart; in Unicode 15 all of it happens.
TEST(NormalForm, WhatIsNewerIsLeftAlone) {
  EXPECT_EQ(ToNormalForm("X\u059E\u07FD", NormalForm::kTokenizersNfc), "X\u059E\u07FD");
  EXPECT_EQ(ToNormalForm("X\u059E\u07FD", NormalForm::kNfc), "X\u07FD\u059E");
  EXPECT_EQ(ToNormalForm("e\u07FD\u0301", NormalForm::kTokenizersNfc), "e\u07FD\u0301");
  EXPECT_EQ(ToNormalForm("e\u07FD\u0301", NormalForm::kNfc), "\u00E9\u07FD");
  EXPECT_EQ(ToNormalForm("\U00011935\U00011930", NormalForm::kTokenizersNfc),
            "\U00011935\U00011930");
  EXPECT_EQ(ToNormalForm("\U00011935\U00011930", NormalForm::kNfc), "\U00011938");
  EXPECT_EQ(ToNormalForm("\u32FF\u32FE", NormalForm::kTokenizersNfkc), "\u32FF\u30F2");
}

// Every character, behind some with which others compose.
TEST(NormalForm, WhatDoesNotJoinBackwardsIsNormalizedByItself) {
  const char* before[] = {"a",      "E",      "<",         ">",      "\u0308", "a\u0323",
                          "\u0627", "\u09C7", "\u0B47",    "\u0BC6", "\u0CC6", "\u0D46",
                          "\u0DD9", "\u1025", "\u1100",    "\uAC00", "\u304B", "\u30AB",
                          "\u03B1", "\u0915", "\U00011131"};
  for (const NormalForm form :
       {NormalForm::kNfc, NormalForm::kTokenizersNfc, NormalForm::kTokenizersNfkc}) {
    int64_t joining = 0;
    for (int32_t c = 1; c < 0x30000; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string character;
      AppendCodePoint(c, &character);
      if (JoinsBackwards(character, form)) {
        ++joining;
        continue;
      }
      const std::string alone = ToNormalForm(character, form);
      for (const std::string prefix : before) {
        ASSERT_EQ(ToNormalForm(prefix + character, form), ToNormalForm(prefix, form) + alone)
            << std::hex << c << " behind " << prefix;
      }
    }
    EXPECT_GT(joining, 2000);
    EXPECT_LT(joining, 3500) << "marks and parts of Hangul";
  }
}

}  // namespace
}  // namespace octet::tokenizer
