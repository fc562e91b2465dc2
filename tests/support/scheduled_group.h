// The scheduler and a worker group inside a test: ranks are threads, every plan goes through the
// link's own messages, and two plans are in flight as in the service. Knows nothing of the link's
// transport, of text and of requests.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "comm/counting.h"
#include "comm/threads.h"
#include "coordinator/schedule/scheduler.h"
#include "coordinator/workers/plan_message.h"
#include "worker/engine/engine.h"
#include "worker/link/plan_broadcast.h"
#include "worker/link/plan_codec.h"
#include "worker/weights/loader.h"

namespace octet::testing {

// What one sequence generated, with the bits that its tokens were chosen from.
struct Generated {
  std::vector<int32_t> tokens;
  std::vector<schedule::TokenLogprobs> logprobs;  // of tokens, when asked for
  std::vector<std::vector<float>> logits;         // of tokens, where the engine had them whole
  std::vector<schedule::TokenLogprobs> prompt_logprobs;  // from position 1 on, when asked for
};

// To the bit: zeros of two signs differ.
inline bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}
inline bool SameBits(const schedule::TokenLogprobs& a, const schedule::TokenLogprobs& b) {
  return SameBits({&a.logprob, 1}, {&b.logprob, 1}) && a.top_tokens == b.top_tokens &&
         SameBits(a.top_logprobs, b.top_logprobs);
}
inline bool SameBits(const Generated& a, const Generated& b) {
  const auto same = [](const auto& x, const auto& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [](const auto& p, const auto& q) { return SameBits(p, q); });
  };
  return a.tokens == b.tokens && same(a.logits, b.logits) && same(a.logprobs, b.logprobs) &&
         same(a.prompt_logprobs, b.prompt_logprobs);
}

// A sequence that arrives when `at_step` plans have been made.
struct Arrival {
  uint64_t at_step = 0;
  schedule::NewSequence sequence;
};

struct ScheduledRun {
  std::map<uint64_t, Generated> generated;     // by id
  std::map<uint64_t, int64_t> admissions;      // more than one: it was preempted
  std::map<uint64_t, int64_t> cached_tokens;   // found in the prefix cache, over all admissions
  std::map<uint64_t, int64_t> prefill_tokens;  // computed in chunks, over all admissions
  std::map<uint64_t, int64_t> rows_beside;     // most rows of a step that sampled it, its own too
  schedule::SchedulerCounters counters;        // at the end
  uint64_t steps = 0;
};

// The threads of a group of made-up weights, which take plans as bytes one after the other.
class GroupOfThreads {
 public:
  GroupOfThreads(
      int64_t ranks,
      const std::function<worker::EngineConfig(int64_t ranks, int64_t rank)>& make_config)
      : comm_(static_cast<int>(ranks), worker::LimitsOf(make_config(ranks, 0))),
        turn_(static_cast<std::ptrdiff_t>(ranks) + 1) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      threads_.emplace_back(
          [this, rank, config = make_config(ranks, rank)] { Work(config, rank); });
    }
  }
  ~GroupOfThreads() {
    plan_ = nullptr;
    turn_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }

  struct Outcome {
    schedule::StepResult result;
    std::vector<std::vector<float>> logits;  // of the sampled rows, where the engine has them whole
    comm::TrafficCounts traffic;             // among the ranks, as rank 0 counts it
    int64_t plan_bytes = 0;                  // of the one message down
    int64_t result_bytes = 0;                // and of the one up
  };
  Outcome Step(const schedule::StepPlan& plan) {
    const std::string bytes = workers::ToMessage(plan).SerializeAsString();
    plan_ = &bytes;
    turn_.arrive_and_wait();  // the ranks begin
    turn_.arrive_and_wait();  // and have ended
    v1::StepResult message;
    OCTET_CHECK(message.ParseFromString(result_));
    return {workers::ToValue(message), std::move(logits_), traffic_,
            static_cast<int64_t>(bytes.size()), static_cast<int64_t>(result_.size())};
  }

 private:
  void Work(const worker::EngineConfig& config, int64_t rank) {
    ThreadPool pool(config.threads);
    comm::CountingCommunicator counting(&comm_.communicator(static_cast<int>(rank)));
    worker::Engine engine(
        config, worker::MakeRandomWeights(config.spec, config.shard, config.weights, 1, pool),
        &counting, &pool);
    worker::PlanBroadcast broadcast(&counting);
    for (turn_.arrive_and_wait(); plan_ != nullptr; turn_.arrive_and_wait()) {
      counting.Reset();
      const auto bytes = broadcast.Exchange(rank == 0 ? std::optional(*plan_) : std::nullopt);
      const Result<worker::StepPlan> plan = worker::DecodePlan(*bytes);
      OCTET_CHECK(plan.ok());
      const worker::StepResult& result = engine.Step(*plan);
      if (rank == 0) {
        traffic_ = counting.counts();
        result_ = worker::EncodeResult(result, 0).SerializeAsString();
        logits_.clear();
        for (size_t i = 0; i < result.slots.size(); ++i) {
          const std::span<const float> row = engine.LogitsOf(static_cast<int64_t>(i));
          logits_.emplace_back(row.begin(), row.end());
        }
      }
      turn_.arrive_and_wait();
    }
  }

  comm::ThreadGroup comm_;
  std::barrier<> turn_;
  const std::string* plan_ = nullptr;  // of the turn; null: the end
  std::string result_;                 // of rank 0, as are those below
  comm::TrafficCounts traffic_;
  std::vector<std::vector<float>> logits_;
  std::vector<std::thread> threads_;
};

// Runs all arrivals to their end, and shows every step.
inline ScheduledRun RunScheduled(
    int64_t ranks,
    const std::function<worker::EngineConfig(int64_t ranks, int64_t rank)>& make_config,
    const schedule::SchedulerLimits& limits, std::vector<Arrival> arrivals,
    const std::function<void(const schedule::StepPlan&, const GroupOfThreads::Outcome&)>& on_step =
        {}) {
  constexpr uint64_t kStepsMax = 100'000;
  ScheduledRun run;
  GroupOfThreads group(ranks, make_config);
  schedule::Scheduler scheduler(limits);
  std::deque<schedule::StepPlan> in_flight;
  std::map<int32_t, uint64_t> id_of_slot;
  size_t arrived = 0;
  while (arrived < arrivals.size() || !scheduler.idle()) {
    OCTET_CHECK_LT(run.steps, kStepsMax);
    // With nothing to run the next one comes at once.
    while (arrived < arrivals.size() &&
           (arrivals[arrived].at_step <= run.steps || scheduler.idle())) {
      const Status added = scheduler.Add(std::move(arrivals[arrived++].sequence));
      OCTET_CHECK(added.ok());
    }
    while (std::optional<schedule::StepPlan> plan = scheduler.PlanStep()) {
      in_flight.push_back(*std::move(plan));
      ++run.steps;
    }
    OCTET_CHECK(!in_flight.empty());
    const schedule::StepPlan plan = std::move(in_flight.front());
    in_flight.pop_front();
    for (const schedule::Admit& admit : plan.admits) {
      id_of_slot[admit.slot] = admit.id;
      ++run.admissions[admit.id];
      run.cached_tokens[admit.id] += admit.cached_tokens;
    }
    for (const schedule::PrefillChunk& chunk : plan.prefills) {
      run.prefill_tokens[id_of_slot.at(chunk.slot)] += static_cast<int64_t>(chunk.tokens.size());
    }
    GroupOfThreads::Outcome outcome = group.Step(plan);
    if (on_step) on_step(plan, outcome);
    schedule::StepResult& result = outcome.result;
    std::map<uint64_t, size_t> row_of_id;
    for (size_t row = 0; row < result.slots.size(); ++row) {
      const uint64_t id = id_of_slot.at(result.slots[row]);
      row_of_id[id] = row;
      run.rows_beside[id] =
          std::max(run.rows_beside[id], static_cast<int64_t>(result.slots.size()));
    }
    const Status status = scheduler.CheckResult(result);
    if (!status.ok()) CheckFailed(__FILE__, __LINE__, status.message());
    for (schedule::SequenceEvent& event : scheduler.CommitStep(std::move(result))) {
      Generated& out = run.generated[event.id];
      for (schedule::TokenLogprobs& told : event.prompt_logprobs) {
        out.prompt_logprobs.push_back(std::move(told));
      }
      if (event.token < 0) continue;
      OCTET_CHECK_EQ(event.position, static_cast<int64_t>(out.tokens.size()));
      out.tokens.push_back(event.token);
      out.logits.push_back(std::move(outcome.logits[row_of_id.at(event.id)]));
      if (event.logprobs.has_value()) out.logprobs.push_back(*event.logprobs);
    }
  }
  run.counters = scheduler.counters();
  return run;
}

}  // namespace octet::testing
