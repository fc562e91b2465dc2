// What transformers and jinja2 render, byte for byte; make_goldens.py says how the files came
// about.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/coordinator/chat/goldens.h"

namespace octet::chat {
namespace {

TEST(ChatTemplateGoldens, EveryTemplateOnEveryConversation) {
  const Json conversations = Json::parse(ReadTestFile("goldens/conversations.json"));
  const Json goldens = Json::parse(ReadTestFile("goldens/templates.json"));
  ASSERT_GT(goldens.size(), 900U);
  for (const Json& golden : goldens) {
    const auto name = golden["template"].get<std::string>();
    auto parsed = ChatTemplate::Parse(ReadTestFile("templates/" + name + ".jinja"));
    ASSERT_TRUE(parsed.ok()) << name << ": " << parsed.status().message();
    const Json& conversation = conversations[golden["conversation"].get<std::string>()];
    RenderRequest request;
    request.messages = conversation["messages"];
    if (conversation.contains("tools")) request.tools = conversation["tools"];
    request.add_generation_prompt = golden["add_generation_prompt"];
    request.extra = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"pad_token", "<pad>"}};
    if (conversation.contains("extra")) request.extra.update(conversation["extra"]);
    request.now = GoldenTime();
    const auto rendered = parsed->Render(request);
    const Result<std::string> text =
        rendered.ok() ? Result<std::string>(rendered->text) : rendered.status();
    EXPECT_EQ("", Difference(golden, text)) << name << " on " << golden["conversation"]
                                            << ", prompt " << golden["add_generation_prompt"];
  }
}

void ExpectAll(const Json& goldens) {
  const Json variables = Json::parse(ReadTestFile("goldens/variables.json"));
  for (const Json& golden : goldens) {
    const auto source = golden["source"].get<std::string>();
    EXPECT_EQ("", Difference(golden, RenderSource(source, variables))) << source;
  }
}

TEST(ChatTemplateGoldens, EveryExpression) {
  const Json goldens = Json::parse(ReadTestFile("goldens/expressions.json"));
  ASSERT_GT(goldens.size(), 700U);
  ExpectAll(goldens);
}

// For `make_goldens.py --fuzz N --seed S > FILE`: OCTET_CHAT_FUZZ=FILE.
TEST(ChatTemplateGoldens, FuzzedExpressionsOfAFile) {
  const char* file = std::getenv("OCTET_CHAT_FUZZ");
  if (file == nullptr) GTEST_SKIP() << "OCTET_CHAT_FUZZ names no file";
  std::ifstream in(file);
  ExpectAll(Json::parse(in));
}

}  // namespace
}  // namespace octet::chat
