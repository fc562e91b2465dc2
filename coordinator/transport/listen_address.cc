#include "coordinator/transport/listen_address.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace octet::transport {
namespace {

constexpr const char* kExpected =
    "expected is an address like 127.0.0.1:50051, [::1]:50051 or unix:/path";
constexpr int kPortMax = 65535;

std::string Sentence(const std::string& address, const std::string& why) {
  return "gRPC can not listen on " + address + ": " + why;
}

constexpr std::string_view kUnix = "unix:";
bool IsUnix(const std::string& address) { return address.rfind(kUnix, 0) == 0; }

bool IsPort(const std::string& text) {
  return !text.empty() && text.size() <= 5 &&
         text.find_first_not_of("0123456789") == std::string::npos && std::stoi(text) <= kPortMax;
}

std::string TryBind(const addrinfo& info) {
  const int fd = socket(info.ai_family, info.ai_socktype | SOCK_CLOEXEC, 0);
  if (fd < 0) return strerror(errno);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool bound = bind(fd, info.ai_addr, info.ai_addrlen) == 0 && listen(fd, 1) == 0;
  const int error = errno;
  close(fd);
  if (bound) return "the system gives no reason; try again";
  if (error == EADDRINUSE) return "the address is in use by another process";
  if (error == EACCES)
    return "the port needs a right that this process lacks (CAP_NET_BIND_SERVICE); take one from "
           "1024 up";
  return strerror(error);
}

// gRPC would take the socket over from a service that listens there.
Status CheckSocketPath(const std::string& address) {
  const std::string path = address.substr(kUnix.size());
  sockaddr_un socket_address{};
  socket_address.sun_family = AF_UNIX;
  constexpr size_t kPathMax = sizeof(socket_address.sun_path) - 1;
  if (path.empty() || path.size() > kPathMax)
    return InvalidArgument(Sentence(address, "its path has " + std::to_string(path.size()) +
                                                 " bytes; expected 1 to " +
                                                 std::to_string(kPathMax)));
  std::copy(path.begin(), path.end(), socket_address.sun_path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return {};
  const bool taken =
      connect(fd, reinterpret_cast<const sockaddr*>(&socket_address), sizeof(socket_address)) == 0;
  close(fd);
  if (taken) return Unavailable(Sentence(address, "another process listens there"));
  return {};
}

}  // namespace

Status CheckListenAddress(const std::string& address) {
  if (IsUnix(address)) return CheckSocketPath(address);
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return InvalidArgument(Sentence(address, kExpected));
  const std::string port = address.substr(colon + 1);
  if (!IsPort(port))
    return InvalidArgument(Sentence(address, "its port is '" + port + "'; " + kExpected));
  if (address.find(':') != colon && address[colon - 1] != ']')
    return InvalidArgument(Sentence(address, kExpected));
  return {};
}

Status ExplainListenFailure(const std::string& address) {
  if (IsUnix(address))
    return Unavailable(Sentence(address, "the socket can not be made in that folder"));
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error =
          getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &hints, &found);
      error != 0)
    return Unavailable(
        Sentence(address, "its host '" + host + "' is not known (" + gai_strerror(error) + ")"));
  const std::string why = TryBind(*found);
  freeaddrinfo(found);
  return Unavailable(Sentence(address, why));
}

}  // namespace octet::transport
