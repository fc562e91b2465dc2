// A fixed set of threads for one rank. Work is cut by index, never by timing, so that which thread
// runs an item can not change a bit. Idle threads spin for a moment, then block.
#pragma once

#include <cstdint>
#include <memory>

namespace octet {

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

 private:
  using Function = void (*)(const void* body, int64_t begin, int64_t end);
  void Run(int64_t count, int64_t grain, Function function, const void* body);
  void RunOnEach(Function function, const void* body);

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace octet
