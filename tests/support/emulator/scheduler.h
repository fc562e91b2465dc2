// Who runs next. One launch at a time in the whole process, on the OS thread that launched it; its
// threads are fibers that run until they wait or give way. Seed 0 runs them in order; any other
// seed orders warps, lanes, blocks and deliveries at random, the same way each time.
#pragma once

#include <memory>
#include <vector>

#include "tests/support/emulator/block.h"
#include "tests/support/emulator/past.h"

namespace octet::emulator {

// A generator that costs next to nothing (SplitMix64).
class SplitMix {
 public:
  using result_type = uint64_t;
  explicit SplitMix(uint64_t seed) : state_(seed) {}
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~uint64_t{0}; }
  uint64_t operator()() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }

 private:
  uint64_t state_;
};

class Scheduler {
 public:
  // `past`: the launches whose end no thread of an early one knows at first.
  Scheduler(const KernelCall& kernel, const LaunchShape& shape, uint64_t seed, LaunchId id,
            const Chain& past);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  void Run();

  const LaunchShape& shape() const { return shape_; }
  const KernelCall& kernel() const { return kernel_; }
  LaunchId id() const { return id_; }
  const Chain& past() const { return past_; }
  Time now() const { return now_; }
  Time NextTime() { return ++now_; }
  // Something another block may wait for has happened.
  void Progress() {
    ++progress_;
    idle_polls_ = 0;
  }
  int64_t progress() const { return progress_; }

  // On the current thread. Others run; returns when the thread was woken.
  void Sleep(const char* what, const Place& place);
  // Others may run first; returns when it is this thread's turn again.
  void MaybeGiveWay();
  void Poll(const Place& place);
  void Wake(Thread& thread);
  [[noreturn]] void EndThread();
  std::string Waiting() const;  // who waits where, a line each

 private:
  Thread* PickNext();
  Warp* ChooseWarp();
  Thread* ChooseLane(Warp& warp);
  bool StartCluster();
  bool WakePollers(bool only_after_progress);
  bool DeliverOne();
  void ReleaseFinished();
  void SwitchTo(Thread* next, bool from_ends);
  bool random() const { return seed_ != 0; }
  bool OneIn(uint32_t n) { return random() && Random() % n == 0; }
  uint32_t Random() { return static_cast<uint32_t>(generator_() >> 32); }

  const KernelCall& kernel_;
  LaunchShape shape_;
  uint64_t seed_;
  const LaunchId id_;
  const Chain& past_;
  SplitMix generator_;
  std::vector<std::unique_ptr<Block>> blocks_;  // resident
  std::vector<uint32_t> order_;                 // of clusters
  size_t next_cluster_ = 0;
  Fiber main_;
  Warp* current_warp_ = nullptr;
  Time now_;
  int64_t progress_ = 0;
  int64_t idle_polls_ = 0;
};

// Of the OS thread; null outside a kernel.
extern constinit thread_local Thread* current_thread;
extern constinit thread_local Scheduler* current_scheduler;

// The running thread, which must be one.
Thread& Self(const Place& place);

// Meets the lanes of `mask`. The last to come calls compute(warp, mask); then all go on. With
// `orders`, what each did before is known to all.
using Meeting = void (*)(Warp& warp, uint32_t mask, const Place& place);
void Meet(const char* what, uint32_t mask, void* arguments, Meeting compute, bool orders,
          const Place& place);
// The same for the 128 threads of a warpgroup.
using GroupMeeting = void (*)(Block& block, int warpgroup, const Place& place);
void MeetWarpgroup(const char* what, void* arguments, GroupMeeting compute, const Place& place);

// Memory of a running thread. Fails when [address, bytes) is not device memory the thread may
// touch so.
void CheckGlobalBytes(const void* address, int64_t bytes, AccessKind kind, const char* what,
                      const Place& place);
// The same, of an access that must be aligned to its size, or 16.
void CheckGlobal(const void* address, int64_t bytes, AccessKind kind, const char* what,
                 const Place& place);
// The offset in the arena. Fails when it is not in a part that was taken.
uint32_t CheckShared(const void* address, int64_t bytes, int64_t alignment, const char* what,
                     const Place& place);
void DeliverBulkCopy(Block& block, const BulkCopy& copy);
// Records an access, by the running thread or in the name of another. Fails when it is a race.
void TouchShared(uint32_t offset, int64_t bytes, AccessKind kind, const Place& place);
void TouchSharedAs(const Thread& thread, uint32_t offset, int64_t bytes, AccessKind kind,
                   const Place& place);

}  // namespace octet::emulator
