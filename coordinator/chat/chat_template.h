// A model's chat template: messages to the text of a prompt, as transformers' apply_chat_template
// renders it, byte for byte. A template is immutable once parsed and any thread may render with it
// at any time. It knows nothing of tokenizers, requests, sampling or models.
//
//   OCTET_ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::Load(model_dir));
//   OCTET_ASSIGN_OR_RETURN(MarkedText prompt, chat.Render({.messages = messages, .now = now}));
//
// The text begins with the template's own bos token where it writes one: encode it without adding
// special tokens, and without reading any out of what is `given`.
#pragma once

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/chat/limits.h"
#include "coordinator/chat/marked_text.h"

namespace octet::chat {

// Ordered: tools and messages are printed with their keys in the order of the request.
using Json = nlohmann::ordered_json;

struct RenderRequest {
  // An array of objects with "role", "content" and whatever else the template reads (name,
  // tool_calls, tool_call_id, reasoning_content). Content is a string, null, or a list of parts
  // {"type": "text", "text": ...}; parts are joined by line ends unless the template goes through
  // them itself. Arguments of tool calls are what the caller makes of them: templates expect
  // objects, clients send JSON in a string.
  Json messages;
  Json tools = nullptr;  // an array, or null
  bool add_generation_prompt = true;
  // More variables by name (enable_thinking, documents, date_string, ...); these win over the
  // special tokens of the tokenizer.
  Json extra = Json::object();
  std::tm now = {};  // local time, for templates that print the date
};

class ChatTemplate {
 public:
  // InvalidArgument names the line, what was found and what was expected.
  static Result<ChatTemplate> Parse(std::string source, const ChatTemplateLimits& limits = {});

  // chat_template.jinja; else `chat_template` of tokenizer_config.json, a text or a list of
  // {name, template}, of which "default" is taken, and "tool_use" when tools are given. The special
  // tokens of tokenizer_config.json become variables (bos_token, eos_token, ...). Of a family that
  // ships no template (Qwen v1, InternLM 1), the form that its own code has. NotFound when the
  // model has no chat template.
  static Result<ChatTemplate> Load(const std::string& model_dir,
                                   const ChatTemplateLimits& limits = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // The text of the prompt, and which of its bytes came with `request`: all that its strings
  // became, but for the names of roles. The template's own raise_exception is InvalidArgument in
  // the template's own words. What goes beyond a limit is ResourceExhausted, what this code cannot
  // do Unimplemented.
  Result<MarkedText> Render(const RenderRequest& request) const;

  // Of Parse and Load: strings by name (bos_token, ...), null where the model has none.
  const Json& special_tokens() const;
  // Tokens that end an answer to this form besides the model's own end tokens. Only of families
  // whose form is built in: templates that a model ships go with end tokens that it names.
  const std::vector<std::string>& end_tokens() const;
  // Whether the template goes through the parts of a message's content itself.
  bool reads_content_parts() const;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<const State> state);

  std::unique_ptr<const State> state_;
};

}  // namespace octet::chat
