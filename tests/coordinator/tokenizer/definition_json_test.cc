// Broken and foreign files: each is refused with one sentence that names the place.
#include "coordinator/tokenizer/definition_json.h"

#include <gtest/gtest.h>

#include <functional>

#include "coordinator/tokenizer/limits.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet::tokenizer {
namespace {

using nlohmann::json;

struct Broken {
  const char* what;
  std::function<void(json&)> change;
  StatusCode code;
  const char* sentence;
};

void ExpectRefused(const std::vector<Broken>& cases) {
  for (const Broken& c : cases) {
    json root = SmallTokenizerJson();
    c.change(root);
    const auto tokenizer = Tokenizer::FromJson(root.dump());
    EXPECT_EQ(tokenizer.status().code(), c.code) << c.what << ": " << tokenizer.status().message();
    EXPECT_EQ(tokenizer.status().message(), c.sentence) << c.what;
  }
}

TEST(DefinitionJson, TheSmallTokenizerIsSound) {
  const auto tokenizer = Tokenizer::FromJson(SmallTokenizerJson().dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ(*tokenizer->Encode("ab<|end|>b", true), (std::vector<int32_t>{256, 257, 'b'}));
}

TEST(DefinitionJson, RefusesABrokenModel) {
  ExpectRefused({
      {"no model", [](json& r) { r.erase("model"); }, kBad,
       "tokenizer.json: model is missing, expected an object"},
      {"model is a list", [](json& r) { r["model"] = json::array(); }, kBad,
       "tokenizer.json: model is array, expected an object"},
      {"no vocab", [](json& r) { r["model"].erase("vocab"); }, kBad,
       "tokenizer.json: model.vocab is missing, expected an object"},
      {"empty vocab", [](json& r) { r["model"]["vocab"] = json::object(); }, kBad,
       "tokenizer.json: model.vocab is object, expected at least the 256 bytes"},
      {"a byte is missing",
       [](json& r) {
         r["model"]["vocab"].erase("b");
         r["model"]["vocab"]["bb"] = 'b';
       },
       kBad,
       "tokenizer.json: model.vocab has no token for the byte 98 (spelled `b`); a byte-level "
       "vocabulary has all 256"},
      {"id is text", [](json& r) { r["model"]["vocab"]["ab"] = "256"; }, kBad,
       "tokenizer.json: model.vocab is `256`, expected a token id in [0, 1048576) for the token "
       "`ab`"},
      {"id is negative", [](json& r) { r["model"]["vocab"]["ab"] = -1; }, kBad,
       "tokenizer.json: model.vocab is -1, expected a token id in [0, 1048576) for the token `ab`"},
      {"id is huge", [](json& r) { r["model"]["vocab"]["ab"] = 4294967296; }, kBad,
       "tokenizer.json: model.vocab is 4294967296, expected a token id in [0, 1048576) for the "
       "token `ab`"},
      {"gap", [](json& r) { r["model"]["vocab"]["ab"] = 300; }, kBad,
       "tokenizer.json: no token has the id 256, while ids go up to 300"},
      {"one id twice", [](json& r) { r["model"]["vocab"]["ab"] = 98; }, kBad,
       "tokenizer.json: model.vocab gives the id 98 to both `ab` and `b`"},
      {"empty token", [](json& r) { r["model"]["vocab"][""] = 258; }, kBad,
       "tokenizer.json: model.vocab holds an empty token"},
      {"long token", [](json& r) { r["model"]["vocab"][std::string(3000, 'x')] = 258; }, kTooMuch,
       "tokenizer.json: model.vocab holds a token of 3000 bytes, the limit is 2048"},
      {"old file without type",
       [](json& r) {
         r["model"] = {{"vocab", json::array()}};
       },
       kBad, "tokenizer.json: model.type is missing, expected a string"},
  });
}

TEST(DefinitionJson, RefusesBrokenMerges) {
  ExpectRefused({
      {"no merges", [](json& r) { r["model"].erase("merges"); }, kBad,
       "tokenizer.json: model.merges is missing, expected an array"},
      {"unknown part", [](json& r) { r["model"]["merges"] = {"a xyz"}; }, kBad,
       "tokenizer.json: model.merges[0] needs the token `xyz`, which model.vocab does not have"},
      {"unknown result",
       [](json& r) {
         r["model"]["merges"] = {"a b", "ab a"};
       },
       kBad,
       "tokenizer.json: model.merges[1] needs the token `aba`, which model.vocab does not have"},
      {"a merge of a token with itself", [](json& r) { r["model"]["merges"] = {"ab ab"}; }, kBad,
       "tokenizer.json: model.merges[0] needs the token `abab`, which model.vocab does not have"},
      {"twice",
       [](json& r) {
         r["model"]["merges"] = {"a b", "a b"};
       },
       kBad, "tokenizer.json: model.merges[1] merges `a` and `b` a second time"},
      {"one word", [](json& r) { r["model"]["merges"] = {"ab"}; }, kBad,
       "tokenizer.json: model.merges[0] is `ab`, expected two tokens, as \"a b\" or [\"a\", "
       "\"b\"]"},
      {"three parts",
       [](json& r) {
         r["model"]["merges"] = {{"a", "b", "c"}};
       },
       kBad,
       "tokenizer.json: model.merges[0] is array, expected two tokens, as \"a b\" or [\"a\", "
       "\"b\"]"},
      {"numbers", [](json& r) { r["model"]["merges"] = {7}; }, kBad,
       "tokenizer.json: model.merges[0] is 7, expected two tokens, as \"a b\" or [\"a\", \"b\"]"},
  });
}

TEST(DefinitionJson, RefusesBrokenAddedTokens) {
  ExpectRefused({
      {"not a list", [](json& r) { r["added_tokens"] = 1; }, kBad,
       "tokenizer.json: added_tokens is 1, expected an array"},
      {"no content", [](json& r) { r["added_tokens"][0].erase("content"); }, kBad,
       "tokenizer.json: added_tokens[0].content is missing, expected a string"},
      {"empty content", [](json& r) { r["added_tokens"][0]["content"] = ""; }, kBad,
       "tokenizer.json: added_tokens[0] holds an empty token"},
      {"flag is a number", [](json& r) { r["added_tokens"][0]["lstrip"] = 1; }, kBad,
       "tokenizer.json: added_tokens[0].lstrip is 1, expected true or false"},
      {"takes an id", [](json& r) { r["added_tokens"][0]["id"] = 256; }, kBad,
       "tokenizer.json: added_tokens[0] gives the id 256 to both `ab` and `<|end|>`"},
      {"another id than the vocab", [](json& r) { r["added_tokens"][0]["content"] = "ab"; }, kBad,
       "tokenizer.json: added_tokens[0] gives `ab` the id 257, model.vocab the id 256"},
      {"content twice",
       [](json& r) {
         r["added_tokens"].push_back(r["added_tokens"][0]);
         r["added_tokens"][1]["id"] = 258;
       },
       kBad, "tokenizer.json: added_tokens lists `<|end|>` twice"},
      {"gap", [](json& r) { r["added_tokens"][0]["id"] = 1000; }, kBad,
       "tokenizer.json: no token has the id 257, while ids go up to 1000"},
      {"same after NFC",
       [](json& r) {
         r["normalizer"] = {{"type", "NFC"}};
         r["added_tokens"] = {{{"id", 257}, {"content", "e\u0301"}},
                              {{"id", 258}, {"content", "\u00E9\u0323"}},
                              {{"id", 259}, {"content", "e\u0323\u0301"}}};
       },
       kBad,
       "tokenizer.json: added_tokens `\u00E9\u0323` and `e\u0323\u0301` are the same after "
       "normalization"},
  });
}

TEST(DefinitionJson, NamesWhatIsForeign) {
  const auto model = [](const char* key, json value) {
    return [=](json& r) { r["model"][key] = value; };
  };
  const auto stage = [](const char* key, json value) { return [=](json& r) { r[key] = value; }; };
  ExpectRefused({
      {"WordPiece", model("type", "WordPiece"), kForeign,
       "tokenizer.json: model.type: `WordPiece` is not supported; supported: BPE"},
      {"dropout", model("dropout", 0.1), kForeign,
       "tokenizer.json: model.dropout: a dropout is not supported; supported: null"},
      {"suffix", model("end_of_word_suffix", "</w>"), kForeign,
       "tokenizer.json: model.end_of_word_suffix: a prefix or suffix of subwords is not supported; "
       "supported: null"},
      {"Lowercase", stage("normalizer", {{"type", "Lowercase"}}), kForeign,
       "tokenizer.json: normalizer: `Lowercase` is not supported; supported: NFC, NFKC, Prepend, "
       "Replace, Strip, Sequence"},
      {"a Regex is replaced",
       stage("normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", " +"}}}, {"content", " "}}),
       kForeign,
       "tokenizer.json: normalizer.pattern: a Regex is not supported; supported: a String"},
      {"nothing is replaced",
       stage("normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", " "}}),
       kBad, "tokenizer.json: normalizer.pattern.String is ``, expected a text that is not empty"},
      {"a long prefix",
       stage("normalizer", {{"type", "Prepend"}, {"prepend", std::string(300, 'x')}}), kTooMuch,
       "tokenizer.json: normalizer.prepend has 300 bytes, the limit is 256"},
      {"many normalizers",
       [](json& r) {
         const json nine = {{"type", "Sequence"}, {"normalizers", json(9, {{"type", "NFC"}})}};
         r["normalizer"] = {{"type", "Sequence"}, {"normalizers", {nine, nine}}};
       },
       kTooMuch, "tokenizer.json: normalizer.normalizers[1].normalizers[7]: more than 16 steps"},
      {"Whitespace", stage("pre_tokenizer", {{"type", "Whitespace"}}), kForeign,
       "tokenizer.json: pre_tokenizer: `Whitespace` is not supported; supported: ByteLevel, "
       "Metaspace, Split, Digits, Sequence"},
      {"an unknown scheme",
       stage("pre_tokenizer",
             {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "sometimes"}}),
       kBad,
       "tokenizer.json: pre_tokenizer.prepend_scheme is `sometimes`, expected first, always or "
       "never"},
      {"two schemes",
       stage("pre_tokenizer",
             {{"type", "Metaspace"}, {"replacement", "_"}, {"add_prefix_space", false}}),
       kBad,
       "tokenizer.json: pre_tokenizer.add_prefix_space is false, expected true, as prepend_scheme "
       "is \"always\""},
      {"two characters for a space",
       stage("pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "__"}}), kBad,
       "tokenizer.json: pre_tokenizer.replacement is `__`, expected one character"},
      {"a decoder of bytes alone", stage("pre_tokenizer", {{"type", "Digits"}}), kForeign,
       "tokenizer.json: decoder: `ByteLevel` without ByteLevel in the pre_tokenizer is not "
       "supported; supported: Replace, ByteFallback, Metaspace, Fuse, Strip, in this order"},
      {"a pre-tokenizer of bytes alone", stage("decoder", {{"type", "Fuse"}}), kBad,
       "tokenizer.json: decoder is object, expected ByteLevel, as the pre_tokenizer has it"},
      {"a decoder in another order",
       stage("decoder", {{"type", "Sequence"},
                         {"decoders", {{{"type", "Fuse"}}, {{"type", "ByteFallback"}}}}}),
       kForeign,
       "tokenizer.json: decoder.decoders[1]: `ByteFallback` at this place is not supported; "
       "supported: Replace, ByteFallback, Metaspace, Fuse, Strip, in this order"},
      {"a decoder that strips the end",
       stage("decoder", {{"type", "Sequence"},
                         {"decoders",
                          {{{"type", "Fuse"}},
                           {{"type", "Strip"}, {"content", " "}, {"start", 0}, {"stop", 1}}}}}),
       kForeign, "tokenizer.json: decoder.decoders[1].stop: 1 is not supported; supported: 0"},
      {"a decoder of nothing",
       stage("decoder", {{"type", "Sequence"}, {"decoders", json::array()}}), kBad,
       "tokenizer.json: decoder is object, expected a decoder that does something"},
      {"an added token that is nothing",
       [](json& r) {
         r["normalizer"] = {{"type", "Strip"}, {"strip_left", true}, {"strip_right", true}};
         r["added_tokens"][0]["content"] = " ";
         r["added_tokens"][0]["normalized"] = true;
       },
       kBad,
       "tokenizer.json: added_tokens ` ` is empty after normalization, expected a text to search "
       "for"},
      {"an unk that is no token",
       [](json& r) {
         r["pre_tokenizer"] = nullptr;
         r["model"]["unk_token"] = "<unk>";
       },
       kBad, "tokenizer.json: model.unk_token is `<unk>`, which model.vocab does not have"},
      {"Removed",
       stage("pre_tokenizer",
             {{"type", "Split"}, {"pattern", {{"Regex", "x"}}}, {"behavior", "Removed"}}),
       kForeign,
       "tokenizer.json: pre_tokenizer.behavior: `Removed` is not supported; supported: Isolated"},
      {"String",
       stage("pre_tokenizer",
             {{"type", "Split"}, {"pattern", {{"String", "x"}}}, {"behavior", "Isolated"}}),
       kBad, "tokenizer.json: pre_tokenizer.pattern is object, expected {\"Regex\": ...}"},
      {"Roberta", stage("post_processor", {{"type", "RobertaProcessing"}}), kForeign,
       "tokenizer.json: post_processor: `RobertaProcessing` is not supported; supported: "
       "TemplateProcessing, ByteLevel, Sequence"},
      {"WordPiece decoder", stage("decoder", {{"type", "WordPiece"}}), kForeign,
       "tokenizer.json: decoder: `WordPiece` is not supported; supported: ByteLevel, Replace, "
       "ByteFallback, Metaspace, Fuse, Strip, Sequence"},
      {"no decoder", stage("decoder", nullptr), kBad,
       "tokenizer.json: decoder is missing, expected an object"},
      {"template without text",
       stage("post_processor", {{"type", "TemplateProcessing"}, {"single", json::array()}}), kBad,
       "tokenizer.json: post_processor.single is array, expected a template that holds the "
       "sequence A once"},
      {"template with a strange id",
       stage("post_processor", {{"type", "TemplateProcessing"},
                                {"single", {{{"SpecialToken", {{"id", "x"}}}}}},
                                {"special_tokens", {{"x", {{"ids", {258}}}}}}}),
       kBad,
       "tokenizer.json: post_processor.special_tokens.x.ids[0] is 258, expected a token id in [0, "
       "258)"},
  });
}

std::string RefusalOf(const std::string& text) {
  const auto tokenizer = Tokenizer::FromJson(text);
  EXPECT_FALSE(tokenizer.ok());
  return tokenizer.status().message();
}

TEST(DefinitionJson, RefusesWhatIsNotAFittingDocument) {
  EXPECT_EQ(RefusalOf(""), "tokenizer.json: not valid JSON at byte 1");
  EXPECT_EQ(RefusalOf("[]"), "tokenizer.json: is array, expected an object");
  EXPECT_EQ(RefusalOf("{\"model\": \"\xFF\"}"),
            "tokenizer.json: not valid JSON at byte 12, in or after the value of key \"model\"");
  EXPECT_EQ(RefusalOf("{\"model\": 1e999}"),
            "tokenizer.json: not valid JSON at byte 15, in or after the value of key \"model\"");
  EXPECT_EQ(RefusalOf(std::string(1'000'000, '[')),
            "tokenizer.json: nested deeper than the limit of 32 levels");
  EXPECT_EQ(RefusalOf(std::string(kTokenizerJsonBytesMax + 1, ' ')),
            "tokenizer.json: 67108865 bytes of JSON, the limit is 67108864");
  EXPECT_EQ(RefusalOf("{\"model\": {\"type\": \"" + std::string(100, 'x') + "\\n\"}}"),
            "tokenizer.json: model.type: `" + std::string(60, 'x') +
                "`... is not supported; supported: BPE");
}

TEST(DefinitionJson, AGiantVocabularyIsRefusedBeforeItIsBuilt) {
  std::string text = R"({"model": {"type": "BPE", "merges": [], "vocab": {)";
  for (int64_t id = 0; id <= kVocabEntriesMax; ++id) {
    text += (id == 0 ? "\"" : ",\"") + std::to_string(id) + "\":" + std::to_string(id);
  }
  text += "}}}";
  EXPECT_EQ(RefusalOf(text),
            "tokenizer.json: model.vocab has 1048577 entries, the limit is 1048576");
}

TEST(DefinitionJson, EveryCutOfAFileIsRefused) {
  const std::string whole = SmallTokenizerJson().dump();
  for (size_t cut = 0; cut < whole.size(); cut += 7) {
    const auto tokenizer = Tokenizer::FromJson(std::string_view(whole).substr(0, cut));
    EXPECT_EQ(tokenizer.status().code(), StatusCode::kInvalidArgument) << cut;
  }
}

}  // namespace
}  // namespace octet::tokenizer
