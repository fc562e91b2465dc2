#include "coordinator/tokenizer/nfc.h"

#include <gtest/gtest.h>

namespace octet::tokenizer {
namespace {

TEST(Nfc, ComposesOrdersAndExcludes) {
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
  for (const auto& [in, out] : cases) EXPECT_EQ(ToNfc(in), out) << in;
}

TEST(Nfc, TrivialTextIsLeftAlone) {
  EXPECT_TRUE(IsTriviallyNfc("plain \u00E9 \u02FF"));
  EXPECT_FALSE(IsTriviallyNfc("e\u0300"));
  EXPECT_FALSE(IsTriviallyNfc("\u4ECA"));
}

}  // namespace
}  // namespace octet::tokenizer
