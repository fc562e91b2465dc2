#include "coordinator/chat/chat_template.h"

#include "coordinator/chat/chat_template_state.h"
#include "coordinator/chat/content_parts.h"
#include "coordinator/chat/error.h"
#include "coordinator/chat/interpreter.h"
#include "coordinator/chat/parser.h"
#include "coordinator/chat/text.h"

namespace octet::chat {
namespace {

// What a template is given besides `extra`; `extra` may not name these.
constexpr std::string_view kGivenNames[] = {"messages", "tools", "add_generation_prompt"};

Status CheckRequest(const RenderRequest& request) {
  if (!request.messages.is_array()) {
    return InvalidArgument(std::string("messages is ") + request.messages.type_name() +
                           ", expected an array");
  }
  for (const Json& message : request.messages) {
    if (!message.is_object()) {
      return InvalidArgument(std::string("a message is ") + message.type_name() +
                             ", expected an object");
    }
  }
  if (!request.tools.is_null() && !request.tools.is_array()) {
    return InvalidArgument(std::string("tools is ") + request.tools.type_name() +
                           ", expected an array or null");
  }
  if (!request.extra.is_object() && !request.extra.is_null()) {
    return InvalidArgument(std::string("the template's variables are ") +
                           request.extra.type_name() + ", expected an object");
  }
  for (const std::string_view name : kGivenNames) {
    if (request.extra.contains(name)) {
      return InvalidArgument("the template's variables name `" + std::string(name) +
                             "`, which the request gives already");
    }
  }
  return {};
}

using Origin = Value::Origin;

void DefineAll(const Json& variables, Origin origin, Interpreter* interpreter) {
  for (const auto& [name, value] : variables.items()) {
    interpreter->Define(name, Value::FromJson(value, origin));
  }
}

MarkedText RenderProgram(const Parsed& parsed, const Json& special_tokens,
                         const RenderRequest& request, Interpreter* interpreter) {
  interpreter->Define("documents", Value::None());
  DefineAll(special_tokens, Origin::kModel, interpreter);
  if (request.extra.is_object()) DefineAll(request.extra, Origin::kRequest, interpreter);
  // First as they are: it checks their depth, on which copying them would recurse.
  Value messages = Value::FromJson(request.messages, Origin::kRequest);
  if (!parsed.reads_content_parts && HasContentParts(request.messages)) {
    messages = Value::FromJson(WithFlatContent(request.messages), Origin::kRequest);
  }
  interpreter->Define("messages", std::move(messages));
  interpreter->Define("tools", Value::FromJson(request.tools, Origin::kRequest));
  interpreter->Define("add_generation_prompt", Value::Bool(request.add_generation_prompt));
  return interpreter->Run(parsed.program);
}

}  // namespace

Result<Parsed> ParseSource(const std::string& source, const ChatTemplateLimits& limits) {
  if (static_cast<int64_t>(source.size()) > limits.template_bytes) {
    return ResourceExhausted("the chat template has " + std::to_string(source.size()) +
                             " bytes, the limit is " + std::to_string(limits.template_bytes));
  }
  if (!IsValidUtf8(source)) return InvalidArgument("the chat template is not valid UTF-8");
  try {
    Parsed parsed;
    parsed.program = ParseProgram(source, limits);
    parsed.reads_content_parts = IteratesOverContent(parsed.program);
    return parsed;
  } catch (const TemplateError& error) {
    return Status(error.status.code(), "chat template, " + error.status.message());
  }
}

ChatTemplate::ChatTemplate(std::unique_ptr<const State> state) : state_(std::move(state)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

const Json& ChatTemplate::special_tokens() const { return state_->special_tokens; }
const std::vector<std::string>& ChatTemplate::end_tokens() const { return state_->end_tokens; }
bool ChatTemplate::reads_content_parts() const { return state_->usual.reads_content_parts; }

Result<ChatTemplate> ChatTemplate::Parse(std::string source, const ChatTemplateLimits& limits) {
  auto state = std::make_unique<State>();
  state->limits = limits;
  OCTET_ASSIGN_OR_RETURN(state->usual, ParseSource(source, limits));
  return ChatTemplate(std::move(state));
}

Result<MarkedText> ChatTemplate::Render(const RenderRequest& request) const {
  OCTET_RETURN_IF_ERROR(CheckRequest(request));
  const bool use_tools = state_->for_tools && !request.tools.is_null();
  const Parsed& parsed = use_tools ? *state_->for_tools : state_->usual;
  Interpreter interpreter(state_->limits, request.now);
  try {
    return RenderProgram(parsed, state_->special_tokens, request, &interpreter);
  } catch (const TemplateError& error) {
    if (error.in_own_words) return error.status;
    return Status(error.status.code(), "chat template, line " + std::to_string(interpreter.line()) +
                                           ": " + error.status.message());
  }
}

}  // namespace octet::chat
