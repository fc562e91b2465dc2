// A way between a client and a server on loopback that a test can cut, or make silent, or slow, as
// a network does: neither end says anything first.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/check.h"

namespace octet::coordinator {

class TcpProxy {
 public:
  explicit TcpProxy(int server_port) : listening_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = Loopback(0);
    OCTET_CHECK_EQ(bind(listening_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    OCTET_CHECK_EQ(listen(listening_, 1), 0);
    socklen_t bytes = sizeof(address);
    getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &bytes);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, server_port] { Run(server_port); });
  }
  ~TcpProxy() {
    Cut();
    mode_ = Mode::kFlow;
    thread_.join();
    for (const int fd : {listening_, client_.load(), server_}) close(fd);
  }

  int port() const { return port_; }
  // Both ends see their connection end; no other is taken.
  void Cut() {
    cut_ = true;
    for (const int fd : {listening_, client_.load(), server_}) shutdown(fd, SHUT_RDWR);
  }

  // Nothing is passed on any more, and both ends still have their connection.
  void FallSilent() { mode_ = Mode::kSilent; }
  // From now on the client gets one byte a second.
  void Trickle() { mode_ = Mode::kTrickle; }

 private:
  enum class Mode { kFlow, kTrickle, kSilent };
  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }
  void Copy(int from, int to, bool to_client) {
    char buffer[4096];
    while (true) {
      const bool slow = to_client && mode_ == Mode::kTrickle;
      const ssize_t bytes = read(from, buffer, slow ? 1 : sizeof(buffer));
      for (int i = 0; i < 100 && slow && !cut_; ++i) Pause();
      while (mode_ == Mode::kSilent && !cut_) Pause();
      if (bytes <= 0 || send(to, buffer, static_cast<size_t>(bytes), MSG_NOSIGNAL) != bytes) return;
    }
  }
  static void Pause() { std::this_thread::sleep_for(std::chrono::milliseconds(10)); }
  void Run(int server_port) {
    const int accepted = accept(listening_, nullptr, nullptr);
    if (accepted < 0) return;
    client_ = accepted;
    const sockaddr_in address = Loopback(server_port);
    OCTET_CHECK_EQ(connect(server_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
                   0);
    std::thread up([this] { Copy(client_, server_, /*to_client=*/false); });
    Copy(server_, client_, /*to_client=*/true);
    up.join();
  }

  int port_ = 0;
  int listening_;
  std::atomic<int> client_{-1};
  std::atomic<Mode> mode_{Mode::kFlow};
  std::atomic<bool> cut_{false};
  int server_ = socket(AF_INET, SOCK_STREAM, 0);
  std::thread thread_;
};

}  // namespace octet::coordinator
