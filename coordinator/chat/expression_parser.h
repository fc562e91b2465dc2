// The expressions of a template, with jinja2's precedence, which is not Python's everywhere: ~
// binds tighter than +, and ** is grouped from the left. Reads tokens on behalf of the statement
// parser.
#pragma once

#include <string_view>
#include <vector>

#include "coordinator/chat/ast.h"
#include "coordinator/chat/lexer.h"
#include "coordinator/chat/limits.h"

namespace octet::chat {

// The tokens and the place reached in them, shared by both parsers.
class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, int32_t depth_max)
      : tokens_(std::move(tokens)), depth_max_(depth_max) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token Take();
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view op);
  void ExpectOperator(std::string_view op);
  std::string ExpectName();
  void Expect(TokenKind kind, const char* what);
  // found = the current token.
  [[noreturn]] void FailExpected(const std::string& what) const;
  [[noreturn]] void Fail(int32_t line, const std::string& what) const;
  int32_t depth_max() const { return depth_max_; }

  // While it lives, one rule is inside another.
  class Nested {
   public:
    explicit Nested(TokenStream* stream) : stream_(stream) {
      if (++stream_->depth_ > stream_->depth_max_) stream_->FailTooDeep();
    }
    ~Nested() { --stream_->depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    TokenStream* stream_;
  };

  [[noreturn]] void FailTooDeep() const;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int32_t depth_ = 0;
  int32_t depth_max_;
};

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
