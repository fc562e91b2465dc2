// What a process had of the cores and what it waited for them, as the kernel counts it.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace octet {

struct Load {
  double run_ms = 0;
  double delay_ms = 0;  // ready, while others had the core
  int64_t stops = 0;    // times it was taken off a core while it wanted it

  // The sums over all threads.
  static Load Of(pid_t pid) {
    Load load;
    const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      double run_ns = 0, delay_ns = 0;
      std::ifstream(task.path() / "schedstat") >> run_ns >> delay_ns;
      load.run_ms += run_ns * 1e-6;
      load.delay_ms += delay_ns * 1e-6;
      std::ifstream status(task.path() / "status");
      for (std::string key; status >> key;) {
        int64_t stops = 0;
        if (key == "nonvoluntary_ctxt_switches:" && status >> stops) load.stops += stops;
      }
    }
    return load;
  }
  Load operator-(const Load& before) const {
    return {run_ms - before.run_ms, delay_ms - before.delay_ms, stops - before.stops};
  }
};

// What all cores together had nothing to do for, ms since the machine started.
inline double IdleMs() {
  std::string name;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0;
  std::ifstream("/proc/stat") >> name >> user >> nice >> system >> idle >> waiting;
  return (idle + waiting) * 1e3 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// The processes named `name` (its first 15 characters) that descend from `ancestor`, by number.
inline std::vector<pid_t> Descendants(pid_t ancestor, const std::string& name) {
  const auto parent_of = [](pid_t pid, std::string* comm) {
    std::string line;
    std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/stat"), line);
    const size_t open = line.find('('), close = line.rfind(')');
    if (close == std::string::npos) return pid_t{0};
    *comm = line.substr(open + 1, close - open - 1);
    return static_cast<pid_t>(std::stol(line.substr(close + 4)));  // after ") S "
  };
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string digits = entry.path().filename();
    if (std::isdigit(static_cast<unsigned char>(digits[0])) == 0) continue;
    const auto pid = static_cast<pid_t>(std::stol(digits));
    std::string comm, other;
    pid_t parent = parent_of(pid, &comm);
    while (parent > 1 && parent != ancestor) parent = parent_of(parent, &other);
    if (parent == ancestor && comm == name) found.push_back(pid);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace octet
