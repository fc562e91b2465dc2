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
  for (const char* name : {"gpt2", "llama3", "qwen2", "flags"}) {
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
  for (const char* name : {"gpt2", "llama3", "qwen2", "flags"}) {
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

}  // namespace
}  // namespace octet::tokenizer
