// The loop against an engine that is called by hand, one step at a time: no thread but the loop's.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "coordinator/engine/step_loop.h"
#include "coordinator/workers/plan_message.h"
#include "tests/coordinator/intake/sink.h"
#include "tests/coordinator/support/fake_engine.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::engine {

using fakes::FakeAnswer;
using intake::KeepingSink;

class StepLoopTest : public ::testing::Test, protected PlanSink {
 protected:
  explicit StepLoopTest(double self_test_seconds = 0) : self_test_seconds_(self_test_seconds) {}
  void SendPlan(uint64_t epoch, const schedule::StepPlan& plan) override {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(turns_, 1);
    planner_ = std::this_thread::get_id();
    if (epoch != epoch_) return;  // for a group that is gone
    plans_.push_back({epoch, workers::ToMessage(plan)});
    arrived_.notify_all();
  }
  void Condemn(uint64_t epoch, const Status&) override {
    const std::lock_guard lock(mutex_);
    condemned_ = epoch;
    arrived_.notify_all();
  }
  void TearDown() override { owned_loop_.reset(); }  // it calls this object to its end

  void OnTurnBegin() override {
    const std::lock_guard lock(mutex_);
    ++turns_;
  }
  void OnTurnEnd() override {
    std::unique_lock lock(mutex_);
    --turns_;
    const std::function<void()> once = std::exchange(at_turn_end_, nullptr);
    lock.unlock();
    if (once) once();
  }
  void OnGroupWorks(uint64_t epoch) override {
    const std::lock_guard lock(mutex_);
    works_ = epoch;
    arrived_.notify_all();
  }

  void Ready(uint64_t epoch) {
    {
      const std::lock_guard lock(mutex_);
      plans_.clear();
      epoch_ = epoch;
    }
    engine_.emplace(16);
    loop_.GroupReady(epoch, {.blocks = 32,
                             .block_tokens = 16,
                             .slots = 2,
                             .step_rows_max = 8,
                             .context = 128,
                             .waiting_max = 8});
  }

  KeepingSink& NewSink() { return sinks_.emplace_back(); }
  void Submit(uint64_t id, std::vector<int32_t> prompt, int64_t max_tokens, KeepingSink* sink,
              uint64_t samples = 1, std::vector<std::string> stop = {}) {
    places_ += static_cast<int64_t>(samples);
    intake::Submission submission;
    submission.id = id;
    for (uint64_t sample = 0; sample < samples; ++sample) {
      schedule::NewSequence& sequence = submission.sequences.emplace_back();
      sequence.id = id + sample;
      sequence.prompt = prompt;
      sequence.max_tokens = max_tokens;
      sequence.sampling.temperature = samples > 1 ? 1.0f : 0.0f;
      sequence.sampling.sample_index = static_cast<uint32_t>(sample);
    }
    intake::AnswerOptions options;
    options.samples = static_cast<int32_t>(samples);
    options.stop = std::move(stop);
    submission.answer = std::make_unique<intake::Answer>(
        sink, intake::Place(&places_, static_cast<int64_t>(samples)), &tokenizer_, true,
        intake::AcceptedAnswer{}, std::move(options));
    loop_.Submit(std::move(submission));
  }

  bool WaitPlans(size_t count) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return plans_.size() >= count; });
  }
  // Computes the oldest plan; false when none comes.
  bool Step() {
    if (!WaitPlans(1)) return false;
    std::pair<uint64_t, v1::StepPlan> plan;
    {
      const std::lock_guard lock(mutex_);
      plan = plans_.front();
      plans_.pop_front();
    }
    v1::StepResult result = engine_->Apply(plan.second);
    if (std::exchange(corrupt_next_, false)) result.set_tokens(0, -1);
    loop_.StepDone({plan.first, workers::ToValue(result)});
    return true;
  }
  void StepUntilEnd(KeepingSink* sink) {
    for (int i = 0; i < 500 && !sink->has_ended; ++i) {
      if (WaitPlansBriefly()) Step();
    }
    ASSERT_TRUE(sink->WaitEnd());
  }
  bool WaitPlansBriefly() {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::milliseconds(20), [&] { return !plans_.empty(); });
  }

  // Whether the counters come to be so; they follow the last event.
  bool WaitStats(const std::function<bool(const LoopStats&)>& is_so) {
    for (int i = 0; i < 5000 && !is_so(loop_.stats()); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return is_so(loop_.stats());
  }

  tokenizer::Tokenizer tokenizer_ = fakes::TinyTokenizer();
  std::atomic<int64_t> places_{0};
  std::optional<fakes::FakeEngine> engine_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::pair<uint64_t, v1::StepPlan>> plans_;
  uint64_t epoch_ = 0;
  uint64_t condemned_ = 0;
  int turns_ = 0;                      // 1: what the loop does is under way
  std::thread::id planner_;            // of the last plan
  std::function<void()> at_turn_end_;  // once, within the turn
  uint64_t works_ = 0;                 // the last group of which that was said
  const double self_test_seconds_;
  bool corrupt_next_ = false;      // the first token of the next step is none
  std::deque<KeepingSink> sinks_;  // outlive the loop, also when a test ends early
  std::unique_ptr<StepLoop> owned_loop_{new StepLoop(this, self_test_seconds_)};
  StepLoop& loop_ = *owned_loop_;
};

}  // namespace octet::engine
