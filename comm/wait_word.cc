#include "comm/wait_word.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>

namespace octet::comm {
namespace {

// About 200 us. Ranks that have a core each drift apart by ten to a hundred us in a layer. One that
// sleeps costs its waker 5 to 15 us, and wakes late, so that the other waits for it in turn: spins
// are as long as most drifts. Where the peer waits for this very core, the yields let it run.
constexpr int kSpins = 8000;
constexpr int kSpinsPerYield = 50;  // about 1 us

// Not the private futex: the waiters may be of other processes.
void SleepWhile(std::atomic<uint32_t>& word, uint32_t seen) {
  const timespec slice = {kWaitSliceMs / 1000, kWaitSliceMs % 1000 * 1000000L};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &slice, nullptr, 0);
}

void WakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

int SpinsFor(int ranks, int threads_per_rank) {
  const auto host_cores = static_cast<int64_t>(sysconf(_SC_NPROCESSORS_ONLN));
  const auto own_cores = static_cast<int64_t>(std::thread::hardware_concurrency());  // by affinity
  const bool roomy =
      int64_t{ranks} * threads_per_rank <= host_cores && threads_per_rank <= own_cores;
  return roomy ? kSpins : 0;
}

void EndIfStopped(const WaitPolicy& policy) {
  if (policy.stop == nullptr || !policy.stop->load(std::memory_order_relaxed)) return;
  std::fprintf(stderr, "octet: rank %d was told to stop while it waited for other ranks\n",
               policy.rank);
  std::fflush(stderr);
  std::_Exit(kStoppedExitCode);
}

// The store of value_ and the load of sleepers_ here, the add to sleepers_ and the load of value_
// below, are sequentially consistent: either the publisher sees the sleeper or the sleeper sees
// the value.
void WaitWord::Publish(uint32_t value) {
  value_.store(value, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) WakeAll(value_);
}

void WaitWord::WaitAtLeast(uint32_t value, const WaitPolicy& policy) {
  for (int spin = 0; spin <= policy.spins; ++spin) {
    if (Reached(value, std::memory_order_acquire)) return;
    Pause();
    if (spin % kSpinsPerYield == kSpinsPerYield - 1) std::this_thread::yield();
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  for (;;) {
    const uint32_t seen = value_.load(std::memory_order_seq_cst);
    if (static_cast<int32_t>(seen - value) >= 0) break;
    EndIfStopped(policy);
    SleepWhile(value_, seen);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace octet::comm
