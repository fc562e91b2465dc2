// Files of tiktoken: Qwen v1's own, Llama-3's under the name of sentencepiece's, broken ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "coordinator/tokenizer/base64.h"
#include "coordinator/tokenizer/byte_alphabet.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/utf8.h"
#include "coordinator/tokenizer/vocab_files.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet::tokenizer {
namespace {

std::string Base64(std::string_view bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    for (size_t i = 0; i < 3; ++i) {
      const bool there = at + i < bytes.size();
      bits = (bits << 8) | (there ? static_cast<uint8_t>(bytes[at + i]) : 0u);
    }
    for (int shift = 18; shift >= 0; shift -= 6) text.push_back(kAlphabet[(bits >> shift) & 63]);
    for (size_t i = bytes.size() - at; i < 3; ++i) text[text.size() - 3 + i] = '=';
  }
  return text;
}

std::string Line(std::string_view bytes, int64_t rank) {
  return Base64(bytes) + " " + std::to_string(rank) + "\n";
}

// The 256 bytes in the order of GPT-2's alphabet, which Qwen's file begins with too.
std::string ByteLines() {
  std::vector<std::pair<int32_t, uint8_t>> order;
  for (int byte = 0; byte < 256; ++byte) {
    order.emplace_back(SpellingOfByte(static_cast<uint8_t>(byte)), static_cast<uint8_t>(byte));
  }
  std::sort(order.begin(), order.end());
  std::string lines;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    lines +=
        Line(std::string(1, static_cast<char>(order[rank].second)), static_cast<int64_t>(rank));
  }
  return lines;
}

// Every token of qwen.tiktoken that is part of the texts below, with its rank there.
std::string QwenLines() {
  const std::pair<const char*, int64_t> tokens[] = {{"in", 258},
                                                    {"en", 268},
                                                    {"nd", 303},
                                                    {"ex", 327},
                                                    {"int", 396},
                                                    {"nt", 406},
                                                    {"end", 408},
                                                    {"ext", 427},
                                                    {"(\"", 445},
                                                    {"ri", 461},
                                                    {"pr", 649},
                                                    {"te", 665},
                                                    {"ft", 723},
                                                    {"\")", 899},
                                                    {"of", 1055},
                                                    {"text", 1318},
                                                    {"print", 1350},
                                                    {"rint", 1586},
                                                    {"xt", 2252},
                                                    {"do", 2982},
                                                    {" \xE6", 6567},
                                                    {"endo", 8691},
                                                    {"(\"<", 9639},
                                                    {">\"", 9877},
                                                    {"oft", 14118},
                                                    {"\xE6\xA0", 14959},
                                                    {"\"<", 22476},
                                                    {"rin", 25288},
                                                    {"tex", 33344},
                                                    {" \xE6\xA0", 51461},
                                                    {"fte", 63319},
                                                    {"pri", 68608},
                                                    {">\")", 82598},
                                                    {"ndo", 89214},
                                                    {"\xE6\xA0\xB9", 99408}};
  std::string lines = ByteLines();
  for (const auto& [token, rank] : tokens) lines += Line(token, rank);
  return lines;
}

Tokenizer LoadQwen() {
  const std::string lines = QwenLines();
  auto tokenizer = Tokenizer::FromTiktoken({"qwen.tiktoken", lines, {}, {}});
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return std::move(*tokenizer);
}

// The examples of Qwen's tokenization_note.md.
TEST(Tiktoken, QwensOwnExamples) {
  const Tokenizer qwen = LoadQwen();
  const std::string text = "print(\"<|endoftext|>\")";
  EXPECT_EQ(*qwen.Encode(text, false, true), (std::vector<int32_t>{1350, 445, 151643, 899}));
  EXPECT_EQ(*qwen.Encode(text, false, false),
            (std::vector<int32_t>{1350, 9639, 91, 8691, 723, 427, 91, 82598}));
  EXPECT_EQ(qwen.Decode(std::vector<int32_t>{51461, 117}, false), " \u6839");
  EXPECT_EQ(qwen.Decode(std::vector<int32_t>{51461}, false), " \uFFFD");
  EXPECT_EQ(*qwen.Encode(" \u6839", false), (std::vector<int32_t>{51461, 117}));
}

TEST(Tiktoken, QwensSpecialTokensHaveFixedIds) {
  const Tokenizer qwen = LoadQwen();
  EXPECT_EQ(qwen.vocab_size(), 151851);
  EXPECT_EQ(qwen.TokenId("<|im_start|>"), 151644);
  EXPECT_EQ(qwen.TokenId("<|im_end|>"), 151645);
  EXPECT_EQ(qwen.TokenId("<|extra_0|>"), 151646);
  EXPECT_EQ(qwen.TokenId("<|extra_204|>"), 151850);
  EXPECT_TRUE(qwen.IsSpecial(151850));
  EXPECT_EQ(qwen.eos_id(), 151643);
  EXPECT_EQ(qwen.Decode(std::vector<int32_t>{1350, 151643, 150000}, true), "print");
  EXPECT_EQ(qwen.Decode(std::vector<int32_t>{1350, 151643, 150000}, false), "print<|endoftext|>");
}

// NFC comes first, and may take the end of what reads like a special token away.
TEST(Tiktoken, QwenNormalizesBeforeItLooksForSpecialTokens) {
  const Tokenizer qwen = LoadQwen();
  EXPECT_EQ(*qwen.Encode("e\u0301", false), *qwen.Encode("\u00E9", false));
  const auto ids = *qwen.Encode("<|im_end|>\u0338", false);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 151645), 0);
}

TEST(Tiktoken, Llama3sModelIsKnownByItsSize) {
  std::string lines = ByteLines();
  for (int64_t rank = 256; rank < 128000; ++rank) {
    lines += Line("\xFF" + std::to_string(rank), rank);
  }
  EXPECT_TRUE(LooksLikeTiktoken(lines));
  const auto llama = Tokenizer::FromTiktoken({"tokenizer.model", lines, {}, {}});
  ASSERT_TRUE(llama.ok()) << llama.status().message();
  EXPECT_EQ(llama->vocab_size(), 128256);
  EXPECT_EQ(llama->TokenId("<|eot_id|>"), 128009);
  EXPECT_EQ(llama->TokenId("<|python_tag|>"), 128010);
  EXPECT_EQ(llama->TokenId("<|reserved_special_token_247|>"), 128255);
  EXPECT_EQ(*llama->Encode("<|eot_id|>", true), (std::vector<int32_t>{128000, 128009}));
}

TEST(Tiktoken, SpecialTokensOfTheConfigTakeNoBytes) {
  const std::string lines = ByteLines() + Line("ab", 256);
  const auto load = [&](const std::string& config) {
    return Tokenizer::FromTiktoken({"x.tiktoken", lines, config, {}}).status().message();
  };
  const auto added = [](const std::string& id, const std::string& content) {
    return R"({"added_tokens_decoder": {")" + id + R"(": {"content": ")" + content +
           R"(", "special": true}}})";
  };
  EXPECT_EQ(load(added("300", "<s>")), "");
  EXPECT_EQ(load(added("256", "<s>")), "");
  EXPECT_EQ(load(added("0", "<s>")),
            "tokenizer_config.json: added_tokens_decoder.0 gives `<s>` the id 0, which is that of "
            "the byte 33");
  EXPECT_EQ(load(added("x", "<s>")),
            "tokenizer_config.json: added_tokens_decoder has the key `x`, expected a token id in "
            "[0, 1048576)");
  EXPECT_EQ(
      load(added("2000000", "<s>")),
      "tokenizer_config.json: added_tokens_decoder has the key `2000000`, expected a token id "
      "in [0, 1048576)");
  EXPECT_EQ(load(added("300", "ab")),
            "tokenizer_config.json: added_tokens_decoder.300 gives `ab` the id 300, and 256 is its "
            "id already");
  EXPECT_EQ(load(added("300", "")),
            "tokenizer_config.json: added_tokens_decoder.300 holds an empty token");
}

std::string RefusalOf(const std::string& name, const std::string& lines) {
  const auto tokenizer = Tokenizer::FromTiktoken({name, lines, {}, {}});
  EXPECT_FALSE(tokenizer.ok());
  return tokenizer.status().message();
}

TEST(Tiktoken, RefusesBrokenFiles) {
  const std::string bytes = ByteLines();
  const auto with = [&](const std::string& line) { return RefusalOf("x.tiktoken", bytes + line); };
  EXPECT_EQ(RefusalOf("x.tiktoken", ""),
            "x.tiktoken: no line has the byte 0 alone; a vocabulary of tiktoken has all 256");
  for (const char* line : {"YWI=", "YWI= ", "YWI= x", "YWI= 256 7", "YWI= -1", "YW I= 256",
                           "YWI 256", "Y?I= 256", "==== 256", " 256", "YWI= 99999999999"}) {
    EXPECT_EQ(with(line), "x.tiktoken: line 257 is `" + std::string(line) +
                              "`, expected base64, a space and a rank");
  }
  EXPECT_EQ(with("\xFF\xFE 3"),
            "x.tiktoken: line 257 is not UTF-8, expected base64, a space and a rank");
  EXPECT_EQ(with(Line("a", 256)), "x.tiktoken: line 257 has the bytes of the rank 64 again");
  EXPECT_EQ(with(Line("ab", 64)),
            "x.tiktoken: line 257 has the rank 64, which an earlier line has");
  EXPECT_EQ(with(Line("ab", 1 << 20)),
            "x.tiktoken: line 257 has the rank 1048576, the limit is 1048575");
  EXPECT_EQ(with(Line(std::string(2000, 'a'), 256)),
            "x.tiktoken: line 257 has a token of 2000 bytes, the limit is 1024");
  EXPECT_EQ(RefusalOf("qwen.tiktoken", bytes + Line("ab", 151644)),
            "qwen.tiktoken: the rank 151644 is in the file, expected `<|im_start|>` to have this "
            "id");
  // Empty lines and the line ends of Windows are no fault.
  EXPECT_TRUE(Tokenizer::FromTiktoken({"x.tiktoken", bytes + "\n\r\nYWI= 256\r\n", {}, {}}).ok());
}

TEST(Tiktoken, AFolderWithoutTokenizerJson) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "octet_tiktoken_test";
  fs::create_directories(dir);
  std::ofstream(dir / "qwen.tiktoken") << QwenLines();
  std::ofstream(dir / "tokenizer_config.json") << R"({"tokenizer_class": "QWenTokenizer"})";
  const auto qwen = Tokenizer::Load(dir.string());
  ASSERT_TRUE(qwen.ok()) << qwen.status().message();
  EXPECT_EQ(qwen->TokenId("<|im_end|>"), 151645);
  std::ofstream(dir / "qwen.tiktoken") << "garbage";
  EXPECT_EQ(Tokenizer::Load(dir.string()).status().message(),
            dir.string() +
                ": qwen.tiktoken: line 1 is `garbage`, expected base64, a space and a "
                "rank");
  fs::remove(dir / "qwen.tiktoken");
  std::ofstream(dir / "vocab.txt") << "a\n";
  EXPECT_EQ(Tokenizer::Load(dir.string()).status().message(),
            dir.string() +
                ": the tokenizer is vocab.txt, supported are tokenizer.json, "
                "tokenizer.model, *.tiktoken, and vocab.json with merges.txt");
  fs::remove_all(dir);
}

}  // namespace
}  // namespace octet::tokenizer
