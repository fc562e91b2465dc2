// When a lost worker group is started again: at once, then after longer and longer waits, and not
// at all once that has happened too often or starts have failed for too long. Pure; the caller
// brings the time.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace octet::workers {

inline constexpr double kRestartWindowSeconds = 600;
inline constexpr double kFailedStartsSecondsMax = 120;

class RestartPolicy {
 public:
  // `delays_seconds[i]` is the wait before restart i + 1 of a window; there are no more than those.
  explicit RestartPolicy(std::vector<double> delays_seconds)
      : delays_seconds_(std::move(delays_seconds)) {}

  // Seconds to wait before the next start, or nothing: the window before `now_seconds` has seen
  // enough of them.
  std::optional<double> AfterLoss(double now_seconds) {
    failed_starts_ = 0;
    while (!restarts_.empty() && now_seconds - restarts_.front() > kRestartWindowSeconds)
      restarts_.pop_front();
    if (restarts_.size() >= delays_seconds_.size()) return std::nullopt;
    restarts_.push_back(now_seconds);
    return delays_seconds_[restarts_.size() - 1];
  }

  // The same after a start that failed where a group had worked before: what keeps the next from
  // starting (a network or a disk that is away, a host that boots) may pass. Nothing once starts
  // have failed for kFailedStartsSecondsMax.
  std::optional<double> AfterFailedStart(double now_seconds) {
    if (failed_starts_++ == 0) first_failure_seconds_ = now_seconds;
    if (delays_seconds_.empty()) return std::nullopt;
    if (now_seconds - first_failure_seconds_ > kFailedStartsSecondsMax) return std::nullopt;
    return delays_seconds_[std::min(failed_starts_, delays_seconds_.size()) - 1];
  }

 private:
  std::vector<double> delays_seconds_;
  std::deque<double> restarts_;  // within the window, oldest first
  size_t failed_starts_ = 0;     // since a group was lost that had worked
  double first_failure_seconds_ = 0;
};

}  // namespace octet::workers
