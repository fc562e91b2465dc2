#include "coordinator/chat/token_stream.h"

#include "coordinator/chat/error.h"

namespace octet::chat {

Token TokenStream::Take() {
  Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::SkipName(std::string_view name) {
  if (!current().IsName(name)) return false;
  Take();
  return true;
}

bool TokenStream::SkipOperator(std::string_view op) {
  if (!current().IsOperator(op)) return false;
  Take();
  return true;
}

void TokenStream::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) FailExpected("`" + std::string(op) + "`");
}

std::string TokenStream::ExpectName() {
  if (current().kind != TokenKind::kName) FailExpected("a name");
  return Take().text;
}

void TokenStream::Expect(TokenKind kind, const char* what) {
  if (current().kind != kind) FailExpected(what);
  Take();
}

void TokenStream::FailExpected(const std::string& what) const {
  Fail(current().line, "found " + current().Describe() + ", expected " + what);
}

void TokenStream::Fail(int32_t line, const std::string& what) const {
  Refuse("line " + std::to_string(line) + ": " + what);
}

void TokenStream::FailTooDeep() const {
  RefuseTooMuch("line " + std::to_string(current().line) + ": the template is nested too deep",
                depth_max_);
}

}  // namespace octet::chat
