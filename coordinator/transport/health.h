// grpc.health.v1: whether the service serves, asked for or watched. Knows two names, "" and that of
// octet.v1.Generation, which always say the same. Safe to call from any thread. In place of gRPC's
// own, which works with the callback API, whose threads wake at every message of every stream.
// Answers on a queue of its caller's: a probe does not wait behind calls that hold all threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_set>

#include "grpc/health/v1/health.grpc.pb.h"

namespace octet::transport {

class Health final : public grpc::health::v1::Health::AsyncService {
 public:
  using Response = grpc::health::v1::HealthCheckResponse;

  // Calls are taken from now on, by whoever drains `queue`.
  void Start(grpc::ServerCompletionQueue* queue);
  void SetServing(bool serving);
  void EndServing();  // not serving, whatever SetServing says
  // Ends every watch, at once.
  void EndWatches();
  // Returns when none is left. REQUIRES: the server is shut down, its queue still drained.
  void AwaitEnd();

 private:
  class CheckCall;
  class WatchCall;
  // REQUIRES: mutex_ is held, in all that follow.
  void AwaitCheck();
  void AwaitWatch();
  void TellIfOver();
  void Tell();
  Response::ServingStatus StatusOf(const std::string& service) const;

  grpc::ServerCompletionQueue* queue_ = nullptr;
  std::mutex mutex_;
  std::condition_variable all_over_;
  bool serving_ = false;
  bool serving_ended_ = false;
  bool watches_end_ = false;
  int64_t checks_ = 0;                      // the awaited one too
  std::unordered_set<WatchCall*> watches_;  // each owned by itself; the awaited one too
};

}  // namespace octet::transport
