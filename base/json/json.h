// JSON from files that nobody vouches for: size, depth and duplicate keys are checked by a pass
// that builds nothing, so that what is built afterwards is bounded and whoever copies, prints or
// destroys it, by recursion, does not run out of stack. No exception leaves this file.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace octet {

struct JsonLimits {
  int64_t bytes_max = int64_t{16} << 20;
  int64_t depth_max = 64;
};

// `what` names the text in messages ("config.json"). ResourceExhausted beyond a limit, else
// InvalidArgument. A key found twice in one object is refused. The keys of what is returned are
// sorted: an ordered_json takes quadratic time for an object with many keys.
Result<nlohmann::json> ParseJson(std::string_view text, const std::string& what,
                                 const JsonLimits& limits = {});

// `text` in double quotes for a message: control characters escaped, long texts cut.
std::string Quoted(std::string_view text);

}  // namespace octet
