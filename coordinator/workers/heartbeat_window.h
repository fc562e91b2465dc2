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

// Sums since the rank started.
struct RankSums {
  uint64_t steps = 0;
  uint64_t step_us = 0;
  uint64_t collective_us = 0;
  uint64_t sampling_us = 0;
};

class HeartbeatWindow {
 public:
  // Sums that run backwards begin the window anew. `slowest_us` is of the time since the last
  // heartbeat.
  void Add(double now_seconds, const RankSums& sums, uint64_t slowest_us = 0) {
    const Beat beat{now_seconds, sums, slowest_us};
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
    const RankSums& first = beats_.front().sums;
    const RankSums& last = beats_.back().sums;
    stats.steps = static_cast<int64_t>(last.steps);
    for (const Beat& beat : beats_)
      stats.slowest_step_ms =
          std::max(stats.slowest_step_ms, static_cast<double>(beat.slowest_us) / 1000);
    const auto steps = static_cast<double>(last.steps - first.steps);
    if (steps == 0) return stats;
    const auto mean_ms = [steps](uint64_t from_us, uint64_t to_us) {
      return static_cast<double>(to_us - from_us) / steps / 1000;
    };
    stats.step_ms = mean_ms(first.step_us, last.step_us);
    stats.collective_ms = mean_ms(first.collective_us, last.collective_us);
    stats.sampling_ms = mean_ms(first.sampling_us, last.sampling_us);
    return stats;
  }

 private:
  struct Beat {
    double seconds = 0;
    RankSums sums;
    uint64_t slowest_us = 0;
    bool Follows(const Beat& other) const {
      return sums.steps >= other.sums.steps && sums.step_us >= other.sums.step_us &&
             sums.collective_us >= other.sums.collective_us &&
             sums.sampling_us >= other.sums.sampling_us;
    }
  };
  std::deque<Beat> beats_;
};

}  // namespace octet::workers
