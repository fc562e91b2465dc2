// Messages that become a prompt. What they say is data of the client; the JSON among it is parsed
// here, bounded, before a template sees it. The template itself is someone else's: ChatRenderer.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_spans.h"
#include "base/status.h"

namespace octet::intake {

inline constexpr int64_t kChatMessagesMax = 1024;
// Of each JSON text, and of all of a request together: an object's keys are looked up one by one,
// so that its members must be few.
inline constexpr int64_t kChatJsonDepthMax = 32;
inline constexpr int64_t kChatJsonValuesMax = 8192;

struct ChatMessage {
  std::string role;
  std::string content;
  std::optional<std::string> name;
  std::optional<std::string> tool_call_id;
  std::string tool_calls_json;  // empty: none
};

// As it came: nothing is checked.
struct ChatRequest {
  std::vector<ChatMessage> messages;
  int64_t messages_left_out = 0;  // counted and not copied, when there were too many of them
  std::string tools_json;         // empty: none
  bool add_generation_prompt = true;
  std::string template_variables_json;  // empty: none
};

// As a template takes it. Members of objects are in the order in which the client wrote them,
// because templates print them.
struct Conversation {
  nlohmann::ordered_json messages;   // an array of objects: role, content and what else is set
  nlohmann::ordered_json tools;      // an array, or null
  nlohmann::ordered_json variables;  // an object
  bool add_generation_prompt = true;
};

// A conversation as the text of a prompt. What users wrote in it spells no special token.
struct RenderedChat {
  std::string text;
  ByteSpans given;  // its bytes that came from the conversation
};

// The model's chat template. Called from several threads at once. A conversation that the template
// refuses is InvalidArgument.
using ChatRenderer = std::function<Result<RenderedChat>(const Conversation&)>;

// Of its texts, whatever they say.
int64_t ChatBytes(const ChatRequest& chat);

// What can be said without parsing: how many messages, how many bytes in all.
Status CheckChat(const ChatRequest& chat, int64_t bytes_max);

// InvalidArgument names the field, and what is wrong with its JSON. REQUIRES: CheckChat was ok.
Result<Conversation> ParseChat(const ChatRequest& chat);

}  // namespace octet::intake
