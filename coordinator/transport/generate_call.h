// One Generate stream: from the request's message to intake, and from the answers to the client.
// The step loop writes into it without ever waiting: while the client is slow to read, chunks of
// one sample grow into one message, so what is held is at most the answers themselves. Owned by
// itself, from the call until gRPC is done with it.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "coordinator/intake/answer_sink.h"
#include "coordinator/intake/intake.h"
#include "coordinator/transport/stream_writer.h"
#include "octet/v1/generation.pb.h"

namespace octet::transport {

// A message grows up to here, then another begins: with 20 logprobs each it stays below 1 MiB,
// where clients take 4 MiB unless told otherwise.
inline constexpr int kMessageTokensMax = 4096;

class GenerateCall final : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                           public intake::AnswerSink {
 public:
  // `cancel` is told the number of a request whose client went away. All outlive the call.
  GenerateCall(const v1::GenerateRequest& request, intake::Intake* intake,
               const std::function<void(uint64_t)>* cancel, StreamWriter* writer);

  void OnAccepted(const intake::AcceptedAnswer& accepted) override;
  void OnPrompt(const intake::PromptPiece& piece) override;
  void OnChunk(const intake::AnswerChunk& chunk) override;
  void OnSampleEnd(const intake::SampleEnd& end) override;
  void OnEnd(const Status& status) override;

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

  // Of the writer's thread, after a Wake.
  void Advance();

 private:
  ~GenerateCall() = default;
  using Messages = std::deque<v1::GenerateResponse>;  // all full but the last, which grows

  // What comes next on the wire, decided under the lock, done by Act after it.
  enum class Action { kNone, kWrite, kFinish };
  Action NextAction();
  void Wake();  // there is something to say
  Messages* NextMessages();
  void Act(Action action);

  const std::function<void(uint64_t)>* const cancel_;
  StreamWriter* const writer_;
  uint64_t id_ = 0;  // 0: not accepted

  std::mutex mutex_;
  Messages first_;                 // accepted, then the prompt
  bool prompt_due_ = false;        // chunks wait until all of the prompt was told
  std::vector<Messages> samples_;  // [n] chunks, then complete
  size_t turn_ = 0;                // of the samples, so that none waits for another to be silent
  std::optional<grpc::Status> status_;  // set at the end
  bool woken_ = false;                  // Advance is due: nobody else acts
  bool writing_ = false;
  bool finished_ = false;
  bool client_gone_ = false;

  v1::GenerateResponse outgoing_;  // gRPC's while writing_
};

}  // namespace octet::transport
