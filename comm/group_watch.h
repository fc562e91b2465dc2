// Ends this process when the ranks it computes with can not answer any more: collectives on a
// device wait for ever for a rank that died or hangs, and nothing inside them can tell.
//
// A thread of its own looks every few milliseconds: at what the probe says (an error that NCCL met
// in the background) and, while work is under way, at the stop flag, the peers' processes and the
// deadline. On trouble it prints one sentence, aborts what it was given to abort and ends the
// process with kStoppedExitCode. It asks nothing of a device, so that it can not disturb a capture:
// that work has come back is told by the thread that waited for it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/timed.h"
#include "comm/wait_word.h"

namespace octet::comm {

// How often the thread looks: a dead peer ends this process well within a second.
inline constexpr std::chrono::milliseconds kWatchPeriod{50};
// What an abort may take; it is meant to free the device quickly, and may itself hang.
inline constexpr std::chrono::milliseconds kAbortMax{300};

struct GroupWatchOptions {
  int rank = 0;  // named in the last words
  // The longest that work may be under way without any of it ending; 0: for ever.
  std::chrono::milliseconds deadline{0};
  const std::atomic<bool>* stop = nullptr;
  int64_t (*clock)() = SteadyNanoseconds;  // what the deadline is measured by
};

// Another rank, as a process of this host.
struct PeerProcess {
  int rank = 0;
  int pid = 0;
};

class GroupWatch {
 public:
  // Both are called from the watch's threads. `trouble` returns a sentence, or nothing while all is
  // well; `abort` stops what runs on the device.
  struct Probe {
    std::function<std::string()> trouble;
    std::function<void()> abort;
  };

  explicit GroupWatch(const GroupWatchOptions& options);
  ~GroupWatch();
  GroupWatch(const GroupWatch&) = delete;
  GroupWatch& operator=(const GroupWatch&) = delete;

  // Replaces the probe; an empty one stops the looking. When it returns, the old one is not in use.
  void SetProbe(Probe probe);
  // Watches the processes that can be watched: peers in another table of processes can not.
  void SetPeers(const std::vector<PeerProcess>& peers);

  // Work that needs other ranks, from before it is handed out until it has come back: a step, the
  // forming of a group. Any thread; several may be under way.
  class Work {
   public:
    explicit Work(GroupWatch* watch) : watch_(watch) { watch_->Begin(); }
    ~Work() { watch_->End(); }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

   private:
    GroupWatch* watch_;
  };
  void Begin();
  void End();

  // Prints `sentence`, aborts and ends the process. The first caller's sentence is printed.
  [[noreturn]] void Fail(const std::string& sentence);

 private:
  struct WatchedPeer {
    PeerProcess peer;
    int fd;  // readable when the process has ended
  };

  void Run();
  std::string Trouble();
  std::string LostPeer();
  bool Late() const;
  void ClosePeers();

  GroupWatchOptions options_;
  std::atomic<int> under_way_{0};
  std::atomic<int64_t> moved_ns_{0};  // when work last began from nothing or ended
  std::atomic<bool> failing_{false};

  std::mutex mutex_;  // of all below
  std::condition_variable closing_;
  bool closed_ = false;
  Probe probe_;
  std::vector<WatchedPeer> peers_;
  std::thread thread_;
};

}  // namespace octet::comm
