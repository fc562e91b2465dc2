// Why an address can not be listened on. gRPC says only that; this tries again by hand and says what
// the system answered.
#pragma once

#include <string>

namespace octet::transport {

// "the address is in use". Part of a sentence.
std::string WhyNotListening(const std::string& address);

}  // namespace octet::transport
