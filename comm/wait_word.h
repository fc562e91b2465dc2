// A rising counter that ranks wait on, in memory that threads or processes share. Waiting spins for
// a moment where the policy allows, then sleeps in the kernel (a shared futex), so that ranks which
// outnumber the cores leave them to those that have work.
//
// The dead do not publish: a wait wakes up every kWaitSliceMs and looks at the policy's stop flag.
// Set, it ends the process at once (kStoppedExitCode), because the ranks it waits for can not be
// told. With no flag a wait ends only when the job's launcher kills the process.
#pragma once

#include <atomic>
#include <cstdint>

namespace octet::comm {

inline constexpr int kWaitSliceMs = 100;
inline constexpr int kStoppedExitCode = 3;

struct WaitPolicy {
  int rank = 0;     // named in the last words
  int spin_us = 0;  // before it sleeps
  const std::atomic<bool>* stop = nullptr;
};

// Where every rank has its cores. An idle rank spins so long once, then sleeps, for hours maybe.
inline constexpr int kSpinUs = 2000;

// Whether `ranks` on this host, each with `threads_per_rank` threads, have a core for each.
bool HaveCores(int ranks, int threads_per_rank);

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Ends the process if the flag is set.
void EndIfStopped(const WaitPolicy& policy);

class alignas(64) WaitWord {
 public:
  // Everything written before is seen by those who waited for `value`.
  // REQUIRES: one publisher at a time, in rising order (modulo 2^32).
  void Publish(uint32_t value);

  // Returns when a value of at least `value` was published.
  void WaitAtLeast(uint32_t value, const WaitPolicy& policy);

 private:
  bool Reached(uint32_t value, std::memory_order order) const {
    return static_cast<int32_t>(value_.load(order) - value) >= 0;
  }

  bool Spin(uint32_t value, const WaitPolicy& policy) const;

  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
};
static_assert(std::atomic<uint32_t>::is_always_lock_free);

}  // namespace octet::comm
