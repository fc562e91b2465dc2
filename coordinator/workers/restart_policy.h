// When a lost worker group is started again: at once, then after longer and longer waits, and not at
// all once that has happened too often. Pure; the caller brings the time.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace octet::workers {

inline constexpr int64_t kRestartsMax = 5;
inline constexpr double kRestartWindowSeconds = 600;
inline constexpr double kRestartDelaySeconds[kRestartsMax] = {0, 1, 2, 4, 4};

class RestartPolicy {
 public:
  // Seconds to wait before the next start, or nothing: kRestartsMax starts in the window before
  // `now_seconds` are enough.
  std::optional<double> NextDelay(double now_seconds) {
    while (!restarts_.empty() && now_seconds - restarts_.front() > kRestartWindowSeconds)
      restarts_.pop_front();
    if (restarts_.size() == kRestartsMax) return std::nullopt;
    restarts_.push_back(now_seconds);
    return kRestartDelaySeconds[restarts_.size() - 1];
  }

 private:
  std::deque<double> restarts_;  // within the window, oldest first
};

}  // namespace octet::workers
