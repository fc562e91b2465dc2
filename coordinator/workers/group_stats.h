// How the ranks are doing, as plain values, for whoever asks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace octet::workers {

// Means are over the heartbeats of about the last kHeartbeatWindowSeconds.
struct RankStats {
  int32_t rank = 0;
  int64_t steps = 0;           // since the rank started
  double step_ms = 0;          // of a step, collectives included; 0: there was none
  double collective_ms = 0;    // of it in collectives, waiting for other ranks included
  double sampling_ms = 0;      // of it in drawing tokens, on a CPU
  double slowest_step_ms = 0;  // the longest that one took outside of collectives
  double heartbeat_age_seconds = 0;
  double loaded = 0;  // of the weights, 0 to 1
};

// How long the last loss kept the service from serving, and where the time went.
struct RecoveryTimes {
  double total_seconds = 0;       // from the loss being noticed to the first step of another group
  double end_seconds = 0;         // until nothing of the lost group was left
  double wait_seconds = 0;        // before the next start, see RestartPolicy
  double hello_seconds = 0;       // from launch until every rank had said hello
  double load_seconds = 0;        // until every rank was ready
  double first_step_seconds = 0;  // until the first result
};

struct GroupStats {
  std::vector<RankStats> ranks;  // by rank; those that have said hello and live
  int64_t groups_lost = 0;       // that had served
  std::string last_loss;         // why the last one was lost
  std::optional<RecoveryTimes> last_recovery;
};

}  // namespace octet::workers
