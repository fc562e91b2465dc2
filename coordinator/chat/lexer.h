// A template's text to tokens, as jinja2's lexer does it with trim_blocks and lstrip_blocks: the
// white space control is finished here, and the parser sees data and tags only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace octet::chat {

enum class TokenKind : uint8_t {
  kData,        // text between tags
  kPrintBegin,  // {{
  kPrintEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // its text is decoded
  kInteger,
  kFloat,
  kOperator,  // its text is the operator
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int32_t line = 1;

  bool IsName(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  bool IsOperator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
  // For messages: what was found.
  std::string Describe() const;
};

// Throws TemplateError. The last token is kEnd.
std::vector<Token> Lex(std::string_view source);

}  // namespace octet::chat
