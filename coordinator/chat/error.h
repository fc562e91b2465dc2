// How the lexer, the parser and the interpreter give up: by an exception that chat_template.cc, the
// edge of this folder, turns into a Status. An expression evaluator whose every step returned a
// Result would be half error handling.
#pragma once

#include <string>
#include <utility>

#include "base/status.h"

namespace octet::chat {

struct TemplateError {
  Status status;
  bool in_own_words = false;  // raise_exception: the message is the template's, nothing is added
};

[[noreturn]] inline void Refuse(std::string why) {
  throw TemplateError{InvalidArgument(std::move(why))};
}
[[noreturn]] inline void RefuseTooMuch(std::string what, int64_t limit) {
  throw TemplateError{
      ResourceExhausted(std::move(what) + ", the limit is " + std::to_string(limit))};
}
[[noreturn]] inline void RefuseUnsupported(std::string what) {
  throw TemplateError{Unimplemented(std::move(what))};
}

}  // namespace octet::chat
