// A rank's life after its start: plans in, results out, until there are no more.
#pragma once

#include "comm/communicator.h"
#include "comm/group_watch.h"
#include "comm/timed.h"
#include "worker/engine/engine.h"
#include "worker/link/coordinator_link.h"

namespace octet::worker {

struct StepParties {
  Engine& engine;
  comm::Communicator& control;           // carries plans between hosts' processes
  const comm::TimedCommunicator& timed;  // that the engine computes with
  CoordinatorLink& link;
  comm::GroupWatch* watch;  // knows when work is under way; null where nothing watches
};

// Rank 0 takes plans from the link and every rank gets their bytes. On a device a step is launched
// while the one before is computed, where its plan is there by then; results are told in the order
// of the plans. All ranks do the same in the same order: where rank 0 has no plan in time, it says
// so.
void RunSteps(const StepParties& parties);

}  // namespace octet::worker
