// Fills and packs one linear piece on all threads of a pool. A task is the rows of one packed
// panel, so that no two threads write to a cache line at a time. Owns one task's rows per thread;
// who fills them is the caller's business.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "kernels/linear/linear.h"
#include "worker/weights/weight_assembly.h"

namespace octet::worker {

// The failure of the lowest row, whichever thread met one first.
class FirstFailure {
 public:
  void Report(int64_t row, Status status);
  const Status& status() const { return status_; }  // once the threads are done

 private:
  std::mutex mutex_;
  int64_t row_ = -1;
  Status status_;
};

class PiecePacker {
 public:
  explicit PiecePacker(ThreadPool& pool) : pool_(pool), rows_of_thread_(pool.threads()) {}

  // Fills rows [row_begin, row_end) of the piece's tensor, which have room in `rows`, on `thread`.
  // Thread 0 is the caller of Pack.
  using Fill = std::function<Status(int thread, int64_t row_begin, int64_t row_end,
                                    kernels::NeutralRows* rows)>;

  // Returns the failure of the lowest row, the same at any number of threads.
  Status Pack(const LinearPiece& piece, const kernels::LinearShape& shape, const Fill& fill);

 private:
  ThreadPool& pool_;
  std::vector<kernels::NeutralRows> rows_of_thread_;
};

}  // namespace octet::worker
