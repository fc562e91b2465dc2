#include "coordinator/workers/group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "tests/coordinator/support/fake_rank.h"

namespace octet::workers {
namespace {

constexpr uint64_t kEpoch = 4;
constexpr const char* kSecret = "0123456789abcdef";

v1::Hello MakeHello(int32_t rank, int32_t ranks = 2) {
  v1::Hello hello;
  hello.set_rank(rank);
  hello.set_ranks(ranks);
  hello.set_pid(1000 + rank);
  hello.set_epoch(kEpoch);
  hello.set_secret(kSecret);
  hello.set_build_id("build");
  hello.set_isa("avx512");
  return hello;
}

v1::Ready MakeReady(int32_t rank) {
  v1::Ready ready;
  ready.set_config_digest("digest");
  if (rank == 0) *ready.mutable_model() = fakes::TinyModelInfo();
  return ready;
}

class GroupTest : public ::testing::Test {
 protected:
  void HelloBoth(double now) {
    ASSERT_TRUE(group_.OnHello(10, MakeHello(0), now).ok());
    ASSERT_TRUE(group_.OnHello(11, MakeHello(1), now).ok());
  }
  void MakeBothReady(double now) {
    HelloBoth(now);
    group_.OnReady(10, MakeReady(0), now);
    group_.OnReady(11, MakeReady(1), now);
    ASSERT_TRUE(group_.ready());
  }
  std::string cause() const {
    return group_.loss().has_value() ? group_.loss()->cause.message() : "";
  }
  Group group_{kEpoch,
               kSecret,
               2,
               {.hello_seconds_max = 20,
                .heartbeat_seconds_max = 5,
                .load_stall_seconds_max = 100,
                .step_stall_seconds_max = 30},
               0};
};

TEST_F(GroupTest, RefusesTwoRanksOnOneGpu) {
  v1::Hello first = MakeHello(0);
  v1::Hello second = MakeHello(1);
  first.set_gpu("0a1b");
  second.set_gpu("0a1b");
  ASSERT_TRUE(group_.OnHello(10, first, 1).ok());
  EXPECT_EQ(group_.OnHello(11, second, 1).message(),
            "ranks 0 and 1 compute on one GPU, 0a1b; give each rank its own, or for a test let "
            "them share with --share-gpu");
  second.set_host("another");  // where it is another GPU
  EXPECT_TRUE(group_.OnHello(11, second, 1).ok());
}

TEST_F(GroupTest, RefusesRanksOfTwoKindsOfDevice) {
  v1::Hello gpu = MakeHello(1);
  gpu.set_isa("cuda 9.0");
  ASSERT_TRUE(group_.OnHello(10, MakeHello(0), 1).ok());
  EXPECT_NE(group_.OnHello(11, gpu, 1).message().find("'cuda 9.0'"), std::string::npos);
}

TEST_F(GroupTest, IsReadyWhenEveryRankSaysSo) {
  ASSERT_TRUE(group_.OnHello(11, MakeHello(1), 1).ok());
  group_.OnReady(11, MakeReady(1), 1);
  EXPECT_FALSE(group_.ready());
  ASSERT_TRUE(group_.OnHello(10, MakeHello(0), 2).ok());
  EXPECT_EQ(group_.present(), 2);
  EXPECT_FALSE(group_.ready());
  group_.OnReady(9, MakeReady(0), 2);  // a stream that has not said hello
  EXPECT_FALSE(group_.ready());
  group_.OnReady(10, MakeReady(0), 2);
  ASSERT_TRUE(group_.ready());
  EXPECT_EQ(group_.leader_stream(), 10u);
  EXPECT_EQ(group_.info().vocab, 257);
  EXPECT_EQ(group_.info().ranks, 2);
}

TEST_F(GroupTest, TheContextIsNeverMoreThanThePoolHolds) {
  Group group(kEpoch, kSecret, 1, {}, 0);
  v1::Ready ready = MakeReady(0);
  EXPECT_EQ(ready.model().context(), 512);
  ready.mutable_model()->set_kv_blocks(3);
  ASSERT_TRUE(group.OnHello(10, MakeHello(0, 1), 0).ok());
  group.OnReady(10, ready, 0);
  EXPECT_EQ(group.info().context, 48);
}

TEST_F(GroupTest, StrangersChangeNothing) {
  v1::Hello hello = MakeHello(0);
  hello.set_secret("0123456789abcdeF");
  EXPECT_EQ(group_.OnHello(9, hello, 1).code(), StatusCode::kPermissionDenied);
  hello.set_secret(std::string(kSecret) + "0");
  EXPECT_EQ(group_.OnHello(9, hello, 1).code(), StatusCode::kPermissionDenied);
  hello = MakeHello(0);
  hello.set_epoch(kEpoch - 1);
  const Status old = group_.OnHello(9, hello, 1);
  EXPECT_EQ(old.code(), StatusCode::kPermissionDenied);
  EXPECT_EQ(old.message(), "rank 0 is of launch 3; the present one is 4");
  group_.OnStreamEnd(9);
  EXPECT_FALSE(group_.loss().has_value());
  MakeBothReady(2);
}

// What ranks said while this process was stopped is read after the deadlines are looked at.
TEST_F(GroupTest, TimeInWhichNobodyListenedDoesNotCount) {
  MakeBothReady(0);
  group_.OnPlanSent(0);
  group_.SkipSilence(40);
  group_.CheckDeadlines(44);
  EXPECT_FALSE(group_.loss().has_value()) << cause();
  group_.CheckDeadlines(46);
  EXPECT_NE(cause().find("has not been heard of for 5 s"), std::string::npos) << cause();
}

TEST_F(GroupTest, RanksThatDoNotFitAreRefusedWithBothValues) {
  struct Misfit {
    const char* sentence;
    std::function<void(v1::Hello*)> change;
  };
  const Misfit misfits[] = {
      {"builds differ: rank 1 has 'other', rank 0 has 'build'",
       [](v1::Hello* h) { h->set_build_id("other"); }},
      {"instruction families differ: rank 1 has 'avx2', rank 0 has 'avx512'",
       [](v1::Hello* h) { h->set_isa("avx2"); }},
      {"rank 1 is one of 4 ranks; expected 2", [](v1::Hello* h) { h->set_ranks(4); }},
      {"a rank says it is rank 2; expected 0 to 1", [](v1::Hello* h) { h->set_rank(2); }},
      {"a rank says it is rank -1; expected 0 to 1", [](v1::Hello* h) { h->set_rank(-1); }},
      {"two processes say they are rank 0: pid 1000 and pid 1001",
       [](v1::Hello* h) { h->set_rank(0); }},
  };
  for (const Misfit& misfit : misfits) {
    Group group(kEpoch, kSecret, 2, {}, 0);
    ASSERT_TRUE(group.OnHello(10, MakeHello(0), 0).ok());
    v1::Hello hello = MakeHello(1);
    misfit.change(&hello);
    const Status status = group.OnHello(11, hello, 0);
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(status.message(), misfit.sentence);
    ASSERT_TRUE(group.loss().has_value());
    EXPECT_TRUE(group.loss()->configuration);
  }
  HelloBoth(0);
  group_.OnReady(10, MakeReady(0), 0);
  v1::Ready ready = MakeReady(1);
  ready.set_config_digest("d2");
  group_.OnReady(11, ready, 0);
  EXPECT_EQ(cause(), "configurations differ: rank 1 has 'd2', rank 0 has 'digest'");
  EXPECT_TRUE(group_.loss()->configuration);
}

TEST_F(GroupTest, WhatRankZeroClaimsIsChecked) {
  struct Claim {
    const char* sentence;
    std::function<void(v1::ModelInfo*)> change;
  };
  const Claim claims[] = {
      {"rank 0 says vocab is 0; it must be between 1 and 1048576",
       [](v1::ModelInfo* m) { m->set_vocab(0); }},
      {"rank 0 says kv_blocks is -5; it must be between 1 and 67108864",
       [](v1::ModelInfo* m) { m->set_kv_blocks(-5); }},
      {"rank 0 says slots is 65537; it must be between 1 and 65536",
       [](v1::ModelInfo* m) { m->set_slots(65537); }},
      {"rank 0 says an end token is 257; the model's tokens are 0 to 256",
       [](v1::ModelInfo* m) { m->add_eos_ids(257); }},
  };
  for (const Claim& claim : claims) {
    Group group(kEpoch, kSecret, 2, {}, 0);
    ASSERT_TRUE(group.OnHello(10, MakeHello(0), 0).ok());
    v1::Ready ready = MakeReady(0);
    claim.change(ready.mutable_model());
    group.OnReady(10, ready, 0);
    EXPECT_EQ(group.loss()->cause.message(), claim.sentence);
  }
  HelloBoth(0);
  group_.OnReady(10, MakeReady(1), 0);
  EXPECT_EQ(cause(), "rank 0 says nothing of its model");
}

TEST_F(GroupTest, AnEndedStreamIsADeathAndTheFirstLossStands) {
  HelloBoth(0);
  group_.OnStreamEnd(11);
  EXPECT_EQ(cause(), "rank 1 (process 1001) died");
  EXPECT_TRUE(group_.loss()->process_ended);
  EXPECT_FALSE(group_.loss()->configuration);
  group_.OnStreamEnd(10);
  EXPECT_EQ(cause(), "rank 1 (process 1001) died");
  EXPECT_FALSE(group_.has_open_ranks());
}

TEST_F(GroupTest, SilenceIsNoticed) {
  HelloBoth(0);
  group_.OnHeartbeat(10, {}, 4);
  group_.CheckDeadlines(5);
  EXPECT_EQ(cause(), "");
  group_.CheckDeadlines(5.5);
  EXPECT_EQ(cause(), "rank 1 (process 1001) has not been heard of for 5 s");
}

TEST_F(GroupTest, AStepMustGetOn) {
  MakeBothReady(0);
  v1::Heartbeat heartbeat;
  const auto check = [&](double now, uint64_t progress_0, uint64_t progress_1) {
    heartbeat.set_progress(progress_0);
    group_.OnHeartbeat(10, heartbeat, now);
    heartbeat.set_progress(progress_1);
    group_.OnHeartbeat(11, heartbeat, now);
    group_.CheckDeadlines(now);
    return cause();
  };
  EXPECT_EQ(check(1000, 5, 5), "");  // idle is not stuck
  EXPECT_TRUE(group_.responsive(1000));
  group_.OnPlanSent(1000);
  group_.OnPlanSent(1010);
  EXPECT_TRUE(group_.OnResult(10, 1029));
  EXPECT_EQ(check(1058, 5, 5), "");
  EXPECT_FALSE(group_.responsive(1058));  // and not lost yet
  EXPECT_EQ(check(1059, 6, 5), "");       // a collective more: it gets on
  EXPECT_TRUE(group_.responsive(1060));
  EXPECT_EQ(check(1088, 6, 5), "");
  EXPECT_EQ(check(1090, 6, 5),
            "a step has not got on for 30 s; rank 1 (process 1001) is behind the others");
}

TEST_F(GroupTest, LoadingMustGetOn) {
  HelloBoth(0);
  v1::Heartbeat heartbeat;
  for (int now = 10; now <= 300; ++now) {  // as long as it likes
    heartbeat.set_progress(static_cast<uint64_t>(std::min(now, 200)));
    heartbeat.set_loaded(0.25f);
    group_.OnHeartbeat(10, heartbeat, now);
    group_.OnHeartbeat(11, {}, now);
    group_.CheckDeadlines(now);
    EXPECT_EQ(cause(), "") << now;
  }
  EXPECT_EQ(group_.rank_stats(300)[0].loaded, 0.25);
  group_.OnReady(10, MakeReady(0), 300);
  group_.OnHeartbeat(10, heartbeat, 401);
  group_.OnHeartbeat(11, {}, 401);
  group_.CheckDeadlines(401);
  EXPECT_EQ(cause(),
            "no rank has got on with loading for 100 s; rank 1 (process 1001) has loaded 0 % of "
            "its weights");
  EXPECT_FALSE(group_.loss()->configuration);
}

TEST_F(GroupTest, AResultNeedsAPlanAndRankZero) {
  MakeBothReady(0);
  group_.OnPlanSent(0);
  EXPECT_FALSE(group_.OnResult(11, 1));
  EXPECT_FALSE(group_.loss().has_value());
  EXPECT_TRUE(group_.OnResult(10, 1));
  EXPECT_FALSE(group_.OnResult(10, 1));
  EXPECT_EQ(cause(), "rank 0 sent a result for which there was no plan");
}

TEST_F(GroupTest, HellosHaveADeadline) {
  ASSERT_TRUE(group_.OnHello(10, MakeHello(0), 19).ok());
  group_.CheckDeadlines(20);
  EXPECT_EQ(cause(), "");
  group_.CheckDeadlines(21);
  EXPECT_EQ(cause(), "only 1 of 2 ranks had said hello 20 s after their launch");
}

TEST_F(GroupTest, AFailureBeforeAllAreReadyIsOneOfTheConfiguration) {
  v1::Failure failure;
  failure.set_code(5);
  failure.set_message("no such model");
  group_.OnFailure(10, failure);
  EXPECT_FALSE(group_.loss().has_value());  // nobody knows who said it
  HelloBoth(0);
  group_.OnFailure(10, failure);
  EXPECT_EQ(cause(), "no such model");
  EXPECT_EQ(group_.loss()->cause.code(), StatusCode::kNotFound);
  EXPECT_TRUE(group_.loss()->configuration);

  Group running(kEpoch, kSecret, 1, {}, 0);
  ASSERT_TRUE(running.OnHello(10, MakeHello(0, 1), 0).ok());
  running.OnReady(10, MakeReady(0), 0);
  failure.set_code(99);
  running.OnFailure(10, failure);
  EXPECT_EQ(running.loss()->cause.code(), StatusCode::kInternal);
  EXPECT_FALSE(running.loss()->configuration);
}

TEST_F(GroupTest, HeartbeatsTellTheMeansOfTheLastSeconds) {
  HelloBoth(0);
  EXPECT_EQ(group_.rank_stats(1).size(), 2u);
  EXPECT_EQ(group_.rank_stats(1)[0].step_ms, 0);
  group_.OnHeartbeat(10, fakes::FakeHeartbeat(7), 1);
  EXPECT_NEAR(group_.rank_stats(1)[0].step_ms, 2, 1e-9);  // its first steps count, too
  // Slow steps of 100 ms, then fast ones of 2 ms: after the window only those count.
  v1::Heartbeat heartbeat;
  for (int second = 1; second <= 30; ++second) {
    const bool slow = second <= 10;
    heartbeat.set_steps_done(heartbeat.steps_done() + 10);
    heartbeat.set_step_us(heartbeat.step_us() + 10 * (slow ? 100'000 : 2'000));
    heartbeat.set_collective_us(heartbeat.collective_us() + 10 * (slow ? 1'000 : 500));
    heartbeat.set_sampling_us(heartbeat.sampling_us() + 10 * (slow ? 300 : 200));
    group_.OnHeartbeat(11, heartbeat, second);
    if (second == 10) {
      EXPECT_NEAR(group_.rank_stats(second)[1].step_ms, 100, 1e-9);
    }
  }
  const std::vector<RankStats> stats = group_.rank_stats(31);
  ASSERT_EQ(stats.size(), 2u);
  EXPECT_EQ(stats[0].rank, 0);
  EXPECT_EQ(stats[1].rank, 1);
  EXPECT_EQ(stats[1].steps, 300);
  EXPECT_NEAR(stats[1].step_ms, 2, 1e-9);
  EXPECT_NEAR(stats[1].collective_ms, 0.5, 1e-9);
  EXPECT_NEAR(stats[1].sampling_ms, 0.2, 1e-9);
  EXPECT_EQ(stats[1].heartbeat_age_seconds, 1);

  heartbeat.set_slowest_step_us(250'000);
  group_.OnHeartbeat(11, heartbeat, 31);
  heartbeat.set_slowest_step_us(3'000);
  for (int second = 32; second <= 36; ++second) group_.OnHeartbeat(11, heartbeat, second);
  EXPECT_NEAR(group_.rank_stats(36)[1].slowest_step_ms, 250, 1e-9);
  for (int second = 37; second <= 50; ++second) group_.OnHeartbeat(11, heartbeat, second);
  EXPECT_NEAR(group_.rank_stats(50)[1].slowest_step_ms, 3, 1e-9);
}

TEST_F(GroupTest, HeartbeatsThatRunBackwardsOrFloodHarmNothing) {
  HelloBoth(0);
  group_.OnHeartbeat(10, fakes::FakeHeartbeat(100), 1);
  group_.OnHeartbeat(10, fakes::FakeHeartbeat(5), 2);
  EXPECT_EQ(group_.rank_stats(2)[0].steps, 5);
  EXPECT_EQ(group_.rank_stats(2)[0].step_ms, 0);
  for (uint64_t i = 0; i < 10000; ++i) group_.OnHeartbeat(10, fakes::FakeHeartbeat(5 + i), 3);
  EXPECT_NEAR(group_.rank_stats(3)[0].step_ms, 2, 1e-9);
}

}  // namespace
}  // namespace octet::workers
