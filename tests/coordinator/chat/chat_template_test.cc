// The edge: files, requests, and what a refusal says.
#include "coordinator/chat/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "tests/coordinator/chat/goldens.h"

namespace octet::chat {
namespace {

namespace fs = std::filesystem;

class ModelFolder : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::path(testing::TempDir()) /
           (std::string("octet_chat_") +
            testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
  }

  std::string RenderLoaded(const Json& tools = nullptr) {
    const auto chat = ChatTemplate::Load(dir_.string());
    if (!chat.ok()) return chat.status().message();
    const auto text = chat->Render({.messages = Json::array(), .tools = tools});
    return text.ok() ? text->text : text.status().message();
  }

  fs::path dir_;
};

TEST_F(ModelFolder, WithoutATemplateIsNotFound) {
  const auto none = ChatTemplate::Load(dir_.string());
  EXPECT_EQ(none.status().code(), StatusCode::kNotFound);
  Write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  EXPECT_EQ(ChatTemplate::Load(dir_.string()).status().code(), StatusCode::kNotFound);
  EXPECT_NE(RenderLoaded().find("the model has no chat template"), std::string::npos);
}

TEST_F(ModelFolder, SpecialTokensAreVariables) {
  Write(
      "tokenizer_config.json",
      R"({"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null,
            "chat_template": "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ tools }}"})");
  EXPECT_EQ(RenderLoaded(), "<s></s>FalseNone");
  EXPECT_EQ(ChatTemplate::Load(dir_.string())->special_tokens()["eos_token"], "</s>");
}

TEST_F(ModelFolder, AFileOfItsOwnComesFirst) {
  Write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": "config"})");
  Write("chat_template.jinja", "file {{ bos_token }}\n");
  EXPECT_EQ(RenderLoaded(), "file <s>");
}

// As transformers 5 keeps such a list.
TEST_F(ModelFolder, TheOneForToolsMayBeAFile) {
  Write("chat_template.jinja", "plain");
  fs::create_directory(dir_ / "additional_chat_templates");
  Write("additional_chat_templates/tool_use.jinja", "with tools");
  EXPECT_EQ(RenderLoaded(), "plain");
  EXPECT_EQ(RenderLoaded(Json::array()), "with tools");
}

TEST_F(ModelFolder, SpecialTokensMayStandInAFileOfTheirOwn) {
  Write("chat_template.jinja", "{{ bos_token }}{{ eos_token }}");
  Write("tokenizer_config.json", R"({"eos_token": "<end>"})");
  Write("special_tokens_map.json",
        R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>"})");
  EXPECT_EQ(RenderLoaded(), "<s></s>");
  Write("tokenizer_config.json", R"({"eos_token": "<end>", "added_tokens_decoder": {}})");
  EXPECT_EQ(RenderLoaded(), "<s><end>");
}

TEST_F(ModelFolder, AListHasADefaultAndOneForTools) {
  Write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
                                     {"name": "tool_use", "template": "with tools"}]})");
  EXPECT_EQ(RenderLoaded(), "plain");
  EXPECT_EQ(RenderLoaded(Json::array()), "with tools");
  Write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_EQ(ChatTemplate::Load(dir_.string()).status().code(), StatusCode::kNotFound);
}

TEST_F(ModelFolder, BrokenFilesAreRefused) {
  for (const char* text : {"", "[]", "{", R"({"chat_template": 5})", R"({"chat_template": [5]})",
                           R"({"chat_template": "{{ x"})"}) {
    Write("tokenizer_config.json", text);
    const auto chat = ChatTemplate::Load(dir_.string());
    EXPECT_EQ(chat.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_NE(chat.status().message().find(dir_.string()), std::string::npos) << text;
  }
  Write("tokenizer_config.json", std::string(100'000, '['));
  EXPECT_EQ(ChatTemplate::Load(dir_.string()).status().code(), StatusCode::kResourceExhausted);
}

// The prompts that make_context of Qwen v1 and build_inputs of InternLM 1 make.
TEST_F(ModelFolder, FamiliesWithoutATemplateHaveTheirOwnForm) {
  const Json turns = Json::parse(R"([{"role": "user", "content": "Hi"},
      {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Who?"}])");
  Json with_system = Json::parse(R"([{"role": "system", "content": "Be brief."}])");
  for (const Json& turn : turns) with_system.push_back(turn);
  const auto render = [&](const Json& messages, bool add_generation_prompt) {
    const auto chat = ChatTemplate::Load(dir_.string());
    EXPECT_TRUE(chat.ok()) << chat.status().message();
    return chat->Render({.messages = messages, .add_generation_prompt = add_generation_prompt})
        ->text;
  };

  Write("config.json", R"({"architectures": ["QWenLMHeadModel"], "model_type": "qwen"})");
  const std::string qwen_turns =
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
      "<|im_start|>user\nWho?<|im_end|>\n";
  EXPECT_EQ(render(turns, true), "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" +
                                     qwen_turns + "<|im_start|>assistant\n");
  EXPECT_EQ(render(with_system, false), "<|im_start|>system\nBe brief.<|im_end|>\n" + qwen_turns);
  EXPECT_EQ(ChatTemplate::Load(dir_.string())->end_tokens(),
            (std::vector<std::string>{"<|im_end|>", "<|im_start|>"}));

  Write("config.json", R"({"model_type": "internlm"})");
  const std::string internlm_turns = "<|User|>:Hi\n<|Bot|>:Hello.<eoa>\n<|User|>:Who?\n";
  EXPECT_EQ(render(turns, true), "<s>" + internlm_turns + "<|Bot|>:");
  EXPECT_EQ(render(with_system, true), "<s><|System|>:Be brief.\n" + internlm_turns + "<|Bot|>:");
  Write("tokenizer_config.json", R"({"bos_token": "<begin>"})");
  EXPECT_EQ(render(turns, false), "<begin>" + internlm_turns);

  // What the model ships comes first.
  Write("chat_template.jinja", "own");
  EXPECT_EQ(render(turns, true), "own");
  EXPECT_TRUE(ChatTemplate::Load(dir_.string())->end_tokens().empty());
}

TEST_F(ModelFolder, FamiliesWithoutAFormSaySo) {
  Write("config.json", R"({"architectures": ["OPTForCausalLM"]})");
  EXPECT_EQ(ChatTemplate::Load(dir_.string()).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(RenderLoaded(), dir_.string() +
                                ": models of the family OPT have no chat form; send a text as the "
                                "prompt instead");
  Write("config.json", R"({"architectures": ["QWenLMHeadModel"]})");
  Write("generation_config.json", R"({"chat_format": "raw"})");
  EXPECT_EQ(ChatTemplate::Load(dir_.string()).status().code(), StatusCode::kNotFound);
  EXPECT_NE(RenderLoaded().find("chat_format `raw`"), std::string::npos);
  Write("config.json", "[");
  EXPECT_EQ(ChatTemplate::Load(dir_.string()).status().code(), StatusCode::kInvalidArgument);
}

TEST(ChatTemplate, ARefusalNamesLineAndWhatWasFound) {
  const auto message = [](const char* source) {
    return ChatTemplate::Parse(source).status().message();
  };
  EXPECT_EQ(message("a\n{{ x y }}"), "chat template, line 2: found `y`, expected `}}`");
  EXPECT_EQ(message("\n\n{% if x %}"),
            "chat template, line 3: found the end of the template, expected `{% endif %}`");
  EXPECT_EQ(message("{{ x | urlize }}"),
            "chat template, line 1: the filter `urlize` is not supported");
  EXPECT_EQ(message("{% include 'x' %}"),
            "chat template, line 1: found `include`, expected one of the tags if, for, set, macro, "
            "filter, break, continue, generation, raw");
  const auto render = RenderSource("\n{{ messages[0].content }}", Json::object());
  EXPECT_EQ(render.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(render.status().message(), "chat template, line 2: 'list object' has no such element");
}

TEST(ChatTemplate, TheTemplatesOwnErrorIsItsOwnSentence) {
  const auto result = RenderSource("{{ raise_exception('No, ' ~ 1) }}", Json::object());
  EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(result.status().message(), "No, 1");
}

TEST(ChatTemplate, RequestsAreChecked) {
  const auto chat = ChatTemplate::Parse("{{ messages | length }}");
  ASSERT_TRUE(chat.ok());
  EXPECT_FALSE(chat->Render({.messages = nullptr}).ok());
  EXPECT_FALSE(chat->Render({.messages = Json::array({1})}).ok());
  EXPECT_FALSE(chat->Render({.messages = Json::array(), .tools = 5}).ok());
  EXPECT_FALSE(chat->Render({.messages = Json::array(), .extra = {{"messages", 1}}}).ok());
  EXPECT_EQ(chat->Render({.messages = Json::array(), .extra = nullptr})->text, "0");
}

TEST(ChatTemplate, PartsBecomeOneTextUnlessTheTemplateReadsThem) {
  const Json messages = Json::parse(
      R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}])");
  const auto plain = ChatTemplate::Parse("{% for m in messages %}{{ m.content }}{% endfor %}");
  EXPECT_FALSE(plain->reads_content_parts());
  EXPECT_EQ(plain->Render({.messages = messages})->text, "a\nb");
  const Json image =
      Json::parse(R"([{"role": "user", "content": [{"type": "image_url", "text": "x"}]}])");
  EXPECT_EQ(plain->Render({.messages = image}).status().code(), StatusCode::kInvalidArgument);
  for (const char* source :
       {"{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}",
        "{% for m in messages %}{% set c = m['content'] %}{% if c is string %}{{ c }}{% else %}"
        "{% for p in c %}<{{ p['text'] }}>{% endfor %}{% endif %}{% endfor %}"}) {
    const auto reader = ChatTemplate::Parse(source);
    EXPECT_TRUE(reader->reads_content_parts());
    EXPECT_EQ(reader->Render({.messages = messages})->text, "<a><b>");
  }
}

TEST(ChatTemplate, ManyThreadsRenderAtOnce) {
  const auto chat = ChatTemplate::Parse(ReadTestFile("templates/qwen3.jinja"));
  ASSERT_TRUE(chat.ok());
  const Json conversations = Json::parse(ReadTestFile("goldens/conversations.json"));
  const auto render = [&](const std::string& name) {
    return chat->Render({.messages = conversations[name]["messages"]})->text;
  };
  const std::string turns = render("turns");
  const std::string call = render("call");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) {
        EXPECT_EQ(render("turns"), turns);
        EXPECT_EQ(render("call"), call);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace octet::chat
