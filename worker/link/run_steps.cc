#include "worker/link/run_steps.h"

#include <chrono>
#include <deque>
#include <optional>
#include <string>

#include "base/check.h"
#include "worker/link/plan_broadcast.h"
#include "worker/link/plan_codec.h"

namespace octet::worker {
namespace {

using Clock = std::chrono::steady_clock;

// How long rank 0 waits for a plan before it looks whether the step under way is done.
constexpr std::chrono::microseconds kPlanWait{50};
// Said in the place of a plan: none is here yet, wait for the step under way.
constexpr char kNoPlan[] = "";

class StepRunner {
 public:
  explicit StepRunner(const StepParties& parties) : p_(parties), broadcast_(&parties.control) {}

  void Run() {
    for (;;) {
      if (p_.engine.in_flight() == p_.engine.steps_in_flight_max()) {
        Finish();
        continue;
      }
      std::optional<std::string> bytes;
      if (p_.control.rank() == 0) bytes = NextPlan();
      bytes = broadcast_.Exchange(std::move(bytes));
      if (!bytes.has_value()) break;
      if (*bytes == kNoPlan) {
        Finish();
      } else {
        Launch(*bytes);
      }
    }
    while (p_.engine.in_flight() > 0) Finish();
  }

 private:
  // Rank 0: a plan; kNoPlan once the step under way is done; nothing at the end.
  std::optional<std::string> NextPlan() {
    while (p_.engine.in_flight() > 0) {
      std::optional<std::string> plan = p_.link.NextPlanWithin(kPlanWait);
      if (plan.has_value()) return plan;
      if (p_.engine.oldest_is_done()) return kNoPlan;
    }
    return p_.link.NextPlan();
  }

  void Launch(const std::string& bytes) {
    const Result<StepPlan> plan = DecodePlan(bytes);
    OCTET_CHECK(plan.ok());
    started_.push_back(Clock::now());
    if (p_.watch != nullptr) p_.watch->Begin();
    p_.engine.Launch(*plan);
  }

  void Finish() {
    const StepResult& result = p_.engine.Finish();
    if (p_.watch != nullptr) p_.watch->End();
    // A step that was launched early began when the one before it ended.
    const Clock::time_point now = Clock::now();
    const Clock::time_point start = std::max(started_.front(), last_end_);
    started_.pop_front();
    last_end_ = now;
    const int64_t step_us =
        std::chrono::duration_cast<std::chrono::microseconds>(now - start).count();
    if (p_.control.rank() == 0) p_.link.SendResult(EncodeResult(result, step_us));
    p_.link.CountStep(step_us, p_.timed.collective_us(), p_.engine.sampling_us());
  }

  const StepParties& p_;
  PlanBroadcast broadcast_;
  std::deque<Clock::time_point> started_;  // of the steps in flight
  Clock::time_point last_end_{};
};

}  // namespace

void RunSteps(const StepParties& parties) { StepRunner(parties).Run(); }

}  // namespace octet::worker
