// Equality with Hugging Face's library on the goldens of make_goldens.py, and the small accessors.
#include "coordinator/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "coordinator/tokenizer/base64.h"
#include "coordinator/tokenizer/vocab_files.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet::tokenizer {

std::string ReadGolden(const std::string& name) {
  std::ifstream in(std::string(OCTET_SOURCE_DIR) + "/tests/coordinator/tokenizer/goldens/" + name);
  OCTET_CHECK(in.good());
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string ReadGoldenModel(const std::string& name) {
  std::string text = ReadGolden(name + ".model.base64");
  std::erase(text, '\n');
  const auto bytes = DecodeBase64(text);
  OCTET_CHECK(bytes.has_value());
  return *bytes;
}

namespace {

// The special tokens that make_goldens.py gives its ranks, and no others.
constexpr const char* kRanksConfig =
    R"({"added_tokens_decoder": {"1300": {"content": "<|endoftext|>", "special": true},
                                 "1303": {"content": "<|eot_id|>", "special": true}}})";

Result<Tokenizer> TryLoadGolden(const std::string& name) {
  if (name == "ranks") {
    const std::string ranks = ReadGolden("ranks.tiktoken");
    return Tokenizer::FromTiktoken({"ranks.tiktoken", ranks, kRanksConfig, {}});
  }
  if (name.starts_with("sp_")) {
    const std::string model = ReadGoldenModel(name);
    return Tokenizer::FromSentencePiece({"tokenizer.model", model, {}, {}});
  }
  return Tokenizer::FromJson(ReadGolden(name + ".tokenizer.json"));
}

}  // namespace

Tokenizer LoadGolden(const std::string& name) {
  auto tokenizer = TryLoadGolden(name);
  OCTET_CHECK_EQ(tokenizer.status().message(), "");
  return std::move(tokenizer).value();
}

namespace {

class Goldens : public testing::TestWithParam<const char*> {};

TEST_P(Goldens, EveryEncodingIsEqual) {
  const Tokenizer tokenizer = LoadGolden(GetParam());
  const auto texts = nlohmann::json::parse(ReadGolden("texts.json"));
  const auto golden = nlohmann::json::parse(ReadGolden(std::string(GetParam()) + ".json"));
  ASSERT_GT(golden["encode"].size(), 350u);
  for (const auto& row : golden["encode"]) {
    const auto text = texts[row[0].get<size_t>()].get<std::string>();
    const auto ids = tokenizer.Encode(text, row[1].get<bool>(), row[2].get<bool>());
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, row[3].get<std::vector<int32_t>>())
        << "text " << row[0] << " " << texts[row[0].get<size_t>()].dump() << " add " << row[1]
        << " parse " << row[2];
  }
}

TEST_P(Goldens, EveryDecodingIsEqual) {
  const Tokenizer tokenizer = LoadGolden(GetParam());
  const auto golden = nlohmann::json::parse(ReadGolden(std::string(GetParam()) + ".json"));
  ASSERT_GT(golden["decode"].size(), 100u);
  for (const auto& row : golden["decode"]) {
    EXPECT_EQ(tokenizer.Decode(row[0].get<std::vector<int32_t>>(), row[1].get<bool>()),
              row[2].get<std::string>())
        << row.dump();
  }
}

// Without `flags`, which puts spaces before pieces; under NFC text may change, but only once.
// Llama-2 with a normalizer that prepends gives each piece between two added tokens a space.
class LosslessGoldens : public testing::TestWithParam<const char*> {};

TEST_P(LosslessGoldens, DecodingReturnsTheText) {
  const bool nfc = std::string(GetParam()) == "qwen2";
  const Tokenizer tokenizer = LoadGolden(GetParam());
  for (const auto& entry : nlohmann::json::parse(ReadGolden("texts.json"))) {
    const auto text = entry.get<std::string>();
    const auto ids = tokenizer.Encode(text, false, false);
    ASSERT_TRUE(ids.ok());
    const std::string back = tokenizer.Decode(*ids, false);
    if (!nfc || text == back) {
      EXPECT_EQ(back, text);
      continue;
    }
    const auto again = tokenizer.Encode(back, false, false);
    EXPECT_EQ(*again, *ids) << "normalizing twice must change nothing: " << entry.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Goldens,
                         testing::Values("gpt2", "llama3", "qwen2", "flags", "llama2", "mistral3",
                                         "yi", "metaspace", "unk", "sp_llama", "sp_rules",
                                         "sp_plain", "ranks"),
                         [](const auto& info) { return std::string(info.param); });
INSTANTIATE_TEST_SUITE_P(Families, LosslessGoldens, testing::Values("gpt2", "llama3", "qwen2"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Tokenizer, TokensAreFoundBySpellingAndGiveTheirBytes) {
  const Tokenizer tokenizer = LoadGolden("qwen2");
  EXPECT_EQ(tokenizer.vocab_size(), 1305);
  const auto end = tokenizer.TokenId("<|endoftext|>");
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(*end, 1300);
  EXPECT_TRUE(tokenizer.IsSpecial(*end));
  EXPECT_EQ(tokenizer.TokenBytes(*end), "<|endoftext|>");
  const auto call = tokenizer.TokenId("<tool_call>");
  ASSERT_TRUE(call.has_value());
  EXPECT_FALSE(tokenizer.IsSpecial(*call));
  const auto space_the = tokenizer.TokenId("\u0120the");
  ASSERT_TRUE(space_the.has_value());
  EXPECT_EQ(tokenizer.TokenBytes(*space_the), " the");
  EXPECT_FALSE(tokenizer.TokenId("no such token").has_value());
}

TEST(Tokenizer, IdsOfNoTokenGiveNothing) {
  const Tokenizer tokenizer = LoadGolden("qwen2");
  for (const int32_t id : {-1, 1305, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer.TokenBytes(id), "");
    EXPECT_FALSE(tokenizer.IsSpecial(id));
    EXPECT_EQ(tokenizer.Decode(std::vector<int32_t>{id}, false), "");
  }
}

TEST(Tokenizer, InvalidUtf8IsRefusedWithItsPlace) {
  const Tokenizer tokenizer = LoadGolden("gpt2");
  const auto ids = tokenizer.Encode("ab\xFF", false);
  EXPECT_EQ(ids.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ids.status().message(), "text: not UTF-8 at byte 2");
}

TEST(Tokenizer, ConfigNamesBosAndEosAndMayAddThem) {
  const std::string json = SmallTokenizerJson().dump();
  const auto plain = Tokenizer::FromJson(json);
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->bos_id().has_value());
  EXPECT_FALSE(plain->eos_id().has_value());

  const auto hinted = Tokenizer::FromJson(
      json, R"({"bos_token": {"content": "<|end|>"}, "eos_token": "ab", "add_bos_token": true})");
  ASSERT_TRUE(hinted.ok()) << hinted.status().message();
  EXPECT_EQ(hinted->bos_id(), 257);
  EXPECT_EQ(hinted->eos_id(), 256);
  EXPECT_EQ(*hinted->Encode("b", true), (std::vector<int32_t>{257, 'b'}));
  EXPECT_EQ(*hinted->Encode("b", false), (std::vector<int32_t>{'b'}));

  const auto unknown = Tokenizer::FromJson(json, R"({"eos_token": "</s>"})");
  EXPECT_EQ(unknown.status().message(),
            "tokenizer_config.json: eos_token is `</s>`, which tokenizer.json does not have");
}

// Of texts in brackets, which are plain. They are normalized with what stands beside them.
TEST(Tokenizer, PlainTextSpellsNoSpecialToken) {
  nlohmann::json json = SmallTokenizerJson();
  const auto ids = [&](const std::string& marked) {
    const auto tokenizer = Tokenizer::FromJson(json.dump());
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    std::string text;
    ByteSpans plain;
    for (size_t at = 0; at < marked.size(); ++at) {
      const size_t end = marked[at] == '[' ? marked.find(']', at) : at;
      if (marked[at] == '[') plain.Add(text.size(), text.size() + end - at - 1);
      text += marked[at] == '[' ? marked.substr(at + 1, end - at - 1) : marked.substr(at, 1);
      at = end;
    }
    const Result<std::vector<int32_t>> found = tokenizer->Encode(text, false, plain);
    EXPECT_TRUE(found.ok());
    std::string shown;  // what is not a special token as its bytes
    for (const int32_t id : *found)
      shown += id == 257 ? std::string("#") : std::string(tokenizer->TokenBytes(id));
    return shown;
  };
  const std::string end = "<|end|>";
  EXPECT_EQ(ids(end + "[a" + end + "b]" + end), "#a<|end|>b#");
  EXPECT_EQ(ids(end + "[<|e]nd|>[]" + end), "#<|end|>#");

  json["added_tokens"][0]["normalized"] = true;
  EXPECT_EQ(ids(end + "[a" + end + "b]" + end), "#a<|end|>b#");
  json["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(ids("e[\u0301" + end + "]" + end), "\u00E9<|end|>#");
  EXPECT_EQ(ids("e[\u0301\u0302a\u0301" + end + "e]\u0301" + end + "[\u0301]"),
            "\u00E9\u0302\u00E1<|end|>\u00E9#\u0301");
  EXPECT_EQ(ids("\u1100[\u1161]\u11A8" + end + "[" + end + "]"), "\uAC01#<|end|>");
  json["normalizer"] = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}};
  EXPECT_EQ(ids(" [ " + end + "]" + end), "<|end|>#");
  json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "--"}};
  EXPECT_EQ(ids("aa[a" + end + "a]" + end), "------<|end|>--#");
  json["normalizer"] = {{"type", "Prepend"}, {"prepend", "--"}};
  EXPECT_EQ(ids("[" + end + "]"), "--<|end|>") << "the searched form is --<|end|>";
}

// The class of Llama rebuilds its template from the keys; others ignore them.
TEST(Tokenizer, LlamasConfigDecidesAboutTheTemplate) {
  const std::string json = ReadGolden("llama2.tokenizer.json");
  const auto ids = [&](const std::string& config) {
    const auto tokenizer = Tokenizer::FromJson(json, config);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    return *tokenizer->Encode("<s>", true);
  };
  const std::string ends = R"({"bos_token": "<s>", "eos_token": "</s>")";
  const std::string llama = ends + R"(, "tokenizer_class": "LlamaTokenizer")";
  EXPECT_EQ(ids(ends + "}"), (std::vector<int32_t>{1, 1}));
  EXPECT_EQ(ids(ends + R"(, "add_bos_token": false})"), (std::vector<int32_t>{1, 1}));
  EXPECT_EQ(ids(llama + "}"), (std::vector<int32_t>{1, 1}));
  EXPECT_EQ(ids(llama + R"(, "add_bos_token": false})"), (std::vector<int32_t>{1}));
  EXPECT_EQ(ids(llama + R"(, "add_bos_token": true, "add_eos_token": true})"),
            (std::vector<int32_t>{1, 1, 2}));
}

TEST(Tokenizer, LoadsAFolder) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "octet_tokenizer_test";
  fs::create_directories(dir);
  EXPECT_EQ(Tokenizer::Load((dir / "none").string()).status().code(), StatusCode::kNotFound);
  std::ofstream(dir / "tokenizer.json") << SmallTokenizerJson();
  std::ofstream(dir / "tokenizer_config.json") << R"({"eos_token": "<|end|>"})";
  const auto tokenizer = Tokenizer::Load(dir.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(tokenizer->eos_id(), 257);
  std::ofstream(dir / "tokenizer.json") << "{";
  EXPECT_EQ(Tokenizer::Load(dir.string()).status().message(),
            dir.string() + ": tokenizer.json: not valid JSON at byte 2");
  fs::remove_all(dir);
}

// vocab.json and merges.txt of goldens/NAME.tokenizer.json.
void WriteVocabAndMerges(const std::string& name, const std::filesystem::path& dir) {
  const auto spec = nlohmann::json::parse(ReadGolden(name + ".tokenizer.json"));
  std::ofstream(dir / "vocab.json") << spec["model"]["vocab"];
  std::ofstream merges(dir / "merges.txt");
  merges << "#version: 0.2\n";
  for (const auto& merge : spec["model"]["merges"]) {
    merges << (merge.is_array() ? merge[0].get<std::string>() + " " + merge[1].get<std::string>()
                                : merge.get<std::string>())
           << "\n";
  }
}

// As OPT's checkpoints: the pair of files is the same tokenizer as the one file with both.
TEST(Tokenizer, LoadsVocabAndMerges) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "octet_vocab_merges_test";
  fs::create_directories(dir);
  WriteVocabAndMerges("gpt2", dir);
  std::ofstream(dir / "tokenizer_config.json")
      << R"({"tokenizer_class": "GPT2Tokenizer", "bos_token": {"content": "<|endoftext|>"},
             "add_bos_token": true, "add_prefix_space": false,
             "additional_special_tokens": ["easure"]})";
  const auto pair = Tokenizer::Load(dir.string());
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  const Tokenizer one = LoadGolden("gpt2");
  EXPECT_EQ(pair->vocab_size(), one.vocab_size());
  for (const auto& entry : nlohmann::json::parse(ReadGolden("texts.json"))) {
    const auto text = entry.get<std::string>();
    EXPECT_EQ(*pair->Encode(text, false), *one.Encode(text, false)) << text;
  }
  EXPECT_EQ((*pair->Encode("a", true))[0], *one.TokenId("<|endoftext|>"));
  const std::vector<int32_t> named = {*one.TokenId("easure")};
  EXPECT_EQ(pair->Decode(named, true), "");
  const auto added_id = static_cast<int32_t>(one.vocab_size());
  std::ofstream(dir / "added_tokens.json") << "{\"[USER]\": " << added_id << "}";
  const auto more = Tokenizer::Load(dir.string());
  ASSERT_TRUE(more.ok()) << more.status().message();
  EXPECT_EQ(*more->Encode("[USER]", false), std::vector<int32_t>{added_id});
  EXPECT_EQ(*more->Encode(" the others as before", false),
            *one.Encode(" the others as before", false));
  std::ofstream(dir / "merges.txt") << "\u0120 t\nx\n";
  EXPECT_EQ(Tokenizer::Load(dir.string()).status().message(),
            dir.string() +
                ": vocab.json and merges.txt: model.merges[1] is `x`, expected two "
                "tokens, as \"a b\" or [\"a\", \"b\"]");
  std::ofstream(dir / "merges.txt") << "a\xFF b\n";
  EXPECT_EQ(Tokenizer::Load(dir.string()).status().message(),
            dir.string() + ": merges.txt: merge 0 is not UTF-8 at byte 1");
  fs::remove_all(dir);
}

// What the config names is special, whatever tokenizer.json says; an older map of names goes first.
TEST(Tokenizer, NamedTokensAreSpecial) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "octet_named_tokens_test";
  fs::create_directories(dir);
  nlohmann::json spec = SmallTokenizerJson();
  spec["added_tokens"][0]["special"] = false;
  nlohmann::json other = spec["added_tokens"][0];
  other["content"] = "<|stop|>";
  other["id"] = 258;
  spec["added_tokens"].push_back(other);
  std::ofstream(dir / "tokenizer.json") << spec;
  const auto load = [&] { return Tokenizer::Load(dir.string()); };
  const std::vector<int32_t> both = {257, 258};
  EXPECT_EQ(load()->Decode(both, true), "<|end|><|stop|>");
  std::ofstream(dir / "tokenizer_config.json") << R"({"eos_token": "<|end|>"})";
  EXPECT_EQ(load()->eos_id(), 257);
  EXPECT_EQ(load()->Decode(both, true), "<|stop|>");
  EXPECT_EQ(load()->Encode("<|stop|>", false)->size(), 1u);
  std::ofstream(dir / "special_tokens_map.json")
      << R"({"eos_token": {"content": "<|stop|>"}, "additional_special_tokens": ["<|end|>"]})";
  EXPECT_EQ(load()->eos_id(), 258);
  EXPECT_EQ(load()->Decode(both, true), "");
  std::ofstream(dir / "tokenizer_config.json")
      << R"({"eos_token": "<|end|>", "added_tokens_decoder": {}})";
  EXPECT_EQ(load()->eos_id(), 257);
  EXPECT_EQ(load()->Decode(both, true), "<|stop|>");
  std::ofstream(dir / "tokenizer_config.json") << "{}";
  std::ofstream(dir / "special_tokens_map.json") << "[";
  EXPECT_EQ(load().status().message(),
            dir.string() + ": special_tokens_map.json: not valid JSON at byte 2");
  fs::remove_all(dir);
}

// Qwen2's words and normal form are others than GPT-2's: its class says so, no file does.
TEST(Tokenizer, LoadsVocabAndMergesOfQwen2) {
  namespace fs = std::filesystem;
  const fs::path dir = fs::path(testing::TempDir()) / "octet_vocab_merges_qwen2_test";
  fs::create_directories(dir);
  WriteVocabAndMerges("qwen2", dir);
  const auto spec = nlohmann::json::parse(ReadGolden("qwen2.tokenizer.json"));
  nlohmann::json config = {{"tokenizer_class", "Qwen2Tokenizer"}};
  for (const auto& token : spec["added_tokens"]) {
    config["added_tokens_decoder"][std::to_string(token["id"].get<int>())] = token;
  }
  std::ofstream(dir / "tokenizer_config.json") << config;
  const auto pair = Tokenizer::Load(dir.string());
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  const Tokenizer one = LoadGolden("qwen2");
  EXPECT_EQ(pair->vocab_size(), one.vocab_size());
  for (const auto& entry : nlohmann::json::parse(ReadGolden("texts.json"))) {
    const auto text = entry.get<std::string>();
    EXPECT_EQ(*pair->Encode(text, false), *one.Encode(text, false)) << text;
    EXPECT_EQ(*pair->Encode(text, true), *one.Encode(text, true)) << text;
  }
  // Where no class is named, the model's type tells; what neither tells is not guessed.
  config.erase("tokenizer_class");
  std::ofstream(dir / "tokenizer_config.json") << config;
  const std::string digits = "in 1234 e\u0301";  // apart in one, together in the other
  std::ofstream(dir / "config.json") << R"({"model_type": "qwen2"})";
  EXPECT_EQ(*Tokenizer::Load(dir.string())->Encode(digits, false), *one.Encode(digits, false));
  std::ofstream(dir / "config.json") << R"({"model_type": "opt"})";
  EXPECT_NE(*Tokenizer::Load(dir.string())->Encode(digits, false), *one.Encode(digits, false));
  std::ofstream(dir / "config.json") << R"({"model_type": "roberta"})";
  EXPECT_NE(Tokenizer::Load(dir.string()).status().message().find("of the type 'roberta'"),
            std::string::npos);
  config["tokenizer_class"] = "BartTokenizer";
  std::ofstream(dir / "tokenizer_config.json") << config;
  EXPECT_NE(Tokenizer::Load(dir.string()).status().message().find("of the class 'BartTokenizer'"),
            std::string::npos);
  fs::remove_all(dir);
}

}  // namespace
}  // namespace octet::tokenizer
