// Workers that die, hang, lie or do not fit together, seen from a client.
#include <gtest/gtest.h>

#include <thread>

#include "tests/coordinator/service/serving.h"
#include "tests/coordinator/support/fake_engine.h"
#include "tests/support/fault_table.h"

namespace octet::coordinator {
namespace {

using fakes::BytesAsTokens;
using fakes::FakeAnswer;

TEST_F(Serving, AnAnswerGoesOnWithOtherWorkersWithoutAChange) {
  StartReady(2);
  ranks_[0]->Pause();
  std::vector<Answered> answers(6);  // more than there are slots
  std::vector<std::thread> clients;
  for (size_t i = 0; i < answers.size(); ++i)
    clients.emplace_back([this, i, &answers] {
      answers[i] = Ask(Prompt(std::string(3 * i + 2, static_cast<char>('k' + i)), 60));
    });
  // Whoever came while there are no workers would be refused.
  ASSERT_TRUE(WaitCounters([](const auto& now) { return now.running + now.waiting == 6; }));
  ranks_[0]->Resume();
  ASSERT_TRUE(ranks_[0]->PlansWithin(20, kWaitSeconds));
  ranks_[0]->Pause();  // so that some of the answers are certainly not at their end
  ranks_[1]->Die();
  ASSERT_TRUE(WaitServing(false));
  ReplaceRanks(2);
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].status.ok()) << answers[i].status.error_message();
    EXPECT_EQ(answers[i].tokens,
              FakeAnswer(std::vector<int32_t>(3 * i + 2, 'k' + static_cast<int32_t>(i)), 60, 0, 0));
  }
  EXPECT_TRUE(WaitServing(true));
}

TEST_F(Serving, NewRequestsAreRefusedWhileTheWorkersAreAway) {
  StartReady();
  ranks_[0]->Die();
  ASSERT_TRUE(WaitServing(false));
  const Answered answer = Ask(Prompt("now", 3));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(answer.status.error_message().find("the workers are starting again: rank 0"),
            std::string::npos)
      << answer.status.error_message();
}

TEST_F(Serving, ServingMeansThatAStepCameOut) {
  options_.self_test_seconds = 60;
  rank_options_.paused = true;
  ASSERT_NO_FATAL_FAILURE(Start());
  ranks_.push_back(MakeRank(0, 1));
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));  // it says that it is ready
  EXPECT_FALSE(service_->WaitReady(0.1));
  EXPECT_EQ(Health("octet.v1.Generation"), 2);
  ranks_[0]->Resume();
  EXPECT_TRUE(service_->WaitReady(kWaitSeconds));
  EXPECT_TRUE(WaitServing(true));
  EXPECT_TRUE(Ask(Prompt("now", 3)).status.ok());
}

TEST_F(Serving, AHungRankIsNoticedByItsSilence) {
  options_.heartbeat_seconds_max = 1;
  rank_options_.heartbeats = false;
  StartReady();
  EXPECT_TRUE(WaitServing(false));
}

TEST_F(Serving, AStepThatDoesNotEndIsNoticed) {
  options_.step_stall_seconds_max = 1;
  StartReady();
  ranks_[0]->Pause();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("stuck", 5));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.tokens, FakeAnswer(BytesAsTokens("stuck"), 5, 0, 0));
  });
  EXPECT_TRUE(WaitServing(false));
  ReplaceRanks(1);
  client.join();
}

TEST_F(Serving, AWrongResultCondemnsTheGroup) {
  StartReady();
  ranks_[0]->Pause();
  std::thread client([this] { EXPECT_TRUE(Ask(Prompt("liar", 5)).status.ok()); });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  v1::StepResult lie;
  lie.set_step(77);
  ranks_[0]->SendResult(lie);
  EXPECT_TRUE(WaitServing(false));
  testing::FaultSeen("F30", "rank 0 sends the result of a step that is not due", LastLoss());
  ReplaceRanks(1);
  client.join();
}

TEST_F(Serving, ATokenThatIsNoneOfTheModelsCondemnsTheGroup) {
  StartReady();
  ranks_[0]->Pause();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("liar", 5));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.tokens, FakeAnswer(BytesAsTokens("liar"), 5, 0, 0));
  });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  v1::StepResult lie;
  lie.set_step(1);
  lie.add_slots(0);
  lie.add_tokens(1 << 30);
  ranks_[0]->SendResult(lie);
  EXPECT_TRUE(WaitServing(false));
  testing::FaultSeen("F30", "rank 0 sends a token outside the vocabulary", LastLoss());
  ReplaceRanks(1);
  client.join();
}

TEST_F(Serving, AResultThatNobodyAskedForCondemnsTheGroup) {
  StartReady();
  v1::StepResult lie;
  lie.set_step(1);
  ranks_[0]->SendResult(lie);
  EXPECT_TRUE(WaitServing(false));
  testing::FaultSeen("F30", "rank 0 sends a result while it is idle", LastLoss());
  ReplaceRanks(1);
  EXPECT_TRUE(WaitServing(true));
  const Answered answer = Ask(Prompt("well again", 3));
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

TEST_F(Serving, ALossAfterTheLastRestartIsTheEnd) {
  options_.restart_delays_seconds = {0};
  rank_options_.paused = true;
  StartReady();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("doomed", 400));
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_FALSE(answer.is_complete);
    EXPECT_NE(answer.status.error_message().find("the workers are gone: rank 0"), std::string::npos)
        << answer.status.error_message();
  });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  ranks_.clear();
  ASSERT_TRUE(WaitServing(false));
  ReplaceRanks(1);
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  EXPECT_FALSE(service_->failure().has_value());
  ranks_.clear();
  client.join();
  // The service knows of it a moment after its clients do.
  ASSERT_TRUE(WaitFailure());
  EXPECT_EQ(service_->failure()->exit_code, 1);
}

TEST_F(Serving, StartsThatFailOnceAGroupHasWorkedAreNoLosses) {
  options_.restart_delays_seconds = {0};
  rank_options_.paused = true;
  StartReady();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("patient", 5));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.tokens, FakeAnswer(BytesAsTokens("patient"), 5, 0, 0));
  });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  ranks_.clear();
  ASSERT_TRUE(WaitServing(false));
  rank_options_.failure = "config.json: not found";
  for (int i = 0; i < 4; ++i) {
    ranks_.push_back(MakeRank(0, 1));
    ranks_.back()->Wait();
    ranks_.clear();
  }
  rank_options_.failure.clear();
  rank_options_.paused = false;
  ReplaceRanks(1);
  client.join();
  EXPECT_FALSE(service_->failure().has_value());
}

TEST_F(Serving, AStrangerIsTurnedAwayAndHarmsNobody) {
  StartReady();
  for (const bool wrong_secret : {true, false}) {
    fakes::FakeRankOptions stranger = rank_options_;
    stranger.address = service_->link_address();
    if (wrong_secret)
      stranger.secret = "a guess";
    else
      stranger.epoch = 3;
    fakes::FakeRank rank(stranger);
    const auto end = rank.Wait();
    EXPECT_EQ(end.code, static_cast<int>(grpc::StatusCode::PERMISSION_DENIED)) << end.message;
  }
  EXPECT_TRUE(Ask(Prompt("still here", 3)).status.ok());
}

TEST_F(Serving, RanksOfTwoBuildsAreRefusedWithBoth) {
  options_.ranks = 2;
  Start();
  ranks_.push_back(MakeRank(0, 2));
  ASSERT_TRUE(ranks_[0]->WelcomeWithin(kWaitSeconds));
  rank_options_.build_id = "build-b";
  ranks_.push_back(MakeRank(1, 2));
  EXPECT_FALSE(service_->WaitReady(kWaitSeconds));
  const auto failure = service_->failure();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->exit_code, 2);
  EXPECT_EQ(failure->cause.message(), "builds differ: rank 1 has 'build-b', rank 0 has 'build-a'");
  testing::FaultSeen(
      "F29", "ranks of two builds",
      "exit code " + std::to_string(failure->exit_code) + ": " + failure->cause.message());
}

TEST_F(Serving, AFailureToStartIsPassedOn) {
  Start();
  rank_options_.failure = "model.safetensors: tensor 'x' is missing";
  ranks_.push_back(MakeRank(0, 1));
  EXPECT_FALSE(service_->WaitReady(kWaitSeconds));
  const auto failure = service_->failure();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->exit_code, 2);
  EXPECT_EQ(failure->cause.message(), "model.safetensors: tensor 'x' is missing");
}

// A model's folder that is away for a moment, say: once a group has worked, another try may do.
TEST_F(Serving, AFailureToStartAgainIsTriedAgain) {
  StartReady();
  ranks_[0]->Pause();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("patient", 5));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.tokens, FakeAnswer(BytesAsTokens("patient"), 5, 0, 0));
  });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  rank_options_.failure = "the model is not a folder";
  ReplaceRanks(1);
  ranks_[0]->Wait();
  rank_options_.failure = "";
  ReplaceRanks(1);
  client.join();
  EXPECT_FALSE(service_->failure().has_value());
}

TEST_F(Serving, AnotherModelThatStartsAgainIsRefused) {
  StartReady();
  ranks_.clear();
  ASSERT_TRUE(WaitServing(false));
  rank_options_.model.set_kv_blocks(63);
  ReplaceRanks(1);
  ASSERT_TRUE(WaitFailure());
  EXPECT_EQ(service_->failure()->cause.message(),
            "the workers that started again have KV blocks 63; the first had 64");
}

TEST_F(Serving, AStopLetsAnswersEndAndTellsTheRanks) {
  StartReady(2);
  ranks_[0]->Pause();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("almost", 20));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.tokens, FakeAnswer(BytesAsTokens("almost"), 20, 0, 0));
  });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  std::thread stop([this] { service_->Stop(kWaitSeconds); });
  EXPECT_TRUE(WaitServing(false));
  EXPECT_EQ(Ask(Prompt("too late", 3)).status.error_message(), "the service is shutting down");
  ranks_[0]->Resume();
  client.join();
  stop.join();
  for (const auto& rank : ranks_) EXPECT_TRUE(rank->Wait().told_to_stop);
}

TEST_F(Serving, ALossWhileAStopWaitsChangesNoReason) {
  StartReady();
  ranks_[0]->Pause();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("almost", 20));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.tokens, FakeAnswer(BytesAsTokens("almost"), 20, 0, 0));
  });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  std::thread stop([this] { service_->Stop(kWaitSeconds); });
  EXPECT_TRUE(WaitServing(false));
  ranks_.clear();
  for (int i = 0; i < 2000 && LastLoss().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(Ask(Prompt("too late", 3)).status.error_message(), "the service is shutting down");
  ReplaceRanks(1);
  client.join();
  stop.join();
}

TEST_F(Serving, AStopWithoutGraceEndsAnswersAsUnavailable) {
  StartReady();
  ranks_[0]->Pause();
  std::thread client([this] {
    const Answered answer = Ask(Prompt("cut", 20));
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(answer.status.error_message(), "the service is shutting down");
  });
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  service_->Stop(0);
  client.join();
}

}  // namespace
}  // namespace octet::coordinator
