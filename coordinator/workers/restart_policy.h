// When a lost worker group is started again: at once, then after longer and longer waits, and not
// at all once that has happened too often. Pure; the caller brings the time.
#pragma once

#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace octet::workers {

inline constexpr double kRestartWindowSeconds = 600;

class RestartPolicy {
 public:
  // `delays_seconds[i]` is the wait before restart i + 1 of a window; there are no more than those.
  explicit RestartPolicy(std::vector<double> delays_seconds)
      : delays_seconds_(std::move(delays_seconds)) {}

  // Seconds to wait before the next start, or nothing: the window before `now_seconds` has seen
  // enough of them.
  std::optional<double> NextDelay(double now_seconds) {
    while (!restarts_.empty() && now_seconds - restarts_.front() > kRestartWindowSeconds)
      restarts_.pop_front();
    if (restarts_.size() >= delays_seconds_.size()) return std::nullopt;
    restarts_.push_back(now_seconds);
    return delays_seconds_[restarts_.size() - 1];
  }

 private:
  std::vector<double> delays_seconds_;
  std::deque<double> restarts_;  // within the window, oldest first
};

}  // namespace octet::workers
