// Values as text: str, repr and json.dumps of Python.
#pragma once

#include <optional>
#include <string>

#include "coordinator/chat/budget.h"
#include "coordinator/chat/value.h"

namespace octet::chat {

// What `{{ value }}` prints. Undefined prints nothing. A string inside a value is given as a whole
// if any of it is.
MarkedText Str(const Value& value, Budget* budget);
MarkedText Repr(const Value& value, Budget* budget);

struct JsonStyle {
  bool ascii = false;
  std::optional<std::string> indent;  // of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
MarkedText JsonText(const Value& value, const JsonStyle& style, Budget* budget);

// The shortest digits that read back as the same number, in Python's layout.
std::string FloatRepr(double value);

}  // namespace octet::chat
