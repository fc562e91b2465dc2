// What the scheduler costs: the time of one PlanStep and one CommitStep together, with many
// sequences that decode, in steps of three kinds. No ranks: every result is token 50.
//
//   octet_scheduler_bench [STEPS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "coordinator/schedule/scheduler.h"

namespace octet::schedule {
namespace {

constexpr int64_t kPromptTokens = 512;
constexpr int64_t kSharedTokens = 384;

NewSequence MakeSequence(uint64_t id, int64_t max_tokens) {
  NewSequence sequence;
  sequence.id = id;
  for (int64_t i = 0; i < kPromptTokens; ++i) {
    sequence.prompt.push_back(static_cast<int32_t>(i < kSharedTokens ? i : i * 31 + id));
  }
  sequence.max_tokens = max_tokens;
  sequence.stop_tokens = {2};
  return sequence;
}

StepResult ResultOf(const StepPlan& plan) {
  StepResult result;
  result.step = plan.step;
  for (const PrefillChunk& chunk : plan.prefills) {
    if (chunk.sample) result.slots.push_back(chunk.slot);
  }
  result.slots.insert(result.slots.end(), plan.decodes.begin(), plan.decodes.end());
  result.tokens.assign(result.slots.size(), 50);
  return result;
}

// One plan is always ahead, as in the step loop. `turnover`: whoever ends is followed by another.
// `small_pool`: not all of them run at once.
void Bench(int64_t batch, int64_t steps, bool turnover, bool small_pool) {
  SchedulerLimits limits;
  limits.slots = batch;
  limits.step_rows_max = std::max<int64_t>(512, 2 * batch);
  limits.context = 8192;
  limits.waiting_max = 4 * batch;
  limits.blocks = batch * (kPromptTokens + 512) / limits.block_tokens;
  if (small_pool) limits.blocks = std::max<int64_t>(20, limits.blocks / 4);
  Scheduler scheduler(limits);
  uint64_t id = 0;
  const auto add = [&] {
    ++id;
    const int64_t max_tokens = turnover ? 64 + static_cast<int64_t>(id * 37 % 128) : 480;
    OCTET_CHECK(scheduler.Add(MakeSequence(id, max_tokens)).ok());
  };
  for (int64_t i = 0; i < batch; ++i) add();
  std::vector<double> us;
  std::optional<StepPlan> ahead = scheduler.PlanStep();
  const int64_t warm_steps = batch + 2;  // until every prompt is computed
  for (int64_t step = 0; step < warm_steps + steps && !scheduler.idle(); ++step) {
    const StepResult result = ResultOf(*ahead);
    const auto begin = std::chrono::steady_clock::now();
    ahead = scheduler.PlanStep();
    StepResult taken = result;
    const std::vector<SequenceEvent> events = scheduler.CommitStep(std::move(taken));
    if (!ahead.has_value()) ahead = scheduler.PlanStep();
    const std::chrono::duration<double, std::micro> passed =
        std::chrono::steady_clock::now() - begin;
    if (step >= warm_steps) us.push_back(passed.count());
    for (const SequenceEvent& event : events) {
      if (event.finished && turnover) add();
    }
    if (!ahead.has_value()) ahead = scheduler.PlanStep();
    if (!ahead.has_value()) break;
  }
  std::sort(us.begin(), us.end());
  const SchedulerCounters counters = scheduler.counters();
  std::printf("batch %3ld  %-20s  median %7.2f us  p99 %7.2f us  steps %5zu  preemptions %5ld\n",
              static_cast<long>(batch),
              small_pool ? "turnover, small pool"
              : turnover ? "turnover"
                         : "decode only",
              us[us.size() / 2], us[us.size() * 99 / 100], us.size(),
              static_cast<long>(counters.preemptions));
}

}  // namespace
}  // namespace octet::schedule

int main(int argc, char** argv) {
  const int64_t steps = argc > 1 ? std::max(1L, std::strtol(argv[1], nullptr, 10)) : 2000;
  for (const int64_t batch : {1, 32, 256}) {
    octet::schedule::Bench(batch, std::min<int64_t>(steps, 300), false, false);
    octet::schedule::Bench(batch, steps, true, false);
    octet::schedule::Bench(batch, steps, true, true);
  }
  return 0;
}
