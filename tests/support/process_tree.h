// The processes that a service has started, and what it may leave behind outside of them.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace octet::testing {

// The processes below `root`, by name.
inline std::vector<std::pair<pid_t, std::string>> Descendants(pid_t root) {
  std::vector<std::tuple<pid_t, pid_t, std::string>> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    std::ifstream file(entry.path() / "stat");
    std::string line;
    if (pid <= 0 || !std::getline(file, line)) continue;
    const size_t open = line.find('('), close = line.rfind(')');
    pid_t parent = 0;
    char state = 0;
    if (std::sscanf(line.c_str() + close + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
      continue;
    all.emplace_back(pid, parent, line.substr(open + 1, close - open - 1));
  }
  std::vector<std::pair<pid_t, std::string>> found;
  std::set<pid_t> family = {root};
  for (bool grew = true; std::exchange(grew, false);) {
    for (const auto& [pid, parent, name] : all) {
      if (!family.contains(parent) || !family.insert(pid).second) continue;
      found.emplace_back(pid, name);
      grew = true;
    }
  }
  return found;
}

// Which rank the process is, as Open MPI told it; -1: it is none, or is gone.
inline int RankOf(pid_t pid) {
  const std::string variable = "OMPI_COMM_WORLD_RANK=";
  std::ifstream file("/proc/" + std::to_string(pid) + "/environ");
  for (std::string entry; std::getline(file, entry, '\0');) {
    if (entry.rfind(variable, 0) == 0) return std::atoi(entry.c_str() + variable.size());
  }
  return -1;
}

// The ranks below `root`, in order.
inline std::vector<pid_t> Ranks(pid_t root) {
  std::vector<pid_t> ranks;
  for (const auto& [pid, name] : Descendants(root)) {
    if (name == "octet-worker") ranks.push_back(pid);
  }
  std::sort(ranks.begin(), ranks.end(), [](pid_t a, pid_t b) { return RankOf(a) < RankOf(b); });
  return ranks;
}

// Whether the process ends within seconds; a dead one that nobody has reaped yet has ended.
inline bool Ends(pid_t pid) {
  for (int i = 0; i < 500; ++i) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    if (!std::getline(file, line)) return true;
    const size_t close = line.rfind(')');
    if (close != std::string::npos && line.compare(close + 1, 2, " Z") == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// The folders that the launcher below `root` was told to work in: its own files, and the shared
// memory of the ranks. Empty while there is no launcher.
inline std::set<std::string> SessionFolders(pid_t root) {
  std::set<std::string> folders;
  for (const auto& [pid, name] : Descendants(root)) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/cmdline");
    for (std::string argument; name == "mpirun" && std::getline(file, argument, '\0');) {
      if (argument.find("/octet-session-") != std::string::npos && argument[0] == '/')
        folders.insert(argument);
    }
  }
  return folders;
}

// Whether the file or folder is gone within seconds.
inline bool Vanishes(const std::string& path) {
  for (int i = 0; i < 500 && std::filesystem::exists(path); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return !std::filesystem::exists(path);
}

}  // namespace octet::testing
