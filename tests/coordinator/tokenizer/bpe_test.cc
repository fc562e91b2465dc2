// The two ways of merging (scan and heap) against the definition written out.
#include "coordinator/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "coordinator/tokenizer/definition_json.h"
#include "coordinator/tokenizer/vocab_files.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet::tokenizer {
namespace {

Definition DefinitionOfGolden(const std::string& name) {
  Result<Definition> definition = Definition();
  if (name == "ranks") {
    definition = ParseTiktoken({"ranks.tiktoken", ReadGolden("ranks.tiktoken"), {}, {}});
  } else if (name.starts_with("sp_")) {
    definition = ParseSentencePiece({"tokenizer.model", ReadGoldenModel(name), {}, {}});
  } else {
    definition = ParseDefinition(ReadGolden(name + ".tokenizer.json"), {});
  }
  EXPECT_TRUE(definition.ok()) << definition.status().message();
  return std::move(definition).value();
}

// Lowest rank, leftmost of equals, one merge at a time.
std::vector<int32_t> MergeByDefinition(const Definition& definition, std::string_view word) {
  std::vector<int32_t> ids;
  for (const char byte : word) ids.push_back(definition.bpe.byte_ids[static_cast<uint8_t>(byte)]);
  for (;;) {
    size_t best_rank = definition.bpe.merges.size();
    size_t best_at = 0;
    for (size_t at = 0; at + 1 < ids.size(); ++at) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        const Merge& merge = definition.bpe.merges[rank];
        if (merge.left == ids[at] && merge.right == ids[at + 1]) {
          best_rank = rank;
          best_at = at;
        }
      }
    }
    if (best_rank == definition.bpe.merges.size()) return ids;
    ids[best_at] = definition.bpe.merges[best_rank].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

TEST(Bpe, ShortAndLongWordsFollowTheDefinition) {
  const auto definition = ParseDefinition(ReadGolden("gpt2.tokenizer.json"), {});
  ASSERT_TRUE(definition.ok());
  std::vector<std::string> bytes;
  std::vector<std::string_view> token_bytes;
  const Tokenizer tokenizer = LoadGolden("gpt2");
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    token_bytes.push_back(tokenizer.TokenBytes(id));
  }
  const Bpe bpe(definition->bpe, token_bytes);
  std::mt19937 random(11);
  BpeScratch scratch;
  const std::string letters = "eeettaahinrsod ";
  for (int round = 0; round < 120; ++round) {
    std::string word(1 + random() % 100, ' ');  // the scan ends at 48 bytes
    for (char& c : word) c = letters[random() % letters.size()];
    std::vector<int32_t> ids;
    bpe.EncodeWord(word, &scratch, &ids);
    ASSERT_EQ(ids, MergeByDefinition(*definition, word)) << word;
  }
}

// The merge "a b" makes "ab", and "b c" outranks it: "abc" must stay [a, bc], although "abc" has no
// token and "ab" comes first.
TEST(Bpe, RankGoesBeforePlace) {
  nlohmann::json json = SmallTokenizerJson();
  json["model"]["vocab"]["bc"] = 257;
  json["model"]["merges"] = {"b c", "a b"};
  json["added_tokens"] = nlohmann::json::array();
  const auto tokenizer = Tokenizer::FromJson(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(*tokenizer->Encode("abc", false), (std::vector<int32_t>{'a', 257}));
}

// Both ways of merging take the leftmost of equal pairs: an odd one out stays at the right.
TEST(Bpe, TheLeftmostOfEqualsGoesFirst) {
  nlohmann::json json = SmallTokenizerJson();
  json["model"]["vocab"]["aa"] = 257;
  json["model"]["merges"] = {"a a"};
  json["added_tokens"] = nlohmann::json::array();
  const auto tokenizer = Tokenizer::FromJson(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  for (const size_t pairs : {1u, 5u, 500u}) {
    std::vector<int32_t> expected(pairs, 257);
    expected.push_back('a');
    EXPECT_EQ(*tokenizer->Encode(std::string(2 * pairs + 1, 'a'), false), expected);
  }
}

// Without ignore_merges a word that is a token, but not by its merges, is not that token.
TEST(Bpe, IgnoreMergesTakesWholeWords) {
  nlohmann::json json = SmallTokenizerJson();
  json["model"]["merges"] = nlohmann::json::array();
  const auto merged = Tokenizer::FromJson(json.dump());
  json["model"]["ignore_merges"] = true;
  const auto whole = Tokenizer::FromJson(json.dump());
  ASSERT_TRUE(merged.ok() && whole.ok());
  EXPECT_EQ(*merged->Encode("ab", false), (std::vector<int32_t>{'a', 'b'}));
  EXPECT_EQ(*whole->Encode("ab", false), (std::vector<int32_t>{256}));
  EXPECT_EQ(*whole->Encode("abb", false), (std::vector<int32_t>{'a', 'b', 'b'}));
}

// One word that is a whole text costs at most a constant number of looks per symbol: each symbol is
// offered once at first, and each merge, of which there are fewer than symbols, offers two pairs
// and so leaves at most as many entries to take from the heap.
TEST(Bpe, StepsGrowWithTheWordAlone) {
  for (const char* name : {"gpt2", "llama2", "sp_llama", "ranks"}) {
    const Definition definition = DefinitionOfGolden(name);
    const Tokenizer tokenizer = LoadGolden(name);
    std::vector<std::string_view> forms;
    for (int32_t id = 0; id < static_cast<int32_t>(definition.tokens.size()); ++id) {
      forms.push_back(definition.bpe.byte_level ? tokenizer.TokenBytes(id)
                                                : definition.tokens[static_cast<size_t>(id)]);
    }
    const Bpe bpe(definition.bpe, forms);
    for (const char* unit :
         {"a", "the server answers ", "\u2581\u2581", "\u4ECA\u5929", "\u0301"}) {
      std::string word;
      while (word.size() < 20'000) word += unit;
      BpeScratch scratch;
      std::vector<int32_t> ids;
      bpe.EncodeWord(word, &scratch, &ids);
      const auto symbols = static_cast<int64_t>(scratch.begins.size()) - 1;
      EXPECT_GE(scratch.steps, symbols) << name << " " << unit;
      EXPECT_LE(scratch.steps, 6 * symbols) << name << " " << unit;
    }
  }
}

}  // namespace
}  // namespace octet::tokenizer
