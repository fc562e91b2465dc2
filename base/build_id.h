// Which build this is: version and source revision. Ranks and coordinator compare it.
#pragma once

#include <string_view>

namespace octet {

std::string_view Version();
std::string_view BuildId();

}  // namespace octet
