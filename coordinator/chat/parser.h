// Tokens to the tree. Refuses what jinja2 refuses and what this subset leaves out, with the line,
// what was found and what was expected.
#pragma once

#include <string_view>

#include "coordinator/chat/ast.h"
#include "coordinator/chat/limits.h"

namespace octet::chat {

// Throws TemplateError.
Program ParseProgram(std::string_view source, const ChatTemplateLimits& limits);

}  // namespace octet::chat
