// The running service: intake, step loop, workers and transport put together, in the order in which
// they may refer to one another. Passes the workers' news on to the others. Knows nothing of
// signals and exit codes; see serve.h.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/status.h"
#include "coordinator/engine/step_loop.h"
#include "coordinator/intake/intake.h"
#include "coordinator/serve.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/transport/generation_server.h"
#include "coordinator/workers/supervisor.h"

namespace octet::coordinator {

// Why the service can not run, and the exit code that says so.
struct ServiceFailure {
  Status cause;
  int exit_code = 1;
};

// InvalidArgument, naming the option, when one is out of its range.
Status CheckOptions(const ServeOptions& options);

class Service final : private workers::GroupListener, private engine::PlanSink {
 public:
  explicit Service(const ServeOptions& options);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // Reads the tokenizer, listens, launches the workers; returns before those are ready. The port is
  // taken before any worker is started.
  std::optional<ServiceFailure> Start();

  // Any thread. Waits until something new is known: the service is ready, it has failed, or
  // `seconds_max` are over.
  bool WaitReady(double seconds_max);  // ready once, whatever came after
  bool ready() const;
  std::optional<ServiceFailure> failure() const;

  // Readiness goes off, new requests are refused, running answers get `grace_seconds` to end; then
  // everything is stopped. Once.
  void Stop(double grace_seconds);
  // A Stop that is under way in another thread ends soon.
  void Hurry();

  int grpc_port() const { return server_->port(); }
  const std::string& link_address() const { return supervisor_->link_address(); }
  engine::StepLoop& step_loop() { return *step_loop_; }

  // Called when the service becomes ready for the first time, or fails. Set before Start.
  std::function<void()> on_change;

 private:
  void Cancel(uint64_t id);
  transport::ServiceStats Stats() const;
  void SetHealth(uint64_t working_group, bool responsive);
  void OnGroupReady(uint64_t epoch, const workers::GroupInfo& info) override;
  void OnStepResult(uint64_t epoch, const v1::StepResult& result) override;
  void OnGroupLost(uint64_t epoch, const Status& cause) override;
  void OnGroupResponsive(uint64_t epoch, bool responsive) override;
  void OnGiveUp(const workers::GroupLoss& loss) override;
  void SendPlan(uint64_t epoch, const schedule::StepPlan& plan) override;
  void Condemn(uint64_t epoch, const Status& why) override;
  void OnGroupWorks(uint64_t epoch) override;
  void OnTurnBegin() override;
  void OnTurnEnd() override;

  const ServeOptions options_;
  // Destroyed from the last to the first. The server is stopped by then, and the step loop tells it
  // of its turns to the end.
  std::optional<tokenizer::Tokenizer> tokenizer_;
  std::vector<int32_t> chat_end_ids_;  // at which answers end, besides the model's own
  std::unique_ptr<transport::GenerationServer> server_;
  std::unique_ptr<engine::StepLoop> step_loop_;
  std::unique_ptr<intake::Intake> intake_;
  std::unique_ptr<workers::Supervisor> supervisor_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> serving_{false};
  std::atomic<int64_t> kv_blocks_{0};    // of the groups; 0: none was ready yet
  std::atomic<bool> supervised_{false};  // supervisor_ is set
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  uint64_t epoch_ = 0;          // of the group that is ready; 0: none
  uint64_t working_group_ = 0;  // the same, once it has computed a step
  bool responsive_ = false;
  bool ready_ = false;
  bool stopping_ = false;
  bool hurrying_ = false;
  std::optional<ServiceFailure> failure_;
};

}  // namespace octet::coordinator
