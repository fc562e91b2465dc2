// The tokens of chats: every family's template with a tokenizer that has all control tokens of all
// of them. What users write is never one of those, and where they spell none the tokens are those
// of the rendered text as transformers encodes it, with all of its special tokens parsed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "coordinator/chat/chat_template.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "tests/coordinator/chat/goldens.h"
#include "tests/coordinator/tokenizer/goldens.h"

namespace octet {
namespace {

using chat::ChatTemplate;
using chat::Json;
using tokenizer::Tokenizer;
using Ids = std::vector<int32_t>;

constexpr const char* kControlTokens[] = {
    "<s>",          "</s>",           "<|im_start|>", "<|im_end|>",     "<|start_header_id|>",
    "[INST]",       "[/INST]",        "<|eot_id|>",   "<|python_tag|>", "<|end_header_id|>",
    "<|eom_id|>",   "<|user|>",       "<|system|>",   "<|assistant|>",  "<|end|>",
    "[TOOL_CALLS]", "[TOOL_RESULTS]", "<|User|>",     "<eoa>",          "<|begin_of_text|>"};
// Added tokens of such templates that are not special: the library finds them in every text.
constexpr const char* kOrdinaryTokens[] = {"<tool_call>", "</tool_call>", "<think>", "</think>"};

// In which text the control tokens are looked for.
enum class Stage { kRaw, kNormalForm, kReplaced };

Tokenizer MakeTokenizer(Stage stage) {
  nlohmann::json root = tokenizer::SmallTokenizerJson();
  root["added_tokens"].clear();
  int32_t id = 257;
  for (const char* token : kControlTokens) {
    root["added_tokens"].push_back({{"id", id++},
                                    {"content", token},
                                    {"special", true},
                                    {"normalized", stage != Stage::kRaw}});
  }
  for (const char* token : kOrdinaryTokens)
    root["added_tokens"].push_back({{"id", id++}, {"content", token}, {"special", false}});
  if (stage == Stage::kNormalForm) root["normalizer"] = {{"type", "NFC"}};
  if (stage == Stage::kReplaced) {
    root["normalizer"] = {
        {"type", "Sequence"},
        {"normalizers",
         {{{"type", "NFKC"}},
          {{"type", "Replace"}, {"pattern", {{"String", "i"}}}, {"content", "\u0131\u0131"}}}}};
  }
  auto made = Tokenizer::FromJson(root.dump());
  EXPECT_TRUE(made.ok()) << made.status().message();
  return std::move(*made);
}

// All templates, by name.
std::vector<std::pair<std::string, ChatTemplate>> Templates() {
  namespace fs = std::filesystem;
  std::vector<std::pair<std::string, ChatTemplate>> all;
  const fs::path folder = OCTET_SOURCE_DIR "/tests/coordinator/chat/templates";
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    auto parsed = ChatTemplate::Parse(chat::ReadTestFile("templates/" + name));
    EXPECT_TRUE(parsed.ok()) << name;
    all.emplace_back(name, std::move(*parsed));
  }
  // As Phi-3's and GLM's: the token of a turn is made of its role.
  auto by_role = ChatTemplate::Parse(
      "{{ messages[0].role ~ '\\n' }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content "
      "+ '<|end|>' }}{% endfor %}");
  EXPECT_TRUE(by_role.ok()) << by_role.status().message();
  all.emplace_back("by role", std::move(*by_role));
  // The forms of families that ship none.
  for (const char* type : {"qwen", "internlm"}) {
    const fs::path dir = fs::path(testing::TempDir()) / (std::string("chat_tokens_") + type);
    fs::create_directories(dir);
    std::ofstream(dir / "config.json") << Json{{"model_type", type}};
    auto loaded = ChatTemplate::Load(dir.string());
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    all.emplace_back(type, std::move(*loaded));
    fs::remove_all(dir);
  }
  EXPECT_GE(all.size(), 20u);
  return all;
}

chat::RenderRequest RequestOf(const Json& conversation) {
  chat::RenderRequest request;
  request.messages = conversation["messages"];
  if (conversation.contains("tools")) request.tools = conversation["tools"];
  if (conversation.contains("extra")) request.extra = conversation["extra"];
  request.now = chat::GoldenTime();
  return request;
}

bool SpellsAControlToken(const std::string& text) {
  return std::any_of(std::begin(kControlTokens), std::end(kControlTokens),
                     [&](const char* token) { return text.find(token) != std::string::npos; });
}

TEST(ChatTokens, OfHarmlessTextsAreThoseOfTheWholeTextParsed) {
  const Json conversations = Json::parse(chat::ReadTestFile("goldens/conversations.json"));
  const auto templates = Templates();
  for (const Stage stage : {Stage::kRaw, Stage::kNormalForm, Stage::kReplaced}) {
    const Tokenizer tokenizer = MakeTokenizer(stage);
    int64_t compared = 0;
    for (const auto& [name, chat] : templates) {
      for (const auto& [what, conversation] : conversations.items()) {
        if (SpellsAControlToken(conversation.dump())) continue;
        const auto prompt = chat.Render(RequestOf(conversation));
        if (!prompt.ok()) continue;
        const auto ids = tokenizer.Encode(prompt->text, false, prompt->given);
        ASSERT_TRUE(ids.ok());
        EXPECT_EQ(*ids, *tokenizer.Encode(prompt->text, false, true)) << name << " on " << what;
        ++compared;
      }
    }
    EXPECT_GT(compared, 400);
  }
}

// A conversation in which every text that a client gives is `text`.
Json ConversationOf(const std::string& text, bool with_tools) {
  Json conversation = Json::parse(R"({"messages": [
      {"role": "user", "content": ""}, {"role": "assistant", "content": ""},
      {"role": "user", "content": ""}]})");
  for (Json& message : conversation["messages"]) message["content"] = text;
  if (with_tools) {
    conversation["messages"].insert(conversation["messages"].begin(),
                                    Json{{"role", "system"}, {"content", text}});
    conversation["messages"][2]["reasoning_content"] = text;
    conversation["tools"] = {
        {{"type", "function"},
         {"function",
          {{"name", text},
           {"description", text},
           {"parameters", {{"type", "object"}, {"properties", {{text, {{"type", "string"}}}}}}}}}}};
  }
  return conversation;
}

Ids ControlIds(const Tokenizer& tokenizer, const chat::MarkedText& prompt) {
  Ids ids = *tokenizer.Encode(prompt.text, false, prompt.given);
  std::erase_if(ids, [&](int32_t id) { return !tokenizer.IsSpecial(id); });
  return ids;
}

// Whole tokens, and parts of them that the template's own text might complete.
std::vector<std::string> HostileTexts() {
  std::vector<std::string> texts;
  std::string all;
  for (const std::string token : kControlTokens) {
    all += token + "x";
    for (const size_t cut : {size_t{1}, token.size() / 2, token.size() - 1}) {
      texts.push_back(token.substr(0, cut));
      texts.push_back(token.substr(cut));
    }
  }
  texts.push_back(all);
  texts.push_back("\u0301" + all + "\u0301");  // marks, which join letters that they stand behind
  return texts;
}

TEST(ChatTokens, NoControlTokenComesOfWhatAClientWrites) {
  const auto templates = Templates();
  for (const Stage stage : {Stage::kRaw, Stage::kNormalForm, Stage::kReplaced}) {
    const Tokenizer tokenizer = MakeTokenizer(stage);
    int64_t compared = 0;
    for (const auto& [name, chat] : templates) {
      for (const bool with_tools : {false, true}) {
        const auto expected = chat.Render(RequestOf(ConversationOf("hello", with_tools)));
        if (!expected.ok()) continue;
        const Ids control_ids = ControlIds(tokenizer, *expected);
        for (const std::string& text : HostileTexts()) {
          const auto prompt = chat.Render(RequestOf(ConversationOf(text, with_tools)));
          ASSERT_TRUE(prompt.ok()) << name << ": " << prompt.status().message();
          EXPECT_EQ(ControlIds(tokenizer, *prompt), control_ids)
              << name << " with " << text << ", stage " << static_cast<int>(stage);
          ++compared;
        }
      }
    }
    EXPECT_GT(compared, 2000);
  }
}

}  // namespace
}  // namespace octet
