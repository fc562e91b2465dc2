// The private folder of one running service: the link's socket and what mpirun keeps for itself,
// and a second one in shared memory for the segments of the ranks. Both are gone when the object
// is.
//
// A service that is killed leaves the work to its guardian, a shell that sleeps until then. Where
// that was killed too, the next service that starts removes what it finds: a folder whose lock
// nobody holds has no owner.
#pragma once

#include <string>

#include "base/status.h"

namespace octet::workers {

// Where sessions are made: $TMPDIR, or /tmp.
std::string TemporaryFolder();

class SessionDir {
 public:
  // Under TemporaryFolder(); mode 0700. The path stays below 100 bytes, for a socket's name has
  // 108.
  static Result<SessionDir> Create();
  SessionDir(SessionDir&& other) noexcept;
  SessionDir& operator=(SessionDir&&) = delete;
  ~SessionDir();

  const std::string& path() const { return path_; }
  const std::string& shared_memory_path() const { return shared_memory_path_; }

 private:
  SessionDir() = default;
  void StartGuardian();

  std::string path_;
  std::string shared_memory_path_;
  int lock_ = -1;  // of path_
  int shared_memory_lock_ = -1;
  int guardian_ = -1;         // its process
  int guardian_notice_ = -1;  // a pipe to it: a line says all is well, its end that we were killed
};

}  // namespace octet::workers
