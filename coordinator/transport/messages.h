// Between the public messages and our own values, field by field.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "base/status.h"
#include "coordinator/intake/answer_sink.h"
#include "coordinator/intake/request.h"
#include "coordinator/transport/service_stats.h"
#include "coordinator/workers/group_info.h"
#include "octet/v1/generation.pb.h"

namespace octet::transport {

intake::Request ToRequest(const v1::GenerateRequest& message);
intake::Prompt ToPrompt(const v1::TokenizeRequest& message);
void SetAccepted(const intake::AcceptedAnswer& from, v1::GenerateResponse::Accepted* to);
// Both add to what is there already, which ends where this begins, and return about how many bytes
// of memory that takes. Of a piece the tokens [begin, end) are added, with the first its text.
int64_t AppendTokens(const intake::PromptPiece& piece, int64_t begin, int64_t end,
                     v1::GenerateResponse::Prompt* to);
int64_t Append(const intake::AnswerChunk& chunk, v1::GenerateResponse::Chunk* to);
void SetComplete(const intake::SampleEnd& from, v1::GenerateResponse::Complete* to);
v1::GetStatsResponse ToMessage(const ServiceStats& stats);
v1::GetModelResponse ToMessage(const workers::GroupInfo& info, const std::string& served_name);
// The codes are the same; a message that gRPC could not carry is cut.
grpc::Status ToGrpc(const Status& status);

}  // namespace octet::transport
