// The version of the service, as GetModel tells it. The build sets it.
#pragma once

namespace octet {

inline constexpr const char* kVersion = OCTET_VERSION;

}  // namespace octet
