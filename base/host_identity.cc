#include "base/host_identity.h"

#include <unistd.h>

#include <fstream>

namespace octet {

std::string HostIdentity() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  char space[128];
  const ssize_t length = readlink("/proc/self/ns/pid", space, sizeof(space));
  if (!std::getline(file, boot) || boot.empty() || length <= 0) return "";
  return boot + "/" + std::string(space, static_cast<size_t>(length));
}

}  // namespace octet
