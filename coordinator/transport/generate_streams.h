// All Generate streams of the service: the one thread that takes the calls, hears of their cancels
// and writes their answers, so that the step loop, which feeds them all after every step, only
// leaves word. A stream costs memory, no thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "coordinator/intake/intake.h"
#include "coordinator/rpc/completion_loop.h"
#include "octet/v1/generation.grpc.pb.h"

namespace octet::transport {

class GenerateCall;

// Calls that gRPC may begin before the thread comes to ask for more; others wait in gRPC.
inline constexpr int kCallsAwaited = 16;

// After a round of writes the thread rests 31 times as long as that took of a processor, at most
// kRestMax: what comes meanwhile merges. So dense steps of small models do not drown in messages (a
// crowd of streams has 125 a second each), and a step longer than kRestMax is never waited for.
inline constexpr int kRestPerWork = 31;
inline constexpr auto kRestMax = std::chrono::milliseconds(8);

// Raw: a request that can not be read is refused with our sentence, not with gRPC's silence.
using GenerationService = v1::Generation::WithRawMethod_Generate<v1::Generation::Service>;

class GenerateStreams {
 public:
  // `cancel` is told the number of a request whose client went away. `service` is that of a server
  // which runs, `queue` one of that server; all but the queue outlive this. A message of a stream
  // waits until it has `interval` tokens, unless it brings an answer's first or last one. Where
  // calls hold more than about `unread_bytes_max` for clients that do not read, the one that holds
  // most is cancelled.
  GenerateStreams(GenerationService* service, std::unique_ptr<grpc::ServerCompletionQueue> queue,
                  intake::Intake* intake, std::function<void(uint64_t id)> cancel, int64_t interval,
                  int64_t unread_bytes_max);
  ~GenerateStreams();  // AwaitEnd()
  GenerateStreams(const GenerateStreams&) = delete;
  GenerateStreams& operator=(const GenerateStreams&) = delete;

  grpc::ServerCompletionQueue* queue() { return loop_.queue(); }
  // In between, words are collected and nothing is written: one round of writes follows. One
  // thread.
  void Hold();
  void Release();
  // Waits until every call is over. REQUIRES: the server is shut down.
  void AwaitEnd();

 private:
  friend class GenerateCall;
  // Asks gRPC for one more call.
  void AwaitCall();
  // Any thread: `call` has something to say; its Advance is called soon, once. It lives until then.
  void Wake(GenerateCall* call);
  void Forget(GenerateCall* call);  // it is over, and to be deleted
  // Any thread: a call holds so much more.
  void CountUnread(int64_t bytes);
  void DropUnread();
  void OnWoken();
  void Rest();
  void AdvanceWoken();

  GenerationService* const service_;
  intake::Intake* const intake_;
  const std::function<void(uint64_t)> cancel_;
  const int64_t interval_;
  const int64_t unread_bytes_max_;
  std::atomic<int64_t> unread_bytes_ = 0;

  std::mutex mutex_;
  std::condition_variable all_over_;
  std::unordered_set<GenerateCall*> calls_;  // awaited ones too; they end on the thread alone
  std::vector<GenerateCall*> woken_;
  bool held_ = false;
  bool resting_ = false;  // the thread wakes by itself at rest_end_: nobody needs to wake it

  // Of the thread alone:
  std::vector<GenerateCall*> advancing_;
  std::chrono::steady_clock::time_point rest_end_{};

  rpc::CompletionLoop loop_;
};

}  // namespace octet::transport
