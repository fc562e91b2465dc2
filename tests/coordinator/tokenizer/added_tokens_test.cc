#include "coordinator/tokenizer/added_tokens.h"

#include <gtest/gtest.h>

#include <string>

namespace octet::tokenizer {
namespace {

AddedToken Token(int32_t id, std::string content) {
  AddedToken token;
  token.id = id;
  token.content = std::move(content);
  return token;
}

// "text|#7:<tok>|text"
std::string Shown(const AddedTokens& tokens, std::string_view text, const ByteSpans& plain = {}) {
  std::vector<Segment> segments;
  tokens.Split(text, plain, MatchScratch(), &segments);
  std::string out;
  for (const Segment& segment : segments) {
    if (!out.empty()) out += "|";
    if (segment.id >= 0) out += "#" + std::to_string(segment.id) + ":";
    out += segment.text;
  }
  return out;
}

TEST(AddedTokens, TheLongestOfTheLeftmostWins) {
  const AddedTokens tokens(
      {Token(1, "<a>"), Token(2, "<a><b>"), Token(3, "a><b"), Token(4, "<b>")});
  EXPECT_EQ(Shown(tokens, "x<a><b>y"), "x|#2:<a><b>|y");
  EXPECT_EQ(Shown(tokens, "<a><b"), "#1:<a>|<b");
  EXPECT_EQ(Shown(tokens, "a><b>"), "#3:a><b|>");
  EXPECT_EQ(Shown(tokens, "<<b>"), "<|#4:<b>");
  EXPECT_EQ(Shown(tokens, ""), "");
}

TEST(AddedTokens, SpecialOnesStayTextWhenNotParsed) {
  AddedToken special = Token(1, "<s>");
  special.special = true;
  const AddedTokens tokens({special, Token(2, "<t>")});
  EXPECT_EQ(Shown(tokens, "a<s>b<t>"), "a|#1:<s>|b|#2:<t>");
  EXPECT_EQ(Shown(tokens, "a<s>b<t>", ByteSpans::Whole(8)), "a<s>b|#2:<t>");
}

TEST(AddedTokens, SpecialOnesStayTextWhereAnyOfTheirBytesIsPlain) {
  std::vector<AddedToken> all = {Token(1, "<s>"), Token(2, "<s>x"), Token(3, "y<s>"),
                                 Token(4, "<t>")};
  for (AddedToken& token : all) token.special = token.id != 4;
  const AddedTokens tokens(all);
  const auto shown = [&](std::string_view text, size_t begin, size_t end) {
    ByteSpans plain;
    plain.Add(begin, end);
    return Shown(tokens, text, plain);
  };
  EXPECT_EQ(shown("<s><s><s>", 3, 6), "#1:<s>|<s>|#1:<s>");
  EXPECT_EQ(shown("<s><s>", 2, 4), "<s><s>") << "one byte of each";
  EXPECT_EQ(shown("<t><s>", 0, 2), "#4:<t>|#1:<s>") << "not special, so found all the same";
  EXPECT_EQ(shown("<s>x", 3, 4), "#1:<s>|x") << "the longest that has no plain byte";
  EXPECT_EQ(shown("y<s>", 0, 1), "y|#1:<s>") << "what reaches out of the plain text hides nothing";
  EXPECT_EQ(shown("<<s>", 0, 1), "<|#1:<s>");
}

TEST(AddedTokens, StripTakesWhiteSpaceAlong) {
  AddedToken left = Token(1, "<l>");
  left.lstrip = true;
  AddedToken right = Token(2, "<r>");
  right.rstrip = true;
  const AddedTokens tokens({left, right});
  EXPECT_EQ(Shown(tokens, "a \u3000<l> b"), "a|#1: \u3000<l>| b");
  EXPECT_EQ(Shown(tokens, "a <r> \n b"), "a |#2:<r> \n |b");
  EXPECT_EQ(Shown(tokens, "<r>  <l>"), "#2:<r>  |#1:<l>") << "what is taken is not taken again";
}

TEST(AddedTokens, SingleWordNeedsBorders) {
  AddedToken word = Token(1, "cat");
  word.single_word = true;
  const AddedTokens tokens({word});
  EXPECT_EQ(Shown(tokens, "cat"), "#1:cat");
  EXPECT_EQ(Shown(tokens, "a cat!"), "a |#1:cat|!");
  EXPECT_EQ(Shown(tokens, "cats"), "cats");
  EXPECT_EQ(Shown(tokens, "\u00E9cat _cat cat1 cat"), "\u00E9cat _cat cat1 |#1:cat");
}

}  // namespace
}  // namespace octet::tokenizer
