#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/host_limits.h"

namespace octet {
namespace {

// Pauses: 10 us on Zen, where one takes few clocks, more on Intel. Longer than the gap between two
// ops of a layer.
constexpr int kSpins = 4000;

constexpr int64_t kLineBytes = 64;
// Asked for between two pauses: so few that a job that begins is seen about as soon, and that the
// processor drops few of the requests (kernels/attention).
constexpr int64_t kAheadBytes = 16 * kLineBytes;

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The grains of a job that a thread has before it: neighbours. It takes them from the front, and a
// thread that has none left from the back. Both ends are one word, so that none is taken twice.
class alignas(64) GrainRun {
 public:
  void Set(int64_t begin, int64_t end) { ends_.store(Pack(begin, end), std::memory_order_relaxed); }

  // -1 when none is left.
  int64_t TakeFirst() {
    return Take([](int64_t& begin, int64_t&) { return begin++; });
  }
  int64_t TakeLast() {
    return Take([](int64_t&, int64_t& end) { return --end; });
  }

 private:
  static uint64_t Pack(int64_t begin, int64_t end) {
    return static_cast<uint64_t>(end) << 32 | static_cast<uint64_t>(begin);
  }

  template <typename Choose>
  int64_t Take(const Choose& choose) {
    uint64_t ends = ends_.load(std::memory_order_relaxed);
    for (;;) {
      auto begin = static_cast<int64_t>(ends & 0xffffffff);
      auto end = static_cast<int64_t>(ends >> 32);
      if (begin >= end) return -1;
      const int64_t grain = choose(begin, end);
      if (ends_.compare_exchange_weak(ends, Pack(begin, end), std::memory_order_relaxed)) {
        return grain;
      }
    }
  }

  std::atomic<uint64_t> ends_{0};
};

// How far one thread has come with what is expected.
class alignas(64) ReadAhead {
 public:
  void Take(const ExpectedRead& read, int thread, int threads) {
    if (read.data == data_) return;
    data_ = read.data;
    const ExpectedRead::Share share = read.ShareOf(thread, threads);
    at_ = share.begin;
    end_ = share.end;
  }

  // Waits for a moment, of use if there is one. Addresses, as the memory may be gone.
  void PauseOrRead() {
    if (at_ >= end_) return Pause();
    const auto base = reinterpret_cast<uintptr_t>(data_);
    const int64_t end = std::min(end_, at_ + kAheadBytes);
    for (; at_ < end; at_ += kLineBytes) {
      const uintptr_t line = base + static_cast<uintptr_t>(at_);
      __builtin_prefetch(reinterpret_cast<const void*>(line), 0, 2);  // into L2
    }
    Pause();
  }

 private:
  const std::byte* data_ = nullptr;
  int64_t at_ = 0;
  int64_t end_ = 0;
};

}  // namespace

ExpectedRead::Share ExpectedRead::ShareOf(int thread, int threads) const {
  const auto at = [&](int64_t t) { return std::min(bytes, t * items / threads * item_bytes); };
  const int64_t begin = at(thread);
  return {begin, std::min(at(thread + 1), begin + kShareBytesMax)};
}

struct ThreadPool::State {
  int threads = 1;
  bool spin = true;
  std::vector<std::thread> workers;

  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint64_t> generation{0};
  std::atomic<int> sleeping{0};
  std::atomic<bool> stop{false};

  // The job of the current generation.
  Function function = nullptr;
  const void* body = nullptr;
  int64_t count = 0;
  int64_t grain = 1;
  bool on_each = false;
  std::vector<GrainRun> runs;  // [threads]
  std::atomic<int> busy{0};

  ExpectedRead expected;         // changes between jobs alone
  std::vector<ReadAhead> ahead;  // [threads]

  void Work(int thread) {
    if (on_each) {
      function(body, thread, 0);
      return;
    }
    for (int64_t taken; (taken = runs[thread].TakeFirst()) >= 0;) RunGrain(taken);
    for (int other = 1; other < threads; ++other) {
      GrainRun& run = runs[(thread + other) % threads];
      for (int64_t taken; (taken = run.TakeLast()) >= 0;) RunGrain(taken);
    }
  }

  void RunGrain(int64_t index) const {
    const int64_t begin = index * grain;
    function(body, begin, std::min(begin + grain, count));
  }

  void Loop(int thread) {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; spin && i < kSpins; ++i) {
        if (generation.load(std::memory_order_acquire) != seen) break;
        ahead[thread].PauseOrRead();
      }
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        sleeping.fetch_add(1, std::memory_order_seq_cst);
        wake.wait(lock, [&] { return generation.load(std::memory_order_seq_cst) != seen; });
        sleeping.fetch_sub(1, std::memory_order_relaxed);
      }
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      Work(thread);
      ahead[thread].Take(expected, thread, threads);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }

  // The caller's part of a job.
  void RunHere() {
    Work(0);
    ahead[0].Take(expected, 0, threads);
    while (busy.load(std::memory_order_acquire) != 0) {
      spin ? ahead[0].PauseOrRead() : std::this_thread::yield();
    }
  }

  void Start() {
    generation.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping.load(std::memory_order_seq_cst) > 0) {
      std::lock_guard lock(mutex);
      wake.notify_all();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  OCTET_CHECK_GE(threads, 1);
  state_->threads = threads;
  state_->runs = std::vector<GrainRun>(static_cast<size_t>(threads));
  state_->ahead = std::vector<ReadAhead>(static_cast<size_t>(threads));
  state_->spin = threads <= HostCores();
  for (int i = 1; i < threads; ++i) state_->workers.emplace_back([this, i] { state_->Loop(i); });
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->Start();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return state_->threads; }

void ThreadPool::Expect(const ExpectedRead& read) { state_->expected = read; }

void ThreadPool::Run(int64_t count, int64_t grain, Function function, const void* body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (state_->threads == 1 || count <= grain) {
    for (int64_t begin = 0; begin < count; begin += grain) {
      function(body, begin, std::min(begin + grain, count));
    }
    return;
  }
  State& s = *state_;
  s.function = function;
  s.body = body;
  s.count = count;
  s.grain = grain;
  s.on_each = false;
  const int64_t grains = (count + grain - 1) / grain;
  OCTET_CHECK_LT(grains, int64_t{1} << 32);
  for (int t = 0; t < s.threads; ++t) {
    s.runs[t].Set(t * grains / s.threads, (t + 1) * grains / s.threads);
  }
  s.busy.store(s.threads - 1, std::memory_order_relaxed);
  s.Start();
  s.RunHere();
}

void ThreadPool::RunOnEach(Function function, const void* body) {
  State& s = *state_;
  s.function = function;
  s.body = body;
  s.on_each = true;
  s.busy.store(s.threads - 1, std::memory_order_relaxed);
  if (s.threads > 1) s.Start();
  s.RunHere();
}

}  // namespace octet
