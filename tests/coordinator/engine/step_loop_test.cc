#include "tests/coordinator/engine/step_loop_fixture.h"

namespace octet::engine {
namespace {

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

}  // namespace
}  // namespace octet::engine
