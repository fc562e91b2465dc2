// `octet serve` with the demo model inside a test: its own process, on a port that was free, with
// int4 weights and an int8 cache on MPI ranks of one thread.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace octet::testing {

inline const std::string kOctet = std::string(OCTET_BIN_DIR) + "/octet";
inline const std::string kDemo = std::string(OCTET_SOURCE_DIR) + "/launch/demo_model/model";
inline constexpr double kStartSeconds = 90;
inline constexpr double kAnswerSeconds = 60;
inline constexpr double kStopSeconds = 30;

// A port that was free a moment ago.
inline std::string FreeAddress() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  OCTET_CHECK_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  OCTET_CHECK_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  close(fd);
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

inline std::vector<std::string> ServeCommand(const std::string& model, const std::string& address,
                                             int ranks, std::vector<std::string> more = {}) {
  std::vector<std::string> command = {kOctet,   "serve", model,       "--tp", std::to_string(ranks),
                                      "--grpc", address, "--threads", "1",    "--weights",
                                      "int4",   "--kv",  "int8"};
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

class Served {
 public:
  explicit Served(int ranks, std::vector<std::string> more = {}, const std::string& model = kDemo)
      : address_(FreeAddress()), process_(ServeCommand(model, address_, ranks, std::move(more))) {
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(kStartSeconds);
    while (!ready_ && !process_.Poll().has_value() && std::chrono::steady_clock::now() < end) {
      Process health({kOctet, "health", "--server", address_});
      ready_ = health.Wait(5) == 0;
      if (!ready_) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  bool ready() const { return ready_; }
  const std::string& address() const { return address_; }
  Process& process() { return process_; }

  std::unique_ptr<Process> Start(const std::string& prompt, std::vector<std::string> more = {}) {
    std::vector<std::string> command = {kOctet,     "generate", prompt,
                                        "--server", address_,   "--quiet"};
    command.insert(command.end(), more.begin(), more.end());
    return std::make_unique<Process>(command);
  }

  std::string Generate(const std::string& prompt, std::vector<std::string> more = {}) {
    const auto process = Start(prompt, std::move(more));
    EXPECT_EQ(process->Wait(kAnswerSeconds), 0) << process->err();
    return process->out();
  }

 private:
  std::string address_;
  Process process_;
  bool ready_ = false;
};

}  // namespace octet::testing
