// Whose turn it is to encode or decode a text: each takes a core, and memory dozens of times its
// size. Who waits holds a thread of gRPC's, of which other calls need some.
#pragma once

#include <functional>
#include <mutex>
#include <semaphore>
#include <string>

#include "base/status.h"

namespace octet::transport {

class TextTurns {
 public:
  static constexpr int kAtOnceMax = 4;
  static constexpr int kMax = 96;  // those that wait included

  // Waits for a turn, and what `work` returns. ResourceExhausted: too many wait. Any thread.
  Status Do(const std::function<Status()>& work) {
    const std::unique_lock<Places> place(places_, std::try_to_lock);
    if (!place.owns_lock()) {
      return ResourceExhausted(std::to_string(kMax).append(
          " texts are being tokenized or detokenized; try again later"));
    }
    const std::lock_guard<Turns> turn(turns_);
    return work();
  }

 private:
  template <int kCount>
  struct Semaphore {
    std::counting_semaphore<kCount> count{kCount};
    void lock() { count.acquire(); }
    bool try_lock() { return count.try_acquire(); }
    void unlock() { count.release(); }
  };
  using Places = Semaphore<kMax>;
  using Turns = Semaphore<kAtOnceMax>;
  Places places_;
  Turns turns_;
};

}  // namespace octet::transport
