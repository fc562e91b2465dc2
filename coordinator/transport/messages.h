// Between the public messages and our own values, field by field.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "base/status.h"
#include "coordinator/intake/request.h"
#include "coordinator/workers/group_info.h"
#include "octet/v1/generation.pb.h"

namespace octet::transport {

intake::Request ToRequest(const v1::GenerateRequest& message);
v1::GetModelResponse ToMessage(const workers::GroupInfo& info, const std::string& served_name);
// The codes are the same; a message that gRPC could not carry is cut.
grpc::Status ToGrpc(const Status& status);

}  // namespace octet::transport
