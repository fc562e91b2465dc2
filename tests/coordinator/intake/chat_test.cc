#include "coordinator/intake/chat.h"

#include <gtest/gtest.h>

#include <functional>

namespace octet::intake {
namespace {

ChatRequest OneMessage() { return {.messages = {{.role = "user", .content = "hi"}}}; }

TEST(ParseChat, MessagesHaveWhatIsSetInTheirOrder) {
  ChatRequest chat = OneMessage();
  chat.messages.push_back({.role = "assistant",
                           .content = "",
                           .name = "bot",
                           .tool_calls_json = R"([{"z": 1, "a": {"b": [2.5, null]}}])"});
  chat.messages.push_back({.role = "tool", .content = "42", .tool_call_id = "call-1"});
  chat.tools_json = R"([{"type": "function", "function": {"name": "f"}}])";
  chat.template_variables_json = R"({"enable_thinking": false})";
  chat.add_generation_prompt = false;
  const auto conversation = ParseChat(chat);
  ASSERT_TRUE(conversation.ok()) << conversation.status().message();
  EXPECT_EQ(conversation->messages.dump(),
            R"([{"role":"user","content":"hi"},)"
            R"({"role":"assistant","content":"","name":"bot",)"
            R"("tool_calls":[{"z":1,"a":{"b":[2.5,null]}}]},)"
            R"({"role":"tool","content":"42","tool_call_id":"call-1"}])");
  EXPECT_EQ(conversation->tools.dump(), R"([{"type":"function","function":{"name":"f"}}])");
  EXPECT_EQ(conversation->variables.dump(), R"({"enable_thinking":false})");
  EXPECT_FALSE(conversation->add_generation_prompt);
}

TEST(ParseChat, ArgumentsInAStringBecomeTheObject) {
  ChatRequest chat = OneMessage();
  chat.messages[0].tool_calls_json =
      R"([{"function": {"name": "f", "arguments": "{\"x\": [1]}"}}, )"
      R"({"function": {"name": "g", "arguments": {"y": 2}}}])";
  const auto conversation = ParseChat(chat);
  ASSERT_TRUE(conversation.ok()) << conversation.status().message();
  EXPECT_EQ(conversation->messages[0]["tool_calls"].dump(),
            R"([{"function":{"name":"f","arguments":{"x":[1]}}},)"
            R"({"function":{"name":"g","arguments":{"y":2}}}])");
  chat.messages[0].tool_calls_json = R"([{"function": {"arguments": "x=1"}}])";
  EXPECT_EQ(
      ParseChat(chat).status().message(),
      "chat.messages[0].tool_calls_json[0].function.arguments is not JSON, at byte 1; it must "
      "be an object");
}

TEST(ParseChat, WhatIsNotThereIsNullOrEmpty) {
  const auto conversation = ParseChat(OneMessage());
  ASSERT_TRUE(conversation.ok());
  EXPECT_TRUE(conversation->tools.is_null());
  EXPECT_EQ(conversation->variables.dump(), "{}");
  EXPECT_TRUE(conversation->add_generation_prompt);
}

std::string Repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(ParseChat, JsonThatIsWrongIsRefusedByItsName) {
  struct Wrong {
    const char* sentence;
    std::function<void(ChatRequest*)> change;
  };
  const Wrong wrongs[] = {
      {"chat.tools_json is not JSON, at byte 2; it must be an array",
       [](ChatRequest* c) { c->tools_json = "[x"; }},
      {"chat.tools_json is object; it must be an array",
       [](ChatRequest* c) { c->tools_json = "{}"; }},
      {"chat.tools_json[1] is number; it must be an object",
       [](ChatRequest* c) { c->tools_json = "[{}, 1]"; }},
      {"chat.tools_json is nested 33 levels deep; the limit is 32",
       [](ChatRequest* c) { c->tools_json = Repeated("[", 33) + Repeated("]", 33); }},
      {"chat.tools_json is nested 100000 levels deep; the limit is 32",
       [](ChatRequest* c) { c->tools_json = Repeated("[", 100000); }},
      {"chat.tools_json brings the JSON values of the request to 8202; the limit is 8192",
       [](ChatRequest* c) { c->tools_json = "[0" + Repeated(",0", 8200) + "]"; }},
      {"chat.tools_json holds a number that does not fit; it must be an array",
       [](ChatRequest* c) { c->tools_json = "[1e999]"; }},
      {"chat.template_variables_json is array; it must be an object",
       [](ChatRequest* c) { c->template_variables_json = "[]"; }},
      {"chat.template_variables_json has 'tools'; it must not have what the request says elsewhere",
       [](ChatRequest* c) { c->template_variables_json = R"({"tools": []})"; }},
      {"chat.messages[0].tool_calls_json is not JSON, at byte 2; it must be an array",
       [](ChatRequest* c) { c->messages[0].tool_calls_json = "nonsense"; }},
      {"chat.messages[0].tool_calls_json[0] is string; it must be an object",
       [](ChatRequest* c) { c->messages[0].tool_calls_json = R"(["f"])"; }},
      {"chat.tools_json brings the JSON values of the request to 8202; the limit is 8192",
       [](ChatRequest* c) {  // all texts together
         c->messages[0].tool_calls_json = "[{}" + Repeated(",{}", 2000) + "]";
         c->tools_json = "[{}" + Repeated(",{}", 2098) + "]";
       }},
  };
  for (const Wrong& wrong : wrongs) {
    ChatRequest chat = OneMessage();
    wrong.change(&chat);
    const auto conversation = ParseChat(chat);
    EXPECT_EQ(conversation.status().code(), StatusCode::kInvalidArgument) << wrong.sentence;
    EXPECT_EQ(conversation.status().message(), wrong.sentence);
  }
}

}  // namespace
}  // namespace octet::intake
