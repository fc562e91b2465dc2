// Keeps a worker group alive: launches it, waits until it is ready, notices when it dies or stalls,
// clears it away and starts another, until that is hopeless or the service ends. Owns the session
// folder, the link and the launcher's process. Knows nothing of requests and of what plans say.
//
// One thread of its own does everything that takes time; messages arrive on gRPC's threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "coordinator/schedule/step_plan.h"
#include "coordinator/workers/group.h"
#include "coordinator/workers/group_info.h"
#include "coordinator/workers/group_stats.h"
#include "coordinator/workers/launch_command.h"
#include "coordinator/workers/link_server.h"
#include "coordinator/workers/process.h"
#include "coordinator/workers/recovery_clock.h"
#include "coordinator/workers/restart_policy.h"
#include "coordinator/workers/session_dir.h"

namespace octet::workers {

// Launches nothing: the group is started by someone else and dials in with epoch 0.
inline constexpr const char* kLauncherExternal = "external";

struct SupervisorOptions {
  LaunchOptions launch;
  // Where ranks dial in. Empty: a socket in the session folder.
  std::string link_address;
  // What external ranks must know. Empty: a new one for every launch.
  std::string secret;
  GroupDeadlines deadlines;
  std::vector<double> restart_delays_seconds;  // see RestartPolicy
  double stop_seconds_max = 10;                // from Shutdown until SIGTERM
  double kill_seconds_max = 5;                 // from SIGTERM until SIGKILL
};

// Called from the supervisor's thread, OnStepResult from gRPC's. Must not block.

class GroupListener {
 public:
  virtual void OnGroupReady(uint64_t epoch, const GroupInfo& info) = 0;
  // Called in order. Results of a lost group may still come, with its epoch.
  virtual void OnStepResult(uint64_t epoch, const v1::StepResult& result) = 0;
  // Only after OnGroupReady with this epoch. Either another follows, or OnGiveUp.
  virtual void OnGroupLost(uint64_t epoch, const Status& cause) = 0;
  // Between ready and loss, when it changes: ranks are silent or a step does not get on, and the
  // group is not given up yet; or all is well again. It begins as well.
  virtual void OnGroupResponsive(uint64_t epoch, bool responsive) = 0;
  // There will be no other group. The last call.
  virtual void OnGiveUp(const GroupLoss& loss) = 0;

 protected:
  ~GroupListener() = default;
};

class Supervisor final : private LinkListener {
 public:
  // Makes the session folder and opens the link.
  static Result<std::unique_ptr<Supervisor>> Open(SupervisorOptions options,
                                                  GroupListener* listener);
  ~Supervisor();  // Stop()

  // Starts the first group; returns before it is ready. Once.
  void Launch();

  // Both drop what is not for the present group. Any thread.
  void SendPlan(uint64_t epoch, const schedule::StepPlan& plan);
  void Condemn(uint64_t epoch, const Status& why);

  // Ends the group, orderly unless `Hurry` was called, and returns when it is gone. Listeners hear
  // nothing of it. REQUIRES: not the supervisor's own thread.
  void Stop();
  // A Stop, present or to come, takes little time. Any thread.
  void Hurry();

  GroupStats stats() const;  // any thread
  const std::string& link_address() const { return link_address_; }

 private:
  Supervisor(SupervisorOptions options, GroupListener* listener, SessionDir session);
  void OnMessage(uint64_t stream, const v1::RankMessage& message) override;
  void OnStreamEnd(uint64_t stream) override;

  bool launches() const { return options_.launch.launcher != kLauncherExternal; }
  void Run(LaunchIdentity identity);
  // From now on ranks may say hello to the group `epoch`.
  LaunchIdentity OpenGroup(uint64_t epoch);
  std::optional<double> NextDelay(const GroupLoss& loss);
  // From launch to the end of one group; the loss, or nothing when stopping.
  std::optional<GroupLoss> RunGroup(uint64_t epoch, const LaunchIdentity& identity);
  bool WatchGroup(uint64_t epoch, std::unique_lock<std::mutex>& lock);
  bool AnnounceReady(uint64_t epoch, std::unique_lock<std::mutex>& lock);
  void StopGroup(Process* process, std::unique_lock<std::mutex>& lock);
  std::string AwaitLauncher(Process* process, std::unique_lock<std::mutex>& lock);
  void ClearGroup(Process* process, std::unique_lock<std::mutex>& lock);
  // Both release the lock while they wait, and return early when `done`.
  bool WaitSeconds(double seconds_max, std::unique_lock<std::mutex>& lock,
                   const std::function<bool()>& done);
  void WaitUnlessHurried(double seconds_max, std::unique_lock<std::mutex>& lock,
                         const std::function<bool()>& done);
  void OnHello(uint64_t stream, const v1::Hello& hello);
  void OnProcessEnd(const char* what);
  void KeepEarlyHello(uint64_t stream, const v1::Hello& hello);

  const SupervisorOptions options_;
  GroupListener* const listener_;
  const SessionDir session_;
  const std::string host_;
  std::string link_address_;
  std::unique_ptr<LinkServer> link_;
  RestartPolicy restarts_;
  std::optional<GroupInfo> first_info_;  // of the supervisor's thread
  bool differs_ = false;                 // the last group from the first; of that thread too
  bool seen_alive_ = false;              // some rank of the present group; of that thread too
  bool was_ready_ = false;               // the present group; of that thread too

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Group> group_;
  uint64_t group_epoch_ = 0;
  int64_t groups_lost_ = 0;
  std::string last_loss_;
  bool death_noticed_ = false;  // by mpirun, in the present group
  RecoveryClock recovery_;
  std::optional<RecoveryTimes> last_recovery_;
  std::map<uint64_t, v1::Hello> early_hellos_;  // by stream
  bool stopping_ = false;
  bool hurrying_ = false;

  std::thread thread_;
};

}  // namespace octet::workers
