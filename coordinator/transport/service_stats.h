// What the service is doing, gathered from its parts, for GetStats.
#pragma once

#include "coordinator/engine/step_loop.h"
#include "coordinator/workers/group_stats.h"

namespace octet::transport {

struct ServiceStats {
  bool serving = false;
  double uptime_seconds = 0;
  int64_t kv_blocks = 0;  // in the pool; 0: no group was ready yet
  engine::LoopStats loop;
  workers::GroupStats group;
};

}  // namespace octet::transport
