// Base64 as Python's b64encode writes it: the usual alphabet, with padding, without line ends.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace octet::tokenizer {

// Nothing when `text` is empty or not such a text.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace octet::tokenizer
