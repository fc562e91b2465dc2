// While it lives, an interpreter's names go into a new scope. Names of the block are gone after it.
#pragma once

#include "coordinator/chat/interpreter.h"

namespace octet::chat {

class Interpreter::InsideScope {
 public:
  InsideScope(Interpreter* interpreter, std::shared_ptr<Scope> outside)
      : interpreter_(interpreter), before_(interpreter->scope_) {
    interpreter_->scope_ = std::make_shared<Scope>();
    interpreter_->scope_->outside = std::move(outside);
  }
  ~InsideScope() { interpreter_->scope_ = std::move(before_); }
  InsideScope(const InsideScope&) = delete;
  InsideScope& operator=(const InsideScope&) = delete;

 private:
  Interpreter* interpreter_;
  std::shared_ptr<Scope> before_;
};

}  // namespace octet::chat
