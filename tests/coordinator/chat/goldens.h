// The files under goldens/ and templates/, for the tests of this folder.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "coordinator/chat/chat_template.h"

namespace octet::chat {

inline std::string ReadTestFile(const std::string& name) {
  std::ifstream in(std::string(OCTET_SOURCE_DIR "/tests/coordinator/chat/") + name,
                   std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The time that the goldens were made with: Saturday, 6 July 2024, 05:04:03.
inline std::tm GoldenTime() {
  std::tm time = {};
  time.tm_year = 124;
  time.tm_mon = 6;
  time.tm_mday = 6;
  time.tm_hour = 5;
  time.tm_min = 4;
  time.tm_sec = 3;
  time.tm_wday = 6;
  time.tm_yday = 187;
  return time;
}

// Renders a template that sees `variables` and no messages.
inline Result<std::string> RenderSource(const std::string& source, const Json& variables,
                                        const ChatTemplateLimits& limits = {}) {
  OCTET_ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::Parse(source, limits));
  OCTET_ASSIGN_OR_RETURN(
      MarkedText text,
      chat.Render({.messages = Json::array(), .extra = variables, .now = GoldenTime()}));
  return std::move(text.text);
}

// Empty when the result is what the golden says, else what differs. Python's own errors only have
// to be errors; raise_exception has to give its words. A random expression may meet what is not
// supported.
inline std::string Difference(const Json& golden, const Result<std::string>& result) {
  const std::string found =
      result.ok() ? "text: " + *result : "error: " + result.status().message();
  if (golden.contains("random") && result.status().code() == StatusCode::kUnimplemented) return "";
  if (golden.contains("text")) {
    const auto expected = golden["text"].get<std::string>();
    if (result.ok() && *result == expected) return "";
    return "expected text: " + expected + "\nfound " + found;
  }
  const auto expected = golden["error"].get<std::string>();
  if (!result.ok() && (!golden["own_words"] || result.status().message() == expected)) return "";
  return "expected error: " + expected + "\nfound " + found;
}

}  // namespace octet::chat
