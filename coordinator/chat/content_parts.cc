#include "coordinator/chat/content_parts.h"

#include <algorithm>
#include <string>
#include <unordered_set>

#include "coordinator/chat/error.h"

namespace octet::chat {
namespace {

using Names = std::unordered_set<std::string_view>;

// x.content, x['content'], also filtered or sliced.
bool IsContent(const Expression* node, const Names& aliases) {
  while (node != nullptr &&
         (node->kind == ExpressionKind::kFilter || node->kind == ExpressionKind::kSlice)) {
    node = node->operands[0].get();
  }
  if (node == nullptr) return false;
  if (node->kind == ExpressionKind::kName) return aliases.contains(node->text);
  if (node->kind == ExpressionKind::kAttribute) return node->text == "content";
  if (node->kind != ExpressionKind::kSubscript) return false;
  const Value& key = node->operands[1]->value;
  return key.is_string() && key.text() == "content";
}

// Adds the names set to a content on the way, which in templates comes before their use.
bool Iterates(const Program& program, Names* aliases) {
  for (const Statement& statement : program) {
    if (statement.kind == StatementKind::kSet && statement.target->kind == ExpressionKind::kName &&
        IsContent(statement.expression.get(), *aliases)) {
      aliases->insert(statement.target->text);
    }
    if (statement.kind == StatementKind::kFor && IsContent(statement.expression.get(), *aliases)) {
      return true;
    }
    if (Iterates(statement.body, aliases) || Iterates(statement.otherwise, aliases)) return true;
  }
  return false;
}

std::string JoinedText(const Json& parts) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Json& part = parts[i];
    if (i > 0) text += "\n";
    if (part.is_string()) {
      text += part.get_ref<const std::string&>();
      continue;
    }
    const bool is_text = part.is_object() && part.contains("text") && part["text"].is_string() &&
                         part.value("type", Json("text")) == "text";
    if (!is_text)
      Refuse("a part of a message's content is not {\"type\": \"text\", \"text\": ...}");
    text += part["text"].get_ref<const std::string&>();
  }
  return text;
}

}  // namespace

bool IteratesOverContent(const Program& program) {
  Names aliases;
  return Iterates(program, &aliases);
}

bool HasContentParts(const Json& messages) {
  return std::any_of(messages.begin(), messages.end(), [](const Json& message) {
    const auto content = message.find("content");
    return content != message.end() && content->is_array();
  });
}

Json WithFlatContent(const Json& messages) {
  Json flat = messages;
  for (Json& message : flat) {
    const auto content = message.find("content");
    if (content != message.end() && content->is_array()) *content = JoinedText(*content);
  }
  return flat;
}

}  // namespace octet::chat
