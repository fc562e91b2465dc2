#include "base/host_limits.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

namespace octet {
namespace {

// The first line of a control group's file, empty where there is none: version 2 of control groups
// has one folder, version 1 one for each kind.
std::string GroupLine(const std::string& file) {
  std::string line;
  std::getline(std::ifstream("/sys/fs/cgroup/" + file), line);
  return line;
}

}  // namespace

int64_t HostMemoryBytes() {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  int64_t bytes = machine;
  for (const char* file : {"memory.max", "memory/memory.limit_in_bytes"}) {
    int64_t group = 0;
    std::istringstream(GroupLine(file)) >> group;  // a number or "max"
    if (group > 0) bytes = std::min(bytes, group);
  }
  return bytes;
}

int HostCores() {
  const CoreSet cores = OwnCores();  // hardware_concurrency counts the machine's (glibc 2.36)
  const auto all = static_cast<int>(std::thread::hardware_concurrency());
  return CoresOfShare(std::max(1, cores.all() ? all : static_cast<int>(cores.count())));
}

int CoresOfShare(int cores) {
  const std::string first =
      GroupLine("cpu/cpu.cfs_quota_us") + " " + GroupLine("cpu/cpu.cfs_period_us");
  return CoresOfShare(first, CoresOfShare(GroupLine("cpu.max"), cores));
}

int CoresOfShare(const std::string& cpu_max, int cores) {
  int64_t quota = 0, period = 0;
  std::istringstream(cpu_max) >> quota >> period;
  if (quota <= 0 || period <= 0) return cores;
  return static_cast<int>(std::clamp<int64_t>(quota / period, 1, cores));
}

CoreSet OwnCores() {
  static_assert(CPU_SETSIZE == CoreSet().size());
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return CoreSet().set();
  CoreSet cores;
  for (size_t core = 0; core < cores.size(); ++core) cores[core] = CPU_ISSET(core, &set);
  return cores;
}

int SharersOf(const CoreSet& own, std::span<const CoreSet> sets) {
  return static_cast<int>(
      std::ranges::count_if(sets, [&](const CoreSet& set) { return (set & own).any(); }));
}

}  // namespace octet
