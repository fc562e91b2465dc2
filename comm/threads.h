// Ranks that are threads of one process: for tests, debugging and `octet` in one process. The group
// owns the shared region; each rank's thread uses its own communicator. Threads are the caller's.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace octet::comm {

class ThreadGroup {
 public:
  // `stop` may be null; set, it ends the process from inside a wait (see wait_word.h).
  ThreadGroup(int ranks, const CommunicatorLimits& limits, const std::atomic<bool>* stop = nullptr);

  int size() const { return static_cast<int>(communicators_.size()); }
  // Lives as long as the group. Any thread may take it, one thread uses it.
  Communicator& communicator(int rank) const { return *communicators_[rank]; }

 private:
  std::vector<std::unique_ptr<Communicator>> communicators_;
};

}  // namespace octet::comm
