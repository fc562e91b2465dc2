// A chat template from anyone, rendered with a conversation that has tools: a text, or a sentence.
// The limits are those of a service but for steps and bytes, which are less so that runs are many.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "coordinator/chat/chat_template.h"

using octet::chat::ChatTemplate;
using octet::chat::Json;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Json messages = Json::parse(R"([
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hé <b>"}, {"type": "text", "text": ""}]},
    {"role": "assistant", "content": null, "reasoning_content": "hm\n",
     "tool_calls": [{"id": "a", "type": "function",
                     "function": {"name": "f", "arguments": {"x": [1, -2.5, true, null, "y"]}}}]},
    {"role": "tool", "tool_call_id": "a", "name": "f", "content": "{\"ok\": 1}"},
    {"role": "user", "content": "  and?  "}])");
  static const Json tools = Json::parse(R"([{"type": "function", "function": {"name": "f",
    "description": "d", "parameters": {"type": "object", "properties": {"x": {"type": "array"}}}}}])");
  octet::chat::ChatTemplateLimits limits;
  limits.steps = 100'000;
  limits.value_bytes = int64_t{8} << 20;
  limits.output_bytes = int64_t{1} << 20;
  const auto chat =
      ChatTemplate::Parse(std::string(reinterpret_cast<const char*>(data), size), limits);
  if (!chat.ok()) {
    OCTET_CHECK(!chat.status().message().empty());
    return 0;
  }
  std::tm now = {};
  now.tm_year = 126;
  now.tm_mday = 1;
  const Json extra = {{"enable_thinking", true}, {"date_string", "1 Jan"}};
  const auto text =
      chat->Render({.messages = messages, .tools = tools, .extra = extra, .now = now});
  if (text.ok()) {
    OCTET_CHECK_LE(static_cast<int64_t>(text->text.size()), limits.output_bytes);
  } else {
    OCTET_CHECK_LE(static_cast<int64_t>(text.status().message().size()), limits.output_bytes);
  }
  return 0;
}
