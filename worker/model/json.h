// JSON from files that nobody vouches for: size, depth and duplicate keys are checked by a pass
// that builds nothing, so that what is built afterwards is bounded. No exception leaves this file.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace octet::worker {

struct JsonLimits {
  int64_t bytes_max = int64_t{16} << 20;
  int64_t depth_max = 64;
};

// `what` names the text in messages ("config.json"). A key found twice in one object is refused.
Result<nlohmann::json> ParseJson(std::string_view text, const std::string& what,
                                 const JsonLimits& limits = {});

// `text` in double quotes for a message: control characters escaped, long texts cut.
std::string Quoted(std::string_view text);

}  // namespace octet::worker
