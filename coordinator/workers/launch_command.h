// The command that starts a worker group on this machine, from options alone. Starts nothing
// itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "coordinator/workers/process.h"

namespace octet::workers {

// The environment variable in which a worker finds the secret of its launch.
inline constexpr const char* kSecretVariable = "OCTET_LINK_SECRET";

// Where ranks keep their packed weights for the next group, if not in a folder that is named.
inline constexpr const char* kWeightCacheAuto =
    "auto";  // the session's shared memory, if it has any
inline constexpr const char* kWeightCacheNone = "none";

struct LaunchOptions {
  std::string launcher;                    // mpirun, by name or path
  std::vector<std::string> launcher_args;  // of the person, behind ours, which they override
  std::string worker_binary;
  std::vector<std::string> worker_args;
  int32_t ranks = 0;
  std::string weight_cache = kWeightCacheNone;
};

// What differs from one launch to the next.
struct LaunchIdentity {
  std::string link_address;  // "unix:...", or "host:port", where ranks may be on other hosts
  uint64_t epoch = 0;
  std::string secret;
  std::string session_path;
  std::string shared_memory_path;

  // The session's folders are this host's alone.
  bool on_this_host() const { return link_address.starts_with("unix:"); }
};

// FailedPrecondition when the launcher or the worker can not be run, naming it.
Status CheckLaunchable(const LaunchOptions& options);

ProcessOptions LaunchCommand(const LaunchOptions& options, const LaunchIdentity& identity);

// The path that `program` is run as: itself when it has a slash, else the first in PATH, else
// empty.
std::string FindProgram(const std::string& program);

}  // namespace octet::workers
