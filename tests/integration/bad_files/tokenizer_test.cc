// F8: tokenizers and chat templates that somebody made to do harm, read as the coordinator reads
// them at its start.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <vector>

#include "coordinator/chat/chat_template.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "tests/coordinator/support/tiny_model.h"
#include "tests/integration/bad_files/counted_memory.h"
#include "tests/support/fault_table.h"
#include "tests/support/temp_folder.h"

namespace octet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr auto kBad = StatusCode::kInvalidArgument;
constexpr auto kForeign = StatusCode::kUnimplemented;
constexpr auto kTooMuch = StatusCode::kResourceExhausted;

json TinyTokenizer() { return json::parse(fakes::TinyTokenizerJson()); }

void Expect(const std::string& injected, const Status& status, StatusCode code,
            const std::string& said) {
  EXPECT_EQ(status.code(), code) << injected << ": " << status.message();
  EXPECT_NE(status.message().find(said), std::string::npos) << injected << ": " << status.message();
  FaultSeen("F8", injected, status.message());
}

void ExpectTokenizerRefused(const std::string& injected, const std::function<void(json&)>& spoil,
                            StatusCode code, const std::string& said) {
  const test::TempFolder folder;
  json root = TinyTokenizer();
  spoil(root);
  folder.Write("tokenizer.json", root.dump());
  Expect(injected, tokenizer::Tokenizer::Load(folder.path()).status(), code, said);
}

TEST(BadFiles, F8Merges) {
  using Pieces = std::vector<std::vector<std::string>>;
  const auto merges = [](const Pieces& list) {
    return [list](json& root) { root["model"]["merges"] = list; };
  };
  ExpectTokenizerRefused("a merge that gives back its part", merges({{"", "a"}}), kBad,
                         "model.merges[0] needs the token ``, which model.vocab does not have");
  ExpectTokenizerRefused("a merge of tokens that are not there", merges({{"a", "b"}}), kBad,
                         "model.merges[0] needs the token `ab`, which model.vocab does not have");
  ExpectTokenizerRefused("a merge of three", merges({{"a", "b", "c"}}), kBad,
                         "model.merges[0] is array, expected two tokens");
  ExpectTokenizerRefused(
      "a merge twice",
      [&](json& root) {
        root["model"]["vocab"]["ab"] = 257;
        merges({{"a", "b"}, {"a", "b"}})(root);
      },
      kBad, "model.merges[1] merges `a` and `b` a second time");
  // A result that is merged before its parts are: a cycle it is not, every merge makes it longer.
  json root = TinyTokenizer();
  root["added_tokens"] = json::array();
  root["model"]["vocab"]["aa"] = 256;
  root["model"]["vocab"]["aaaa"] = 257;
  root["model"]["merges"] = Pieces{{"aa", "aa"}, {"a", "a"}};
  const auto backwards = tokenizer::Tokenizer::FromJson(root.dump());
  ASSERT_TRUE(backwards.ok()) << backwards.status().message();
  const auto ids = backwards->Encode(std::string(1 << 20, 'a'), false);
  ASSERT_TRUE(ids.ok());
  FaultSeen("F8", "merges in the wrong order, on 1 MB of `a`",
            "ends, with " + std::to_string(ids->size()) + " tokens");
}

TEST(BadFiles, F8Vocabularies) {
  ExpectTokenizerRefused(
      "an id of 1e7", [](json& r) { r["model"]["vocab"]["zz"] = 10'000'000; }, kBad,
      "model.vocab is 10000000, expected a token id in [0, 1048576)");
  ExpectTokenizerRefused(
      "a gap in the ids", [](json& r) { r["added_tokens"][0]["id"] = 999; }, kBad,
      "no token has the id 256, while ids go up to 999");
  ExpectTokenizerRefused(
      "an id of -1", [](json& r) { r["model"]["vocab"]["a"] = -1; }, kBad,
      "model.vocab is -1, expected a token id in");
  ExpectTokenizerRefused(
      "two tokens with one id", [](json& r) { r["model"]["vocab"]["a"] = 98; }, kBad,
      "gives the id 98 to both");
  ExpectTokenizerRefused(
      "a special token with the id of a word", [](json& r) { r["added_tokens"][0]["id"] = 98; },
      kBad, "gives the id 98 to both `b` and `<|end|>`");
  ExpectTokenizerRefused(
      "a special token twice",
      [](json& r) {
        r["added_tokens"].push_back(r["added_tokens"][0]);
        r["added_tokens"][1]["id"] = 257;
      },
      kBad, "`<|end|>`");
  // One that begins as another does is sound: the longest match, as the reference has it.
  json root = TinyTokenizer();
  json longer = root["added_tokens"][0];
  longer["content"] = "<|end|>a";
  longer["id"] = 257;
  root["added_tokens"].push_back(longer);
  const auto overlapping = tokenizer::Tokenizer::FromJson(root.dump());
  ASSERT_TRUE(overlapping.ok()) << overlapping.status().message();
  EXPECT_EQ(overlapping->Decode(*overlapping->Encode("<|end|>ab<|end|>", false), false),
            "<|end|>ab<|end|>");
  FaultSeen("F8", "a special token that begins as another", "taken; one of the two is found");
}

TEST(BadFiles, F8LargeFiles) {
  {
    const test::TempFolder folder;
    folder.Write("tokenizer.json", "{");
    fs::resize_file(folder.File("tokenizer.json"), int64_t{1} << 30);  // sparse
    const CountedMemory memory;
    const Status status = tokenizer::Tokenizer::Load(folder.path()).status();
    EXPECT_LE(memory.peak_bytes(), 64 << 10);
    Expect("tokenizer.json of 1 GiB", status, kTooMuch, "bytes, the limit is 67108864");
  }
  std::string text = R"({"model": {"type": "BPE", "merges": [], "vocab": {)";
  for (int64_t id = 0; id < 10'000'000; ++id) text += "\"" + std::to_string(id) + "\":0,";
  const CountedMemory memory;
  const Status status = tokenizer::Tokenizer::FromJson(text).status();
  EXPECT_LE(memory.peak_bytes(), 64 << 10);
  Expect("1e7 words", status, kTooMuch, "bytes of JSON, the limit is 67108864");
}

TEST(BadFiles, F8OtherKinds) {
  const std::pair<const char*, const char*> kSaid[] = {
      {"tokenizer.model", "tokenizer.model: field 1 says it has 14 bytes where 10 are left"},
      {"qwen.tiktoken", "qwen.tiktoken: line 2 is not UTF-8, expected base64, a space and a rank"}};
  for (const auto& [name, said] : kSaid) {
    const test::TempFolder folder;
    folder.Write(name, "\x0a\x0e garbage \xff");
    Expect(std::string("garbage in ") + name, tokenizer::Tokenizer::Load(folder.path()).status(),
           kBad, said);
  }
  ExpectTokenizerRefused(
      "a Unigram model", [](json& r) { r["model"]["type"] = "Unigram"; }, kForeign,
      "model.type: `Unigram` is not supported; supported: BPE");
  const test::TempFolder folder;
  ASSERT_EQ(mkfifo(folder.File("tokenizer.json").c_str(), 0600), 0);
  Expect("a fifo for tokenizer.json", tokenizer::Tokenizer::Load(folder.path()).status(), kBad,
         "tokenizer.json: is not a regular file");
}

// A template as a model's folder has it, loaded and rendered.
Status Rendered(const std::string& source) {
  const test::TempFolder folder;
  folder.Write("tokenizer_config.json", json{{"chat_template", source}}.dump());
  const auto chat = chat::ChatTemplate::Load(folder.path());
  if (!chat.ok()) return chat.status();
  const chat::Json messages = {{{"role", "user"}, {"content", "Hi"}}};
  return chat->Render({.messages = messages}).status();
}

TEST(BadFiles, F8ChatTemplates) {
  Expect("a template that loops for ever",
         Rendered("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
         kTooMuch, "too many");
  Expect("a template that writes 1 GB",
         Rendered("{% for i in range(99999) %}{{ 'x' * 10000 }}{% endfor %}"), kTooMuch, "");
  Expect("a text that doubles 99 times",
         Rendered("{% set n = namespace(s='xxxxxxxx') %}{% for i in range(99) %}"
                  "{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}"),
         kTooMuch, "");
  Expect("a macro that calls itself", Rendered("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
         kTooMuch, "");
  Expect("100,000 parentheses",
         Rendered("{{ " + std::string(100'000, '(') + "1" + std::string(100'000, ')') + " }}"),
         kTooMuch, "nested too deep");
  Expect("a template of 300 kB", Rendered(std::string(300'000, 'x')), kTooMuch, "262144");
  Expect("a template that is not one", Rendered("{% for %}"), kBad, "");
  Expect(
      "a list as a template",
      [] {
        const test::TempFolder folder;
        folder.Write("tokenizer_config.json", R"({"chat_template": {"a": 1}})");
        return chat::ChatTemplate::Load(folder.path()).status();
      }(),
      kBad, "chat_template is object, expected a text or a list of {name, template}");
  Expect(
      "tokenizer_config.json nested 1,000,000 deep",
      [] {
        const test::TempFolder folder;
        folder.Write("tokenizer_config.json", "{\"a\":" + std::string(1'000'000, '['));
        return chat::ChatTemplate::Load(folder.path()).status();
      }(),
      kTooMuch, "nested deeper than the limit of 32 levels");
  Expect(
      "a fifo for chat_template.jinja",
      [] {
        const test::TempFolder folder;
        EXPECT_EQ(mkfifo(folder.File("chat_template.jinja").c_str(), 0600), 0);
        return chat::ChatTemplate::Load(folder.path()).status();
      }(),
      kBad, "chat_template.jinja: is not a regular file");
}

// A parser that keeps the order of keys searches all of them for each: minutes for this file.
TEST(BadFiles, F8AnObjectOfManyKeys) {
  const test::TempFolder folder;
  std::string text = "{\"chat_template\":\"x\"";
  for (int i = 0; i < 200'000; ++i) text += ",\"k" + std::to_string(i) + "\":0";
  folder.Write("tokenizer_config.json", text + "}");
  const auto chat = chat::ChatTemplate::Load(folder.path());
  EXPECT_TRUE(chat.ok()) << chat.status().message();
  FaultSeen("F8", "tokenizer_config.json of 200,000 keys", "loaded, in time linear in its bytes");
}

}  // namespace
}  // namespace octet::testing
