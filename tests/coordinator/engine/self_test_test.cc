// The self-test of an idle group, in the loop.
#include "tests/coordinator/engine/step_loop_fixture.h"

namespace octet::engine {
namespace {

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
