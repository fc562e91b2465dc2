// How the ranks are doing, as plain values, for whoever asks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace octet::workers {

// Means are over the heartbeats of about the last kHeartbeatWindowSeconds.
struct RankStats {
  int32_t rank = 0;
  int64_t steps = 0;         // since the rank started
  double step_ms = 0;        // of a step, collectives included; 0: there was none
  double collective_ms = 0;  // of it in collectives, waiting for other ranks included
  double heartbeat_age_seconds = 0;
};

struct GroupStats {
  std::vector<RankStats> ranks;  // by rank; empty while no group serves
  int64_t groups_lost = 0;       // that had served
  std::string last_loss;         // why the last one was lost
};

}  // namespace octet::workers
