// One Generate stream: from the request's message to intake, and from the answers to the client.
// The step loop writes into it without ever waiting: while the client is slow to read, or the
// stream's interval is not over, chunks of one sample grow into one message, so what is held is at
// most the answers themselves, and of all calls together what GenerateStreams allows. Owned by
// itself, from before there is a call until gRPC is done with it; all but the sink's side happens
// on the thread of its streams.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/byte_buffer.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "coordinator/intake/answer_sink.h"
#include "coordinator/rpc/completion_loop.h"
#include "coordinator/transport/generate_streams.h"
#include "octet/v1/generation.pb.h"

namespace octet::transport {

// A message grows up to here, then another begins: with 20 logprobs each it stays below 1 MiB,
// where clients take 4 MiB unless told otherwise.
inline constexpr int kMessageTokensMax = 4096;

class GenerateCall final : public intake::AnswerSink {
 public:
  // Asks gRPC for a call.
  explicit GenerateCall(GenerateStreams* streams);

  void OnAccepted(const intake::AcceptedAnswer& accepted) override;
  void OnPrompt(const intake::PromptPiece& piece) override;
  void OnChunk(const intake::AnswerChunk& chunk) override;
  void OnSampleEnd(const intake::SampleEnd& end) override;
  void OnEnd(const Status& status) override;

  void Advance();  // after a Wake
  // About what is held for the client.
  int64_t UnreadBytes();
  // Ends the call as cancelled and drops what is held.
  void Drop();

 private:
  ~GenerateCall() = default;
  struct Message {
    v1::GenerateResponse response;
    int64_t bytes = 0;  // about what it holds
  };
  using Messages = std::deque<Message>;  // all full but the last, which grows

  void OnArrived(bool ok);   // there is a call; false: there will be none
  void OnWritten(bool ok);   // false: nobody reads any more
  void OnFinished(bool ok);  // the status is out, or never will be
  void OnOver(bool ok);      // the call has ended, maybe before we knew
  Result<intake::Request> ReadRequest();
  void Submit();
  void Wake();  // there is something to say
  void Count(int64_t bytes);
  Messages* NextMessages();
  bool IsDue(const Messages& messages) const;
  void WriteNext(std::unique_lock<std::mutex> lock);
  void DeleteIfOver();

  GenerateStreams* const streams_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_{&context_};
  rpc::CompletionOf<GenerateCall, &GenerateCall::OnArrived> arrived_{this};
  rpc::CompletionOf<GenerateCall, &GenerateCall::OnWritten> written_{this};
  rpc::CompletionOf<GenerateCall, &GenerateCall::OnFinished> finished_{this};
  rpc::CompletionOf<GenerateCall, &GenerateCall::OnOver> over_{this};
  uint64_t id_ = 0;  // 0: not accepted
  bool client_gone_ = false;
  bool is_finished_ = false;
  bool is_over_ = false;

  std::mutex mutex_;
  Messages first_;                 // accepted, then the prompt
  bool prompt_due_ = false;        // chunks wait until all of the prompt was told
  std::vector<Messages> samples_;  // [n] chunks, then complete
  size_t turn_ = 0;                // of the samples, so that none waits for another to be silent
  std::optional<grpc::Status> status_;  // set at the end
  int64_t unread_bytes_ = 0;            // of all messages
  bool dropped_ = false;                // nothing is held any more
  bool woken_ = false;                  // Advance is due
  bool writing_ = false;
};

}  // namespace octet::transport
