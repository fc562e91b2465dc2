// The coordinator's end of WorkerLink: accepts the ranks' streams and moves messages, nothing else.
// What a message means, and which stream is which rank, is its listener's business. One thread,
// "octet-link", calls the listener.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "octet/v1/worker_link.pb.h"

namespace octet::workers {

inline constexpr int kLinkMessageBytesMax = 64 << 20;

class LinkListener {
 public:
  // Must not block. `stream` is never used twice.
  virtual void OnMessage(uint64_t stream, const v1::RankMessage& message) = 0;
  // The stream has ended: closed by us, or by the death of the rank. Nothing of it follows.
  virtual void OnStreamEnd(uint64_t stream) = 0;

 protected:
  ~LinkListener() = default;
};

class LinkServer {
 public:
  // `address` as gRPC spells it: "unix:/path", "10.0.0.1:7000". `listener` outlives the server.
  static Result<std::unique_ptr<LinkServer>> Start(const std::string& address,
                                                   LinkListener* listener);
  // Closes every stream and waits until the listener has seen each end.
  ~LinkServer();
  LinkServer(const LinkServer&) = delete;
  LinkServer& operator=(const LinkServer&) = delete;

  // In order, without blocking; dropped when the stream has ended. Any thread.
  void Send(uint64_t stream, v1::CoordinatorMessage message);
  // Ends the stream with `status` once what was sent before is out. Any thread.
  void Close(uint64_t stream, const Status& status);

 private:
  class Service;
  LinkServer();
  std::unique_ptr<Service> service_;
};

}  // namespace octet::workers
