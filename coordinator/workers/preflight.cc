#include "coordinator/workers/preflight.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace octet::workers {
namespace {

std::string InMib(int64_t bytes) {
  if (bytes < int64_t{1} << 20) return std::to_string(bytes >> 10) + " KiB";
  return std::to_string(bytes >> 20) + " MiB";
}

std::string Ranks(int64_t ranks) {
  return std::to_string(ranks) + (ranks == 1 ? " rank needs " : " ranks need ");
}

Status CheckOpenFiles(int64_t ranks) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return {};
  const int64_t needed = kOpenFilesMin + kOpenFilesPerRank * ranks;
  const auto allowed = static_cast<int64_t>(files.rlim_cur);
  if (allowed >= needed) return {};
  return FailedPrecondition("a process may open " + std::to_string(allowed) + " files and " +
                            Ranks(ranks) + std::to_string(needed) +
                            "; allow more with 'ulimit -n 4096' (docker: --ulimit nofile=4096)");
}

// A place that can not be looked at is not judged here: making something in it says why.
Status CheckFree(const std::string& what, const std::string& folder, int64_t needed_bytes,
                 int64_t ranks, const std::string& remedy) {
  struct statvfs place {};
  if (statvfs(folder.c_str(), &place) != 0) return {};
  const auto free_bytes = static_cast<int64_t>(place.f_bavail * place.f_frsize);
  if (free_bytes >= needed_bytes) return {};
  return FailedPrecondition(what + " " + folder + " has " + InMib(free_bytes) + " free and " +
                            Ranks(ranks) + InMib(needed_bytes) + "; " + remedy);
}

bool IsWritable(const std::string& folder) { return access(folder.c_str(), W_OK | X_OK) == 0; }

}  // namespace

Status CheckHost(int64_t ranks, const HostPlaces& places) {
  OCTET_RETURN_IF_ERROR(CheckOpenFiles(ranks));
  const int64_t shared_bytes = ranks * kSharedMemoryBytesPerRank;
  int64_t temporary_bytes = kTemporaryBytesMin;
  if (IsWritable(places.shared_memory))
    OCTET_RETURN_IF_ERROR(CheckFree("the shared memory", places.shared_memory, shared_bytes, ranks,
                                    "remove what is not used in it or make it larger with 'mount "
                                    "-o remount,size=1g " +
                                        places.shared_memory + "' (docker: --shm-size=1g)"));
  else
    temporary_bytes += shared_bytes;
  return CheckFree("the temporary folder", places.temporary, temporary_bytes, ranks,
                   "set TMPDIR to one that has more");
}

}  // namespace octet::workers
