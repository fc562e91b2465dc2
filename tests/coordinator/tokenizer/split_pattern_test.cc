// Where Oniguruma and PCRE2 read a pattern differently, and what is refused because of it.
#include "coordinator/tokenizer/split_pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace octet::tokenizer {
namespace {

using Pieces = std::vector<std::string_view>;

Pieces SplitWith(std::string_view pattern, std::string_view text) {
  const auto compiled = SplitPattern::Compile(pattern);
  EXPECT_TRUE(compiled.ok()) << compiled.status().message();
  Pieces pieces;
  if (compiled.ok()) {
    const Status status = compiled->Split(text, MatchScratch(), &pieces);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  return pieces;
}

TEST(SplitPattern, KeepsMatchesAndWhatLiesBetween) {
  EXPECT_EQ(SplitWith("\\d+", "ab12cd3"), (Pieces{"ab", "12", "cd", "3"}));
  EXPECT_EQ(SplitWith("\\d+", ""), Pieces{});
  EXPECT_EQ(SplitWith("x", "ab"), (Pieces{"ab"}));
}

TEST(SplitPattern, SpaceIsTheUnicodePropertyAndNotU180E) {
  EXPECT_EQ(SplitWith("\\s+", "a \u0085\u3000b"), (Pieces{"a", " \u0085\u3000", "b"}));
  EXPECT_EQ(SplitWith("\\s+", "a\u180Eb"), (Pieces{"a\u180Eb"}));
  EXPECT_EQ(SplitWith("[^\\s]+", " a\u180E "), (Pieces{" ", "a\u180E", " "}));
  EXPECT_EQ(SplitWith("\\S+", " a\u180E "), (Pieces{" ", "a\u180E", " "}));
}

TEST(SplitPattern, DigitsLettersAndCaseAreUnicode) {
  EXPECT_EQ(SplitWith("\\p{N}{1,3}", "\u0661\u0662\u0663\u0664"),
            (Pieces{"\u0661\u0662\u0663", "\u0664"}));
  EXPECT_EQ(SplitWith("\\p{L}+", "\u00E9\u4ECA1"), (Pieces{"\u00E9\u4ECA", "1"}));
  EXPECT_EQ(SplitWith("(?i:'s)", "x'\u017Fy"), (Pieces{"x", "'\u017F", "y"}));
  EXPECT_EQ(SplitWith("\\p{Han}+", "a\u4ECA\u5929"), (Pieces{"a", "\u4ECA\u5929"}));
  EXPECT_EQ(SplitWith("[\u4E00-\u9FA5\\u3040-\\u309F]+", "a\u4ECA\u3042b"),
            (Pieces{"a", "\u4ECA\u3042", "b"}));
}

TEST(SplitPattern, ScriptsAreNotScriptExtensions) {
  EXPECT_EQ(*PatternForPcre2("\\p{Han}\\P{Lu}\\s"), "\\p{sc:Han}\\P{Lu}\\p{White_Space}");
  EXPECT_EQ(SplitWith("\\p{Han}+", "\u3001\u4ECA"), (Pieces{"\u3001", "\u4ECA"}));
}

TEST(SplitPattern, RefusesByNameWhatWouldMeanSomethingElse) {
  const std::pair<const char*, const char*> cases[] = {
      {"\\w+", "`\\w` at byte 0"},       {"\\bx", "`\\b` at byte 0"},
      {"a\\h", "`\\h` at byte 1"},       {"x$", "`$` at byte 1"},
      {"^x", "`^` at byte 0"},           {"(?m:.)", "`(?m` at byte 0"},
      {"(?<name>x)", "`(?<` at byte 0"}, {"[a&&b]", "`&&` at byte 2"},
      {"[a[b]]", "`[b` at byte 2"},      {"x{,3}", "`{,` at byte 1"},
      {"x{2}+", "`{2}+` at byte 1"},     {"\\p{^L}", "`\\p{^L}` at byte 0"},
      {"(*UTF)x", "`(*U` at byte 0"},    {"\\", "`\\` at byte 0"},
      {"[]a]", "`]` at byte 1"},         {"(a)\\1", "`\\1` at byte 3"},
  };
  for (const auto& [pattern, complaint] : cases) {
    const auto compiled = SplitPattern::Compile(pattern);
    EXPECT_EQ(compiled.status().code(), StatusCode::kUnimplemented) << pattern;
    EXPECT_NE(compiled.status().message().find(complaint), std::string::npos)
        << pattern << ": " << compiled.status().message();
  }
  EXPECT_EQ(SplitPattern::Compile("x*").status().code(), StatusCode::kUnimplemented);
  EXPECT_EQ(SplitPattern::Compile("(x").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(SplitPattern::Compile("\\p{Nope}").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(SplitPattern::Compile(std::string(5000, 'x')).status().code(),
            StatusCode::kResourceExhausted);
}

TEST(SplitPattern, APatternThatBacktracksWithoutEndIsStopped) {
  const auto compiled = SplitPattern::Compile("(?:a|aa)+[xy]");
  ASSERT_TRUE(compiled.ok());
  Pieces pieces;
  const Status status = compiled->Split(std::string(200, 'a'), MatchScratch(), &pieces);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("no decision at byte 0 of a text of 200 bytes"),
            std::string::npos)
      << status.message();
}

TEST(SplitPattern, DeepBacktrackingGoesOnWhereTheSmallStackEnds) {
  const std::string text = std::string(1 << 20, 'a') + "b";
  const auto pieces = SplitWith("(?:a|c)+b", text);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].size(), text.size());
}

}  // namespace
}  // namespace octet::tokenizer
