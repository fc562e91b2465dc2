// IncrementalDetokenizer: every piece is valid UTF-8 and the pieces together are Decode's text.
#include <gtest/gtest.h>

#include <random>

#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/utf8.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet::tokenizer {
namespace {

// Decodes token by token and checks each piece on the way.
std::string DecodeInPieces(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip) {
  IncrementalDetokenizer detokenizer(&tokenizer, skip);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = detokenizer.Append(id);
    EXPECT_FALSE(InvalidUtf8Offset(piece).has_value()) << "id " << id;
    text += piece;
  }
  const std::string rest = detokenizer.Finish();
  EXPECT_FALSE(InvalidUtf8Offset(rest).has_value());
  return text + rest;
}

TEST(IncrementalDetokenizer, RandomIdsGiveWhatDecodeGives) {
  std::mt19937 random(7);
  for (const char* name : kGoldenTokenizers) {
    const Tokenizer tokenizer = LoadGolden(name);
    for (int round = 0; round < 2000; ++round) {
      // Mostly the low ids, which are single bytes and so halves of characters.
      const int64_t end = round % 3 == 0 ? tokenizer.vocab_size() + 4 : 258;
      std::vector<int32_t> ids(random() % 40);
      for (int32_t& id : ids) {
        id = static_cast<int32_t>(random() % static_cast<uint64_t>(end)) - 1;
      }
      for (const bool skip : {false, true}) {
        ASSERT_EQ(DecodeInPieces(tokenizer, ids, skip), tokenizer.Decode(ids, skip));
      }
    }
  }
}

TEST(IncrementalDetokenizer, GoldenDecodingsArriveInPieces) {
  for (const char* name : kGoldenTokenizers) {
    const Tokenizer tokenizer = LoadGolden(name);
    const auto golden = nlohmann::json::parse(ReadGolden(std::string(name) + ".json"));
    for (const auto& row : golden["decode"]) {
      EXPECT_EQ(DecodeInPieces(tokenizer, row[0].get<std::vector<int32_t>>(), row[1].get<bool>()),
                row[2].get<std::string>());
    }
  }
}

TEST(IncrementalDetokenizer, HoldsBackACharacterUntilItIsWhole) {
  const auto tokenizer = Tokenizer::FromJson(SmallTokenizerJson().dump());
  ASSERT_TRUE(tokenizer.ok());
  IncrementalDetokenizer detokenizer(&*tokenizer, true);
  EXPECT_EQ(detokenizer.Append(0xF0), "");
  EXPECT_EQ(detokenizer.Append(0x9F), "");
  EXPECT_EQ(detokenizer.Append(257), "") << "a skipped token does not end a character";
  EXPECT_EQ(detokenizer.Append(0x98), "");
  EXPECT_EQ(detokenizer.Append(0x80), "\U0001F600");
  EXPECT_EQ(detokenizer.Append(0xE4), "");
  EXPECT_EQ(detokenizer.Append('x'), "\uFFFDx");
  EXPECT_EQ(detokenizer.Append(0xE4), "");
  EXPECT_EQ(detokenizer.Finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.Finish(), "");
  EXPECT_EQ(detokenizer.Append('y'), "y");
}

int32_t IdOf(const Tokenizer& tokenizer, const std::string& token) {
  const auto id = tokenizer.TokenId(token);
  EXPECT_TRUE(id.has_value()) << token;
  return id.value_or(-1);
}

// A decoder that takes a space from the beginning of a text does so there alone: what is decoded
// after a prompt is the text of both less that of the prompt.
TEST(IncrementalDetokenizer, AnAnswerKeepsTheSpaceAfterItsPrompt) {
  for (const char* name : {"llama2", "mistral3", "metaspace", "yi"}) {
    const Tokenizer tokenizer = LoadGolden(name);
    const auto prompt = *tokenizer.Encode("the server", false);
    const auto whole = *tokenizer.Encode("the server answers it", false);
    ASSERT_TRUE(std::equal(prompt.begin(), prompt.end(), whole.begin())) << name;
    ASSERT_TRUE(tokenizer.IsAnyShown(prompt, true));
    IncrementalDetokenizer detokenizer(&tokenizer, true, /*follows_text=*/true);
    std::string text = tokenizer.Decode(prompt, true);
    for (size_t i = prompt.size(); i < whole.size(); ++i) text += detokenizer.Append(whole[i]);
    EXPECT_EQ(text + detokenizer.Finish(), tokenizer.Decode(whole, true)) << name;
    EXPECT_EQ(text, "the server answers it") << name;
  }
  const Tokenizer llama = LoadGolden("llama2");
  const std::vector<int32_t> bos = {1};
  EXPECT_FALSE(llama.IsAnyShown(bos, true));
  EXPECT_TRUE(llama.IsAnyShown(bos, false));
  EXPECT_FALSE(llama.IsAnyShown(std::vector<int32_t>{-1, 1 << 30}, false));
}

TEST(IncrementalDetokenizer, ARunOfBytesIsOneThingToHuggingFace) {
  const Tokenizer tokenizer = LoadGolden("llama2");
  const int32_t e2 = IdOf(tokenizer, "<0xE2>");
  const int32_t x82 = IdOf(tokenizer, "<0x82>");
  const int32_t xac = IdOf(tokenizer, "<0xAC>");
  const int32_t a = IdOf(tokenizer, "a");
  IncrementalDetokenizer detokenizer(&tokenizer, true);
  for (const int32_t id : {e2, x82, xac}) EXPECT_EQ(detokenizer.Append(id), "");
  EXPECT_EQ(detokenizer.Append(1), "") << "a hidden token does not end a run";
  for (const int32_t id : {e2, x82, xac}) EXPECT_EQ(detokenizer.Append(id), "");
  EXPECT_EQ(detokenizer.Append(a), "\u20AC\u20ACa");
  for (const int32_t id : {e2, x82, xac, e2}) EXPECT_EQ(detokenizer.Append(id), "");
  EXPECT_EQ(detokenizer.Append(a), "\uFFFD\uFFFD\uFFFD\uFFFDa");
  EXPECT_EQ(detokenizer.Append(x82), "");
  EXPECT_EQ(detokenizer.Finish(), "\uFFFD");
}

TEST(IncrementalDetokenizer, ALongRunIsGivenOutOnTheWay) {
  const Tokenizer tokenizer = LoadGolden("llama2");
  const std::vector<int32_t> euro = {IdOf(tokenizer, "<0xE2>"), IdOf(tokenizer, "<0x82>"),
                                     IdOf(tokenizer, "<0xAC>")};
  IncrementalDetokenizer detokenizer(&tokenizer, true);
  std::string text;
  std::string expected;
  size_t pieces = 0;
  for (int i = 0; i < 100; ++i) {
    for (const int32_t id : euro) {
      const std::string piece = detokenizer.Append(id);
      ASSERT_FALSE(InvalidUtf8Offset(piece).has_value());
      if (!piece.empty()) ++pieces;
      text += piece;
    }
    expected += "\u20AC";
  }
  EXPECT_EQ(text + detokenizer.Finish(), expected);
  EXPECT_EQ(pieces, 4u);  // 300 bytes, 64 held back at most
}

}  // namespace
}  // namespace octet::tokenizer
