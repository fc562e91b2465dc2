// Rank 0's plans, given to every rank: one broadcast of kPlanMessageBytes, and further ones of at
// most that many bytes only for a plan that does not fit. Ranks that wait here block.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace octet::worker {

class PlanBroadcast {
 public:
  explicit PlanBroadcast(comm::Communicator* comm);

  // Rank 0 gives the plan's bytes, or nothing to end the group; the others pass nothing and receive
  // what rank 0 gave.
  std::optional<std::string> Exchange(std::optional<std::string> plan);

 private:
  comm::Communicator* comm_;
  std::vector<std::byte> message_;
};

}  // namespace octet::worker
