// One Generate stream: from the request's message to intake, and from the answer to the client. The
// step loop writes into it without ever waiting: while the client is slow to read, chunks grow into
// one, so what is held is at most the answer itself. Owned by itself, from the call until gRPC is
// done with it.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <mutex>
#include <optional>

#include "coordinator/intake/answer.h"
#include "coordinator/intake/intake.h"
#include "octet/v1/generation.pb.h"

namespace octet::transport {

class GenerateCall final : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                           public intake::AnswerSink {
 public:
  // `cancel` is told the number of a request whose client went away.
  GenerateCall(const v1::GenerateRequest& request, intake::Intake* intake,
               const std::function<void(uint64_t)>* cancel);

  void OnAccepted(const intake::AcceptedAnswer& accepted) override;
  void OnChunk(const intake::AnswerChunk& chunk) override;
  void OnEnd(const intake::AnswerEnd& end) override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  ~GenerateCall() = default;
  // What comes next on the wire, decided under the lock, done by Act after it.
  enum class Action { kNone, kWrite, kFinish };
  Action NextAction();
  void Act(Action action);

  const std::function<void(uint64_t)>* const cancel_;
  uint64_t id_ = 0;  // 0: not accepted

  std::mutex mutex_;
  std::optional<v1::GenerateResponse> accepted_;
  std::optional<v1::GenerateResponse> chunk_;  // grows until it is written
  std::optional<v1::GenerateResponse> complete_;
  std::optional<grpc::Status> status_;  // set at the end
  bool writing_ = false;
  bool finished_ = false;
  bool client_gone_ = false;

  v1::GenerateResponse outgoing_;  // gRPC's while writing_
};

}  // namespace octet::transport
