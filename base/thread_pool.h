// A fixed set of threads for one rank. Work is cut by index, never by timing, so that which thread
// runs an item can not change a bit. Idle threads spin for a moment, then block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace octet {

// What a job to come is going to read: items that follow each other in memory.
struct ExpectedRead {
  const std::byte* data = nullptr;
  int64_t bytes = 0;
  int64_t items = 0;
  int64_t item_bytes = 0;  // the last item may be shorter

  struct Share {
    int64_t begin = 0;  // bytes from `data`
    int64_t end = 0;
  };
  // What a thread reads first of the items that it will be dealt: half of a small L2 cache.
  static constexpr int64_t kShareBytesMax = int64_t{256} << 10;
  Share ShareOf(int thread, int threads) const;
};

class ThreadPool {
 public:
  // `threads` counts the caller, so 1 starts no thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls body(begin, end) with disjoint ranges that cover [0, count), each at most `grain` long,
  // from the caller and the pool's threads, and returns when all are done. Each thread takes items
  // that follow each other, which reads memory as one stream, until it has to help another, from
  // that one's far end. Body must not throw, allocate or call ParallelFor.
  // REQUIRES: one caller at a time; count / grain below 2^32.
  template <typename Body>
  void ParallelFor(int64_t count, int64_t grain, const Body& body) {
    Run(
        count, grain,
        [](const void* b, int64_t begin, int64_t end) {
          (*static_cast<const Body*>(b))(begin, end);
        },
        &body);
  }

  // Calls body(thread) once on every thread, 0 being the caller.
  template <typename Body>
  void OnEachThread(const Body& body) {
    RunOnEach([](const void* b, int64_t thread,
                 int64_t) { (*static_cast<const Body*>(b))(static_cast<int>(thread)); },
              &body);
  }

  // From now on a thread that has nothing to do, between jobs or at the end of one, asks for its
  // share of `read` to come to its cache, once. A hint: no result depends on it, and memory that is
  // not read after all, or no longer there, does no harm. Not while a job runs.
  void Expect(const ExpectedRead& read);

 private:
  using Function = void (*)(const void* body, int64_t begin, int64_t end);
  void Run(int64_t count, int64_t grain, Function function, const void* body);
  void RunOnEach(Function function, const void* body);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace octet
