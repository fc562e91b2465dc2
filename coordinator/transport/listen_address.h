// Where a server listens, as people write it: 127.0.0.1:50051, [::1]:50051, unix:/path. gRPC takes
// a port of 99999 for another one and says of a failure only that it was one; here it is said why.
#pragma once

#include <string>

#include "base/status.h"

namespace octet::transport {

// InvalidArgument when it is not written as above. "gRPC can not listen on …: …".
Status CheckListenAddress(const std::string& address);

// Why gRPC could not listen on `address`: tries again by hand and says what the system answers.
// REQUIRES: CheckListenAddress was ok.
Status ExplainListenFailure(const std::string& address);

}  // namespace octet::transport
