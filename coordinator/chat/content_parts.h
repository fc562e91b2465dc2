// Content in parts: does a template read them, and what they are as one text when it does not.
#pragma once

#include "coordinator/chat/ast.h"
#include "coordinator/chat/chat_template.h"

namespace octet::chat {

// Whether some {% for %} goes over `x.content`, `x['content']` or a name that was set to one: vLLM
// detects its content format "openai" in the same way.
bool IteratesOverContent(const Program& program);

// Whether the content of some message is a list.
bool HasContentParts(const Json& messages);

// The messages with each list of text parts joined by line ends, as vLLM does it. Throws
// TemplateError for parts that are not text.
Json WithFlatContent(const Json& messages);

}  // namespace octet::chat
