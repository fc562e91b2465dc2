// Whose turn it is to encode or decode a text: each takes a core, and memory dozens of times its
// size. Who waits holds a thread of gRPC's, of which other calls need some.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "base/status.h"

namespace octet::transport {

class TextTurns {
 public:
  static constexpr int kAtOnceMax = 4;
  static constexpr int kMax = 96;  // those that wait included

  // Waits for a turn, and what `work` returns. ResourceExhausted: too many wait. Any thread.
  Status Do(const std::function<Status()>& work) {
    {
      std::unique_lock lock(mutex_);
      if (inside_ == kMax) {
        return ResourceExhausted(std::to_string(kMax).append(
            " texts are being tokenized or detokenized; try again later"));
      }
      ++inside_;
      turn_.wait(lock, [this] { return working_ < kAtOnceMax; });
      ++working_;
    }
    struct End {
      TextTurns* turns;
      ~End() {
        const std::lock_guard lock(turns->mutex_);
        --turns->inside_;
        --turns->working_;
        turns->turn_.notify_one();
      }
    } const end{this};
    return work();
  }

 private:
  std::mutex mutex_;
  std::condition_variable turn_;
  int inside_ = 0;
  int working_ = 0;
};

}  // namespace octet::transport
