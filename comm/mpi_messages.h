// The collectives of ranks that do not share memory: MPI messages carry the bytes, the ordered sum
// is ours. Waits poll MPI with growing sleeps of at most a millisecond, since MPI's own waits spin:
// an idle rank costs about one percent of a core. MPI may allocate inside a call.
#pragma once

#include <atomic>
#include <memory>

#include "comm/communicator.h"

namespace octet::comm {

// All ranks of the job call it together, and destroy it together.
std::unique_ptr<Communicator> MakeMessageCommunicator(const CommunicatorLimits& limits,
                                                      const std::atomic<bool>* stop);

}  // namespace octet::comm
