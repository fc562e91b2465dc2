// Where the time goes between the loss of a worker group and the first step of the next that works.
// Pure; its owner brings the lock and the time. Groups that are lost on the way there count as time
// of the same outage.
#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include "coordinator/workers/group_stats.h"

namespace octet::workers {

class RecoveryClock {
 public:
  void Lost(double now) {
    if (!lost_.has_value()) lost_ = now;
  }
  void Ended(double now) { ended_ = now; }
  void Launched(double now) {
    launched_ = now;
    hello_.reset();
    ready_ = now;
  }
  void Hello(double now) {  // the first time after a launch counts
    if (!hello_.has_value()) hello_ = now;
  }
  void Ready(double now) { ready_ = now; }
  // Of the outage that ends with this result; nothing when there was none.
  std::optional<RecoveryTimes> Result(double now) {
    if (!lost_.has_value()) return std::nullopt;
    RecoveryTimes times;
    const double hello = hello_.value_or(ready_);
    times.total_seconds = now - *lost_;
    times.end_seconds = ended_ - *lost_;
    times.wait_seconds = launched_ - ended_;
    times.hello_seconds = hello - launched_;
    times.load_seconds = ready_ - hello;
    times.first_step_seconds = now - ready_;
    lost_.reset();
    return times;
  }

 private:
  std::optional<double> lost_;
  double ended_ = 0;  // nothing of the lost group was left
  double launched_ = 0;
  std::optional<double> hello_;  // of every rank
  double ready_ = 0;
};

inline std::string Describe(const RecoveryTimes& times) {
  char text[200];
  std::snprintf(text, sizeof(text),
                "%.2f s: the lost group took %.2f s to end, then %.2f s of waiting, %.2f s to "
                "start, %.2f s to load, %.2f s for a step",
                times.total_seconds, times.end_seconds, times.wait_seconds, times.hello_seconds,
                times.load_seconds, times.first_step_seconds);
  return text;
}

}  // namespace octet::workers
