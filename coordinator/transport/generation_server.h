// The gRPC face of the service: octet.v1.Generation, grpc.health.v1 and server reflection on one
// address. Turns messages into requests and answers into messages; decides nothing. Safe to call
// from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "coordinator/intake/intake.h"
#include "coordinator/transport/service_stats.h"
#include "coordinator/workers/group_info.h"

namespace octet::transport {

// A list of token ids for the largest context fits; a text prompt has its own, smaller limit.
inline constexpr int kMessageBytesMaxDefault = 8 << 20;
inline constexpr int64_t kDetokenizeIdsMax = 1 << 20;
inline constexpr int64_t kStreamIntervalMax = 1024;
inline constexpr int64_t kUnreadBytesMaxDefault = 256 << 20;

struct GenerationServerOptions {
  std::string address = "127.0.0.1:50051";
  std::string served_name;
  int message_bytes_max = kMessageBytesMaxDefault;
  // Tokens of an answer that share a message; its first and its last do not wait for others.
  int64_t stream_interval = 1;
  // About what is held in all of answers that clients do not read; the largest is then dropped.
  int64_t unread_bytes_max = kUnreadBytesMaxDefault;
};

// What the server asks of the rest of the service. Any thread; must not block.
struct GenerationServerCalls {
  // Ends the request of this number if it is live. Its sink's cancel_requested is set already.
  std::function<void(uint64_t id)> cancel;
  std::function<ServiceStats()> stats;
};

class GenerationServer {
 public:
  // Listens from now on; health is NOT_SERVING until SetServing. Unavailable, naming the address
  // and why, when that is not possible. `intake` and what `calls` refer to outlive the server.
  static Result<std::unique_ptr<GenerationServer>> Start(const GenerationServerOptions& options,
                                                         intake::Intake* intake,
                                                         GenerationServerCalls calls);
  ~GenerationServer();  // Stop(0)
  GenerationServer(const GenerationServer&) = delete;
  GenerationServer& operator=(const GenerationServer&) = delete;

  int port() const;  // 0 for a unix socket
  void SetModel(const workers::GroupInfo& info);
  void SetServing(bool serving);
  // Health says NOT_SERVING from now on, whatever SetServing says.
  void EndServing();
  // In between, words for streams are collected; then they are written. Any one thread; also after
  // Stop.
  void HoldStreams();
  void ReleaseStreams();
  // Takes no new calls, gives open ones `seconds_max` to end and cancels the rest. Returns when all
  // are over. REQUIRES: answers of accepted requests still get their end meanwhile.
  void Stop(double seconds_max);

 private:
  class Service;
  GenerationServer();
  std::unique_ptr<Service> service_;
};

}  // namespace octet::transport
