#include "coordinator/transport/port_diagnosis.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace octet::transport {
namespace {

constexpr const char* kExpected = "an address like 127.0.0.1:50051, [::1]:50051 or unix:/path is expected";

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
  return strerror(error);
}

}  // namespace

std::string WhyNotListening(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || address.rfind("unix:", 0) == 0) return kExpected;
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos ||
      std::stoi(port) > 65535)
    return "its port is '" + port + "'; " + kExpected;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0)
    return "its host '" + host + "' is not known (" + gai_strerror(error) + ")";
  const std::string why = TryBind(*found);
  freeaddrinfo(found);
  return why;
}

}  // namespace octet::transport
