// All Generate streams of the service: the one thread that takes the calls, hears of their cancels
// and writes their answers, so that the step loop, which feeds them all after every step, only
// leaves word. A stream costs memory, no thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "coordinator/intake/intake.h"
#include "coordinator/rpc/completion_loop.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet::transport {

class GenerateCall;

// Calls that gRPC may begin before the thread comes to ask for more; others wait in gRPC.
inline constexpr int kCallsAwaited = 16;

using GenerationService = v1::Generation::WithAsyncMethod_Generate<v1::Generation::Service>;

class GenerateStreams {
 public:
  // `cancel` is told the number of a request whose client went away. `service` is that of a server
  // which runs, `queue` one of that server; all but the queue outlive this.
  GenerateStreams(GenerationService* service, std::unique_ptr<grpc::ServerCompletionQueue> queue,
                  intake::Intake* intake, std::function<void(uint64_t id)> cancel);
  // Waits until every call is over. REQUIRES: the server is shut down.
  ~GenerateStreams();
  GenerateStreams(const GenerateStreams&) = delete;
  GenerateStreams& operator=(const GenerateStreams&) = delete;

  grpc::ServerCompletionQueue* queue() { return loop_.queue(); }

 private:
  friend class GenerateCall;
  // Asks gRPC for one more call.
  void AwaitCall();
  // Any thread: `call` has something to say; its Advance is called soon, once. It lives until then.
  void Wake(GenerateCall* call);
  void Forget();  // a call is over, and deleted
  void AdvanceWoken();

  GenerationService* const service_;
  intake::Intake* const intake_;
  const std::function<void(uint64_t)> cancel_;

  std::mutex mutex_;
  std::condition_variable all_over_;
  int64_t calls_ = 0;  // awaited ones too
  std::vector<GenerateCall*> woken_;
  std::vector<GenerateCall*> advancing_;  // of the thread alone

  rpc::CompletionLoop loop_;
};

}  // namespace octet::transport
