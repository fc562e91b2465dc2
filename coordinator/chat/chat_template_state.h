// What a ChatTemplate holds; shared by chat_template.cc and chat_template_load.cc, nobody else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/chat/ast.h"
#include "coordinator/chat/chat_template.h"

namespace octet::chat {

struct Parsed {
  Program program;
  bool reads_content_parts = false;
};

struct ChatTemplate::State {
  ChatTemplateLimits limits;
  Parsed usual;
  std::optional<Parsed> for_tools;
  Json special_tokens = Json::object();
  std::vector<std::string> end_tokens;
};

Result<Parsed> ParseSource(const std::string& source, const ChatTemplateLimits& limits);

}  // namespace octet::chat
