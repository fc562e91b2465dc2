// The tokens of a template and the place that its parsers have reached in them. Whoever parses a
// rule inside another says so here, which bounds the parsers' recursion.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/chat/lexer.h"

namespace octet::chat {

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

}  // namespace octet::chat
