#include "coordinator/rpc/runtime.h"

#include <absl/synchronization/mutex.h>

#include <cstdlib>

namespace octet::rpc {

void PrepareRuntime() {
  // What gRPC would say of its insides is said by us, in one sentence.
  setenv("GRPC_VERBOSITY", "NONE", /*replace=*/0);
  // A thread that waits on a queue then waits for the connections of that queue's server alone.
  setenv("GRPC_POLL_STRATEGY", "poll", /*replace=*/0);
  // gRPC locks with absl, whose Debian build looks for deadlocks at every lock.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace octet::rpc
