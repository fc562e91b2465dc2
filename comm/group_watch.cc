#include "comm/group_watch.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/check.h"

namespace octet::comm {
namespace {

int OpenProcess(int pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

// A negative one is of a process that was gone before it could be opened.
bool HasEnded(int process_fd) {
  if (process_fd < 0) return true;
  pollfd asked = {.fd = process_fd, .events = POLLIN, .revents = 0};
  return poll(&asked, 1, 0) == 1;
}

// Runs `abort` for a bounded time: the process ends after it whatever becomes of it.
void AbortFor(std::chrono::milliseconds time, const std::function<void()>& abort) {
  struct Done {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  const auto state = std::make_shared<Done>();
  std::thread([state, abort] {
    abort();
    const std::lock_guard lock(state->mutex);
    state->done = true;
    state->changed.notify_one();
  }).detach();
  std::unique_lock lock(state->mutex);
  state->changed.wait_for(lock, time, [&] { return state->done; });
}

}  // namespace

GroupWatch::GroupWatch(const GroupWatchOptions& options)
    : options_(options), thread_([this] { Run(); }) {}

GroupWatch::~GroupWatch() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  closing_.notify_one();
  thread_.join();
  ClosePeers();
}

void GroupWatch::SetProbe(Probe probe) {
  const std::lock_guard lock(mutex_);
  probe_ = std::move(probe);
}

void GroupWatch::SetPeers(const std::vector<PeerProcess>& peers) {
  const std::lock_guard lock(mutex_);
  ClosePeers();
  for (const PeerProcess& peer : peers) {
    const int fd = OpenProcess(peer.pid);
    if (fd >= 0 || errno == ESRCH) peers_.push_back({peer, fd});
  }
}

void GroupWatch::ClosePeers() {
  for (const WatchedPeer& watched : peers_) {
    if (watched.fd >= 0) close(watched.fd);
  }
  peers_.clear();
}

void GroupWatch::Begin() {
  if (under_way_.load() == 0) moved_ns_.store(options_.clock());
  under_way_.fetch_add(1);
}

void GroupWatch::End() {
  moved_ns_.store(options_.clock());
  OCTET_CHECK_GE(under_way_.fetch_sub(1), 1);
}

bool GroupWatch::Late() const {
  if (options_.deadline.count() == 0) return false;
  return options_.clock() - moved_ns_.load() > std::chrono::nanoseconds(options_.deadline).count();
}

std::string GroupWatch::LostPeer() {
  for (const WatchedPeer& watched : peers_) {
    if (!HasEnded(watched.fd)) continue;
    return "rank " + std::to_string(watched.peer.rank) + " (process " +
           std::to_string(watched.peer.pid) + ") ended while this rank computed with it";
  }
  return "";
}

std::string GroupWatch::Trouble() {
  if (probe_.trouble != nullptr) {
    if (std::string trouble = probe_.trouble(); !trouble.empty()) return trouble;
  }
  if (under_way_.load() == 0) return "";
  if (options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed)) {
    return "was told to stop while it computed with other ranks";
  }
  if (std::string lost = LostPeer(); !lost.empty()) return lost;
  if (!Late()) return "";
  return "nothing came back from the ranks for " + std::to_string(options_.deadline.count()) +
         " ms: one of them hangs or is lost";
}

void GroupWatch::Run() {
  std::unique_lock lock(mutex_);
  while (!closed_) {
    const std::string trouble = Trouble();
    if (!trouble.empty()) {
      lock.unlock();
      Fail(trouble);
    }
    closing_.wait_for(lock, kWatchPeriod, [&] { return closed_; });
  }
}

void GroupWatch::Fail(const std::string& sentence) {
  if (failing_.exchange(true)) {
    for (;;) std::this_thread::sleep_for(kAbortMax);  // the first to fail ends the process
  }
  std::fprintf(stderr, "octet: rank %d: %s\n", options_.rank, sentence.c_str());
  std::fflush(stderr);
  const std::lock_guard lock(mutex_);  // for good: what is aborted may not be destroyed as well
  if (probe_.abort != nullptr) AbortFor(kAbortMax, probe_.abort);
  std::_Exit(kStoppedExitCode);
}

}  // namespace octet::comm
