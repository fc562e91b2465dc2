// A rank's control connection to the coordinator, open as long as the process runs: hello first,
// heartbeats from a thread of its own, ready when it can compute, and on rank 0 plans down and
// results up. When the coordinator goes away without saying Shutdown, the process ends: a worker
// never outlives its coordinator.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "octet/v1/worker_link.pb.h"

namespace octet::worker {

inline constexpr int kHeartbeatMs = 500;
inline constexpr int kConnectTimeoutSeconds = 20;

class CoordinatorLink {
 public:
  // Connects to `address` ("unix:/path" or "host:port"), says hello and waits for the welcome.
  static Result<std::unique_ptr<CoordinatorLink>> Connect(const std::string& address,
                                                          const v1::Hello& hello);
  ~CoordinatorLink();

  void TellLoaded(double fraction);  // of the weights
  // What TimedCommunicator counts up; together with what was loaded the progress that is told.
  std::atomic<uint64_t>* collectives();
  void SayReady(const v1::Ready& ready);
  // The rank can not start. It has time to end by itself.
  void SayFailure(const Status& failure);

  // Rank 0: the next plan's bytes; nothing after Shutdown. Blocks.
  std::optional<std::string> NextPlan();
  // The same, but nothing if none comes in so long.
  std::optional<std::string> NextPlanWithin(std::chrono::microseconds wait_max);
  void SendResult(v1::StepResult result);
  // After each step, for the heartbeat: the step's time is added, the others are sums since the
  // start.
  void CountStep(int64_t step_us, int64_t collective_us, int64_t sampling_us);

 private:
  struct State;
  explicit CoordinatorLink(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace octet::worker
