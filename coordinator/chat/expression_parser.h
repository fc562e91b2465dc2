// The expressions of a template, with jinja2's precedence, which is not Python's everywhere: ~
// binds tighter than +, and ** is grouped from the left. Reads tokens on behalf of the statement
// parser.
#pragma once

#include "coordinator/chat/ast.h"
#include "coordinator/chat/token_stream.h"

namespace octet::chat {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream* stream) : stream_(*stream) {}

  // `a if b else c` and below.
  ExpressionPtr Parse();
  // Without an inline if: the subject of {% for %}, {% if %}.
  ExpressionPtr ParseOr();
  // An expression or, with commas, a tuple of them.
  ExpressionPtr ParseTuple(bool with_conditional);
  // The left side of {% set %} and {% for %}.
  ExpressionPtr ParseTarget(bool allow_member);
  // `name(arguments) | name ...` applied to `subject`, which may be null.
  ExpressionPtr ParseFilters(ExpressionPtr subject);

 private:
  ExpressionPtr ParseAnd();
  ExpressionPtr ParseNot();
  ExpressionPtr ParseCompare();
  ExpressionPtr ParseSum();
  ExpressionPtr ParseConcat();
  ExpressionPtr ParseProduct();
  ExpressionPtr ParsePower();
  ExpressionPtr ParseUnary(bool with_filters);
  ExpressionPtr ParsePrimary();
  ExpressionPtr ParseConstant(Token token);
  ExpressionPtr ParseParentheses();
  ExpressionPtr ParseList();
  ExpressionPtr ParseDict();
  ExpressionPtr ParsePostfix(ExpressionPtr node);
  ExpressionPtr ParseFiltersAndTests(ExpressionPtr node);
  ExpressionPtr ParseDot(ExpressionPtr node);
  ExpressionPtr ParseBrackets(ExpressionPtr node);
  ExpressionPtr ParseTest(ExpressionPtr node);
  ExpressionPtr ParseCall(ExpressionPtr node);
  void ParseArguments(Expression* node);

  std::unique_ptr<Expression> Make(ExpressionKind kind) const;
  // Ends the making of a node: its depth is known now.
  ExpressionPtr Done(std::unique_ptr<Expression> node) const;
  ExpressionPtr Binary(ExpressionKind kind, Operator op, ExpressionPtr a, ExpressionPtr b) const;

  TokenStream& stream_;
};

}  // namespace octet::chat
