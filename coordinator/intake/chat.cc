#include "coordinator/intake/chat.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace octet::intake {
namespace {

using Json = nlohmann::ordered_json;

struct JsonShape {
  int64_t depth = 0;   // of arrays and objects in one another
  int64_t values = 1;  // at least so many as there are
};

// Of the raw text, before a parser works on it. Of an ill-formed one it is some shape: the parser
// says what is wrong.
JsonShape ShapeOf(std::string_view text) {
  JsonShape shape;
  int64_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') shape.depth = std::max(shape.depth, ++depth);
    if (c == ']' || c == '}') --depth;
    if (c == '[' || c == '{' || c == ',') ++shape.values;
  }
  return shape;
}

// Parses the JSON texts of one request, which share the limit on values.
class JsonTexts {
 public:
  // The value of `text`, which must be of `type`: array or object.
  Result<Json> Parse(const std::string& field, const std::string& text, Json::value_t type) {
    const JsonShape shape = ShapeOf(text);
    if (shape.depth > kChatJsonDepthMax)
      return InvalidArgument(field + " is nested " + std::to_string(shape.depth) +
                             " levels deep; the limit is " + std::to_string(kChatJsonDepthMax));
    values_ += shape.values;
    if (values_ > kChatJsonValuesMax)
      return InvalidArgument(field + " brings the JSON values of the request to " +
                             std::to_string(values_) + "; the limit is " +
                             std::to_string(kChatJsonValuesMax));
    const std::string expected = type == Json::value_t::array ? "an array" : "an object";
    try {
      Json value = Json::parse(text);
      if (value.type() == type) return value;
      return InvalidArgument(field + " is " + value.type_name() + "; it must be " + expected);
    } catch (const Json::parse_error& error) {
      return InvalidArgument(field + " is not JSON, at byte " + std::to_string(error.byte) +
                             "; it must be " + expected);
    } catch (const Json::exception&) {
      return InvalidArgument(field + " holds a number that does not fit; it must be " + expected);
    }
  }

 private:
  int64_t values_ = 0;
};

Status ExpectObjects(const std::string& field, const Json& array) {
  for (size_t i = 0; i < array.size(); ++i) {
    if (!array[i].is_object())
      return InvalidArgument(field + "[" + std::to_string(i) + "] is " + array[i].type_name() +
                             "; it must be an object");
  }
  return {};
}

// Clients send the arguments of a call as JSON in a string, as OpenAI's interface has it; templates
// take the object.
Status ParseArguments(const std::string& field, Json* call, JsonTexts* texts) {
  const auto function = call->find("function");
  if (function == call->end() || !function->is_object()) return {};
  const auto arguments = function->find("arguments");
  if (arguments == function->end() || !arguments->is_string()) return {};
  OCTET_ASSIGN_OR_RETURN(Json value,
                         texts->Parse(field + ".function.arguments", arguments->get<std::string>(),
                                      Json::value_t::object));
  *arguments = std::move(value);
  return {};
}

Result<Json> ParseMessage(const ChatMessage& message, const std::string& field, JsonTexts* texts) {
  Json out = Json::object();
  out["role"] = message.role;
  out["content"] = message.content;
  if (message.name.has_value()) out["name"] = *message.name;
  if (message.tool_call_id.has_value()) out["tool_call_id"] = *message.tool_call_id;
  if (!message.tool_calls_json.empty()) {
    const std::string calls_field = field + ".tool_calls_json";
    OCTET_ASSIGN_OR_RETURN(
        Json calls, texts->Parse(calls_field, message.tool_calls_json, Json::value_t::array));
    OCTET_RETURN_IF_ERROR(ExpectObjects(calls_field, calls));
    for (size_t i = 0; i < calls.size(); ++i) {
      OCTET_RETURN_IF_ERROR(
          ParseArguments(calls_field + "[" + std::to_string(i) + "]", &calls[i], texts));
    }
    out["tool_calls"] = std::move(calls);
  }
  return out;
}

}  // namespace

int64_t ChatBytes(const ChatRequest& chat) {
  size_t bytes = chat.tools_json.size() + chat.template_variables_json.size();
  for (const ChatMessage& message : chat.messages)
    bytes += message.role.size() + message.content.size() + message.tool_calls_json.size() +
             (message.name.has_value() ? message.name->size() : 0) +
             (message.tool_call_id.has_value() ? message.tool_call_id->size() : 0);
  return static_cast<int64_t>(bytes);
}

Status CheckChat(const ChatRequest& chat, int64_t bytes_max) {
  if (chat.messages.empty())
    return InvalidArgument("chat.messages has 0 entries; it must have at least 1");
  const int64_t messages = static_cast<int64_t>(chat.messages.size()) + chat.messages_left_out;
  if (messages > kChatMessagesMax)
    return InvalidArgument("chat.messages has " + std::to_string(messages) +
                           " entries; the limit is " + std::to_string(kChatMessagesMax));
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    if (chat.messages[i].role.empty())
      return InvalidArgument("chat.messages[" + std::to_string(i) +
                             "].role is empty; it must be one that the template knows, like user");
  }
  const int64_t bytes = ChatBytes(chat);
  if (bytes > bytes_max)
    return InvalidArgument("chat has " + std::to_string(bytes) + " bytes; the limit is " +
                           std::to_string(bytes_max));
  return {};
}

Result<Conversation> ParseChat(const ChatRequest& chat) {
  JsonTexts texts;
  Conversation out;
  out.add_generation_prompt = chat.add_generation_prompt;
  out.messages = Json::array();
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    OCTET_ASSIGN_OR_RETURN(
        Json message,
        ParseMessage(chat.messages[i], "chat.messages[" + std::to_string(i) + "]", &texts));
    out.messages.push_back(std::move(message));
  }
  if (!chat.tools_json.empty()) {
    OCTET_ASSIGN_OR_RETURN(out.tools,
                           texts.Parse("chat.tools_json", chat.tools_json, Json::value_t::array));
    OCTET_RETURN_IF_ERROR(ExpectObjects("chat.tools_json", out.tools));
  }
  out.variables = Json::object();
  if (!chat.template_variables_json.empty()) {
    OCTET_ASSIGN_OR_RETURN(out.variables,
                           texts.Parse("chat.template_variables_json", chat.template_variables_json,
                                       Json::value_t::object));
    for (const char* own : {"messages", "tools", "add_generation_prompt"}) {
      if (out.variables.contains(own))
        return InvalidArgument(std::string("chat.template_variables_json has '") + own +
                               "'; it must not have what the request says elsewhere");
    }
  }
  return out;
}

}  // namespace octet::intake
