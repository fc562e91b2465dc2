#include "comm/wait_word.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>

#include "base/host_limits.h"

namespace octet::comm {
namespace {

using Clock = std::chrono::steady_clock;

// Ranks that have a core each drift apart by ten to a hundred us between collectives, and by
// hundreds where something else takes one's core. One that sleeps is woken late (100 to 200 us in
// the mean on a virtual machine), and the others then wait for it in turn: spins are longer than
// that.
constexpr int kSpinsPerLook = 50;  // at the clock: 0.5 to 2 us
// Yields let a peer run that waits for this very core, so the first comes soon. Each costs a waiter
// that has its core: what it yields to may go on for hundreds of us, so the pauses double.
constexpr std::chrono::microseconds kFirstYield{2};
constexpr std::chrono::microseconds kYieldEvery{32};

// Not the private futex: the waiters may be of other processes.
void SleepWhile(std::atomic<uint32_t>& word, uint32_t seen) {
  const timespec slice = {kWaitSliceMs / 1000, kWaitSliceMs % 1000 * 1000000L};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &slice, nullptr, 0);
}

void WakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

bool HaveCores(int ranks, int threads_per_rank) {
  const int64_t host_cores = CoresOfShare(static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
  return int64_t{ranks} * threads_per_rank <= host_cores && threads_per_rank <= HostCores();
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

// Whether the value came within the policy's spins.
bool WaitWord::Spin(uint32_t value, const WaitPolicy& policy) const {
  if (Reached(value, std::memory_order_acquire)) return true;
  if (policy.spin_us == 0) return false;
  Clock::time_point from = Clock::now();
  const Clock::time_point end = from + std::chrono::microseconds(policy.spin_us);
  std::chrono::microseconds pause = kFirstYield;
  for (;;) {
    for (int spin = 0; spin < kSpinsPerLook; ++spin) {
      Pause();
      if (Reached(value, std::memory_order_acquire)) return true;
    }
    const Clock::time_point now = Clock::now();
    if (now >= end) return false;
    if (now - from < pause) continue;
    std::this_thread::yield();
    from = Clock::now();
    pause = std::min(2 * pause, kYieldEvery);
  }
}

void WaitWord::WaitAtLeast(uint32_t value, const WaitPolicy& policy) {
  if (Spin(value, policy)) return;
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
