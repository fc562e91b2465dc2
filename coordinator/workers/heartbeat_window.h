// The heartbeats of one rank over the last seconds: what it did in that time. Pure state; its owner
// brings the lock and the time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

#include "coordinator/workers/group_stats.h"

namespace octet::workers {

inline constexpr double kHeartbeatWindowSeconds = 10;
inline constexpr size_t kHeartbeatsKeptMax = 64;  // two in a second are usual

class HeartbeatWindow {
 public:
  // Sums since the rank started. One that runs backwards begins the window anew.
  // `slowest_us` is of the time since the last heartbeat.
  void Add(double now_seconds, uint64_t steps, uint64_t step_us, uint64_t collective_us,
           uint64_t slowest_us = 0) {
    const Beat beat{now_seconds, steps, step_us, collective_us, slowest_us};
    if (!beats_.empty() && !beat.Follows(beats_.back())) beats_.clear();
    beats_.push_back(beat);
    // The oldest one kept is the last before the window, so that the window is whole.
    while (beats_.size() > kHeartbeatsKeptMax ||
           (beats_.size() > 2 && now_seconds - beats_[1].seconds >= kHeartbeatWindowSeconds))
      beats_.pop_front();
  }

  RankStats Stats(int32_t rank) const {
    RankStats stats;
    stats.rank = rank;
    if (beats_.empty()) return stats;
    const Beat& first = beats_.front();
    const Beat& last = beats_.back();
    stats.steps = static_cast<int64_t>(last.steps);
    for (const Beat& beat : beats_)
      stats.slowest_step_ms =
          std::max(stats.slowest_step_ms, static_cast<double>(beat.slowest_us) / 1000);
    const auto steps = static_cast<double>(last.steps - first.steps);
    if (steps == 0) return stats;
    stats.step_ms = static_cast<double>(last.step_us - first.step_us) / steps / 1000;
    stats.collective_ms =
        static_cast<double>(last.collective_us - first.collective_us) / steps / 1000;
    return stats;
  }

 private:
  struct Beat {
    double seconds = 0;
    uint64_t steps = 0;
    uint64_t step_us = 0;
    uint64_t collective_us = 0;
    uint64_t slowest_us = 0;
    bool Follows(const Beat& other) const {
      return steps >= other.steps && step_us >= other.step_us &&
             collective_us >= other.collective_us;
    }
  };
  std::deque<Beat> beats_;
};

}  // namespace octet::workers
