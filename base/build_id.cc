#include "base/build_id.h"

namespace octet {

std::string_view Version() { return OCTET_VERSION; }

std::string_view BuildId() { return OCTET_VERSION "+" OCTET_REVISION; }

}  // namespace octet
