#include "base/host_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace octet {

int64_t HostMemoryBytes() {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  int64_t group = 0;
  std::ifstream("/sys/fs/cgroup/memory.max") >> group;  // a number or "max"
  return group > 0 ? std::min(machine, group) : machine;
}

}  // namespace octet
