#include "coordinator/workers/session_dir.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace octet::workers {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "octet-session-";
constexpr size_t kPathBytesMax = 80;  // leaves the socket's name 100 in all

struct LockedDir {
  std::string path;
  int lock = -1;
};

// The lock of a folder, or -1 when another process holds it or it can not be opened.
int LockDir(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return -1;
}

void RemoveTree(const std::string& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

// Removes the folders of services that were killed. A folder between its making and its locking
// could be taken for one of those, so young ones are left alone.
void SweepStale(const std::string& parent) {
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    const std::string path = it->path().string();
    if (it->path().filename().string().rfind(kPrefix, 0) != 0) continue;
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid())
      continue;
    constexpr time_t kYoungSeconds = 5;
    if (time(nullptr) - info.st_mtime < kYoungSeconds) continue;
    const int lock = LockDir(path);
    if (lock < 0) continue;
    RemoveTree(path);
    close(lock);
  }
}

Result<LockedDir> MakeDir(const std::string& parent) {
  LockedDir dir;
  dir.path = parent + "/" + kPrefix + "XXXXXX";
  if (dir.path.size() > kPathBytesMax)
    return FailedPrecondition(
        "the temporary folder " + parent + " has a name of " + std::to_string(parent.size()) +
        " bytes, too long for a socket below it; set TMPDIR to a shorter one");
  SweepStale(parent);
  if (mkdtemp(dir.path.data()) == nullptr)
    return FailedPrecondition("no folder can be made in " + parent + " (" + strerror(errno) +
                              "); set TMPDIR to one where that is allowed");
  dir.lock = LockDir(dir.path);
  return dir;
}

}  // namespace

std::string TemporaryFolder() {
  const char* tmpdir = getenv("TMPDIR");
  return tmpdir != nullptr && *tmpdir != '\0' ? tmpdir : "/tmp";
}

Result<SessionDir> SessionDir::Create() {
  SessionDir session;
  OCTET_ASSIGN_OR_RETURN(LockedDir dir, MakeDir(TemporaryFolder()));
  session.path_ = std::move(dir.path);
  session.lock_ = dir.lock;
  if (Result<LockedDir> shared = MakeDir("/dev/shm"); shared.ok()) {
    session.shared_memory_path_ = std::move(shared->path);
    session.shared_memory_lock_ = shared->lock;
  } else {
    session.shared_memory_path_ = session.path_;
  }
  session.StartGuardian();
  return session;
}

// Without a guardian the service runs just as well; the folders are then the next one's to remove.
void SessionDir::StartGuardian() {
  // mpirun and the ranks die with us and first take away what is theirs.
  constexpr const char* kScript =
      "trap '' INT TERM HUP; if read -r line; then exit 0; fi; sleep 2; rm -rf -- \"$1\" \"$2\"";
  int notice[2];
  if (pipe2(notice, O_CLOEXEC) != 0) return;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, notice[0], STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  const char* arguments[] = {
      "sh", "-c", kScript, "octet-guardian", path_.c_str(), shared_memory_path_.c_str(), nullptr};
  pid_t pid = -1;
  if (posix_spawn(&pid, "/bin/sh", &actions, &attributes, const_cast<char**>(arguments), environ) ==
      0) {
    guardian_ = pid;
    guardian_notice_ = notice[1];
  } else {
    close(notice[1]);
  }
  close(notice[0]);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
}

SessionDir::SessionDir(SessionDir&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      shared_memory_path_(std::exchange(other.shared_memory_path_, {})),
      lock_(std::exchange(other.lock_, -1)),
      shared_memory_lock_(std::exchange(other.shared_memory_lock_, -1)),
      guardian_(std::exchange(other.guardian_, -1)),
      guardian_notice_(std::exchange(other.guardian_notice_, -1)) {}

SessionDir::~SessionDir() {
  if (!path_.empty()) RemoveTree(path_);
  if (!shared_memory_path_.empty()) RemoveTree(shared_memory_path_);
  if (lock_ >= 0) close(lock_);
  if (shared_memory_lock_ >= 0) close(shared_memory_lock_);
  if (guardian_ < 0) return;
  [[maybe_unused]] const ssize_t written = write(guardian_notice_, "\n", 1);
  close(guardian_notice_);
  while (waitpid(guardian_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace octet::workers
