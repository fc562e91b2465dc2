// The loop against an engine that is called by hand, one step at a time: no thread but the loop's.
#include "coordinator/engine/step_loop.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <thread>

#include "coordinator/workers/plan_message.h"
#include "tests/coordinator/intake/sink.h"
#include "tests/coordinator/support/fake_engine.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::engine {
namespace {

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

TEST_F(StepLoopTest, OnePlanIsAlwaysAhead) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(1, {1, 2, 3}, 6, &sink);
  ASSERT_TRUE(WaitPlans(2));
  ASSERT_TRUE(Step());
  ASSERT_TRUE(WaitPlans(2));  // the third came before the second was computed
  StepUntilEnd(&sink);
  EXPECT_EQ(sink.tokens, FakeAnswer({1, 2, 3}, 6, 0, 0));
}

TEST_F(StepLoopTest, WhoBringsAResultTakesItsTurn) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(1, {1, 2, 3}, 100, &sink);
  const auto planned_here = [this] {
    const std::lock_guard lock(mutex_);
    return planner_ == std::this_thread::get_id();
  };
  // The submission's turn may not be quite over when its plans are here; it then takes results too.
  for (int i = 0; i < 50 && !planned_here(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ASSERT_TRUE(Step());
  }
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Step());
    EXPECT_TRUE(planned_here());
  }
  StepUntilEnd(&sink);
  EXPECT_EQ(sink.tokens, FakeAnswer({1, 2, 3}, 100, 0, 0));
}

TEST_F(StepLoopTest, WhatComesDuringAResultsTurnIsTaken) {
  Ready(1);
  KeepingSink& first = NewSink();
  KeepingSink& second = NewSink();
  Submit(1, {1}, 1, &first);
  ASSERT_TRUE(WaitPlans(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // until the submission's turn is over
  {
    const std::lock_guard lock(mutex_);
    at_turn_end_ = [&] { Submit(2, {2}, 3, &second); };
  }
  ASSERT_TRUE(Step());  // the only one that is under way
  StepUntilEnd(&second);
  EXPECT_TRUE(first.has_ended);
  EXPECT_EQ(second.tokens, FakeAnswer({2}, 3, 0, 0));
}

TEST_F(StepLoopTest, NothingIsPlannedWithoutAGroup) {
  Ready(1);
  loop_.GroupLost(1);
  KeepingSink& sink = NewSink();
  Submit(1, {1}, 3, &sink);
  EXPECT_FALSE(WaitPlansBriefly());
  Ready(2);
  StepUntilEnd(&sink);
  EXPECT_EQ(sink.tokens, FakeAnswer({1}, 3, 0, 0));
}

TEST_F(StepLoopTest, ALostGroupCostsNoToken) {
  Ready(1);
  KeepingSink* sinks[3];
  for (int i = 0; i < 3; ++i) {
    sinks[i] = &NewSink();
    Submit(i + 1, {i, i + 1, i + 2}, 30, sinks[i]);
  }
  for (uint64_t epoch = 2; epoch < 6; ++epoch) {
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(Step());
    loop_.GroupLost(epoch - 1);
    Ready(epoch);
    // A result that was under way: of a group that is gone, so it changes nothing.
    loop_.StepDone({epoch - 1, {7, {0}, {0}}});
  }
  for (KeepingSink* sink : sinks) StepUntilEnd(sink);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(sinks[i]->tokens, FakeAnswer({i, i + 1, i + 2}, 30, 0, 0));
}

TEST_F(StepLoopTest, ACancelEndsAnAnswerOnce) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(5, {1, 2}, 50, &sink);
  ASSERT_TRUE(Step());
  ASSERT_TRUE(Step());
  loop_.Cancel(5);
  loop_.Cancel(5);
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_EQ(sink.end.status.code(), StatusCode::kCancelled);
  EXPECT_EQ(places_, 0);
  // What was planned for it comes back and is discarded.
  KeepingSink& other = NewSink();
  Submit(6, {9}, 4, &other);
  StepUntilEnd(&other);
  EXPECT_EQ(other.tokens, FakeAnswer({9}, 4, 0, 0));
}

TEST_F(StepLoopTest, TheBlocksOfACancelledRequestAreFreeWithinAStep) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(5, {1, 2}, 50, &sink, 2);
  ASSERT_TRUE(WaitPlans(2));
  loop_.Cancel(5);
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) { return stats.requests_cancelled == 1; }));
  EXPECT_GT(loop_.stats().scheduler.used_blocks, 0);  // two plans in flight name them
  ASSERT_TRUE(Step());
  ASSERT_TRUE(Step());
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) { return stats.scheduler.steps == 2; }));
  EXPECT_EQ(loop_.stats().scheduler.used_blocks, 0);
  EXPECT_EQ(loop_.stats().scheduler.running + loop_.stats().scheduler.waiting, 0);
}

TEST_F(StepLoopTest, ARequestIsTakenWithAllItsSamplesOrRefused) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(1, {1, 2}, 5, &sink, 9);  // 8 may wait
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_FALSE(sink.is_accepted);
  EXPECT_EQ(places_, 0);
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) { return stats.requests_failed == 1; }));
  EXPECT_EQ(loop_.stats().scheduler.waiting, 0);
  KeepingSink& next = NewSink();
  Submit(1, {1, 2}, 5, &next);
  StepUntilEnd(&next);
  EXPECT_EQ(next.tokens, FakeAnswer({1, 2}, 5, 0, 0));
}

TEST_F(StepLoopTest, ASequenceWithoutATokenFailsItsRequestAlone) {
  Ready(1);
  KeepingSink& bad = NewSink();
  KeepingSink& good = NewSink();
  Submit(1, {1, 2}, 5, &bad);
  ASSERT_TRUE(WaitPlans(2));  // so that the other comes after it
  Submit(2, {3}, 4, &good);
  corrupt_next_ = true;
  ASSERT_TRUE(Step());
  ASSERT_TRUE(bad.WaitEnd());
  EXPECT_TRUE(bad.tokens.empty());
  StepUntilEnd(&good);
  EXPECT_EQ(good.tokens, FakeAnswer({3}, 4, 0, 0));
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) {
    return stats.requests_failed == 1 && stats.requests_completed == 1;
  }));
}

TEST_F(StepLoopTest, SamplesAreAnsweredTogetherAndEndTogether) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(1, {1, 2, 3}, 20, &sink, 3);
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(Step());
  loop_.GroupLost(1);
  Ready(2);
  StepUntilEnd(&sink);
  EXPECT_TRUE(sink.end.status.ok());
  ASSERT_EQ(sink.samples.size(), 3u);
  for (int32_t i = 0; i < 3; ++i) EXPECT_EQ(sink.samples[i].tokens.size(), 20u);
  EXPECT_EQ(sink.samples[0].tokens, FakeAnswer({1, 2, 3}, 20, 0, 1.0f));
  EXPECT_NE(sink.samples[0].tokens, sink.samples[1].tokens);
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) { return stats.requests_completed == 1; }));
  EXPECT_EQ(places_, 0);
}

TEST_F(StepLoopTest, AStopStringEndsItsSampleInTheSchedulerToo) {
  Ready(1);
  KeepingSink& sink = NewSink();
  // A character that the greedy answer has, after at least one other.
  const std::vector<int32_t> answer = FakeAnswer({5}, 100, 0, 0);
  size_t at = 1;
  while (answer.at(at) >= 128 || answer[at] == answer[0]) ++at;
  Submit(1, {5}, 100, &sink, 1, {std::string(1, static_cast<char>(answer[at]))});
  StepUntilEnd(&sink);
  EXPECT_LT(sink.tokens.size(), 100u);
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) {
    return stats.requests_completed == 1 && stats.scheduler.running + stats.scheduler.waiting == 0;
  }));
}

TEST_F(StepLoopTest, OneFailedSampleEndsTheOthers) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(1, {1, 2}, 50, &sink, 4);  // two slots: two of them wait
  corrupt_next_ = true;
  ASSERT_TRUE(Step());
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_EQ(sink.end.status.code(), StatusCode::kInternal);
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) { return stats.requests_failed == 1; }));
  EXPECT_EQ(loop_.stats().scheduler.running + loop_.stats().scheduler.waiting, 0);
  EXPECT_EQ(places_, 0);
}

TEST_F(StepLoopTest, CountsTokensOverALostGroup) {
  Ready(1);
  KeepingSink& sink = NewSink();
  Submit(1, {1, 2, 3}, 6, &sink);
  ASSERT_TRUE(Step());
  loop_.GroupLost(1);
  Ready(2);
  StepUntilEnd(&sink);
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) { return stats.requests_completed == 1; }));
  const LoopStats stats = loop_.stats();
  EXPECT_EQ(stats.scheduler.prompt_tokens, 3);
  EXPECT_EQ(stats.scheduler.generated_tokens, 6);
  EXPECT_GT(stats.generated_tokens_per_second, 0);
}

TEST_F(StepLoopTest, ACancelOvertakesItsSubmission) {
  Ready(1);
  KeepingSink& sink = NewSink();
  sink.cancel_requested = true;
  loop_.Cancel(3);
  Submit(3, {1}, 5, &sink);
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_EQ(sink.end.status.code(), StatusCode::kCancelled);
  EXPECT_FALSE(sink.is_accepted);
}

TEST_F(StepLoopTest, AWrongResultCondemnsTheGroupAndNothingElse) {
  Ready(4);
  KeepingSink& sink = NewSink();
  Submit(1, {1}, 5, &sink);
  ASSERT_TRUE(WaitPlans(1));
  loop_.StepDone({4, {1, {0, 1}, {3, 3}}});
  {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(arrived_.wait_for(lock, std::chrono::seconds(10), [&] { return condemned_ == 4; }));
  }
  Ready(5);
  StepUntilEnd(&sink);
  EXPECT_EQ(sink.tokens, FakeAnswer({1}, 5, 0, 0));
}

TEST_F(StepLoopTest, FailAllEndsWhatIsLiveAndWhatComes) {
  Ready(1);
  KeepingSink& live = NewSink();
  KeepingSink& late = NewSink();
  Submit(1, {1}, 50, &live);
  ASSERT_TRUE(Step());
  loop_.FailAll(Unavailable("the end"));
  Submit(2, {1}, 5, &late);
  for (KeepingSink* sink : {&live, &late}) {
    ASSERT_TRUE(sink->WaitEnd());
    EXPECT_EQ(sink->end.status.message(), "the end");
  }
}

class SelfTestTest : public StepLoopTest {
 protected:
  SelfTestTest() : StepLoopTest(/*self_test_seconds=*/0.02) {}
  bool WaitWorks(uint64_t epoch) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::seconds(10), [&] { return works_ == epoch; });
  }
};

TEST_F(SelfTestTest, AGroupWorksWhenItHasComputedAStepAndIsTestedAgainWhenIdle) {
  Ready(1);
  ASSERT_TRUE(WaitPlans(1));
  {
    const std::lock_guard lock(mutex_);
    EXPECT_EQ(works_, 0u);  // it is ready, and no more
    EXPECT_EQ(plans_[0].second.prefills_size(), 1);
  }
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Step()) << i;
  EXPECT_TRUE(WaitWorks(1));
  EXPECT_TRUE(WaitStats([](const LoopStats& stats) { return stats.scheduler.steps >= 3; }));
  const LoopStats stats = loop_.stats();
  EXPECT_EQ(stats.scheduler.prompt_tokens + stats.scheduler.generated_tokens, 0);
  EXPECT_EQ(stats.scheduler.prefix_queried_tokens, 0);
  EXPECT_EQ(stats.requests_completed, 0);
}

TEST_F(SelfTestTest, RequestsBesideItAreAnsweredAsEver) {
  Ready(1);
  ASSERT_TRUE(WaitPlans(1));
  KeepingSink& sink = NewSink();
  Submit(1, {1, 2, 3}, 6, &sink);
  StepUntilEnd(&sink);
  EXPECT_EQ(sink.tokens, FakeAnswer({1, 2, 3}, 6, 0, 0));
  loop_.GroupLost(1);  // with a test in flight, perhaps
  Ready(2);
  ASSERT_TRUE(Step());
  EXPECT_TRUE(WaitWorks(2));
}

TEST_F(SelfTestTest, AGroupThatFailsItIsCondemned) {
  Ready(3);
  corrupt_next_ = true;
  ASSERT_TRUE(Step());
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(arrived_.wait_for(lock, std::chrono::seconds(10), [&] { return condemned_ == 3; }));
  EXPECT_EQ(works_, 0u);
}

}  // namespace
}  // namespace octet::engine
