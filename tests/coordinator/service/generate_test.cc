// Generate from a client's side: tokens, text, limits, cancels, the queue.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/coordinator/service/serving.h"
#include "tests/coordinator/support/fake_engine.h"

namespace octet::coordinator {
namespace {

using fakes::BytesAsTokens;
using fakes::FakeAnswer;

// That come together, late enough in the text to end an answer.
std::string TwoCharactersOf(const std::string& text) {
  size_t at = text.size() / 2;
  while ((text[at] & 0x80) != 0 || (text[at + 1] & 0x80) != 0) ++at;
  return text.substr(at, 2);
}

TEST_F(Serving, AnAnswerIsTheTokensOfTheEngineAndTheirText) {
  StartReady(2);
  const Answered answer = Ask(Prompt("hello", 40));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  const std::vector<int32_t> expected = FakeAnswer(BytesAsTokens("hello"), 40, 0, 0);
  EXPECT_EQ(answer.tokens, expected);
  EXPECT_EQ(answer.text, fakes::TinyTokenizer().Decode(expected, true));
  ASSERT_TRUE(answer.is_complete);
  EXPECT_EQ(answer.complete.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(answer.complete.has_stop_token_id());
  EXPECT_EQ(answer.complete.usage().prompt_tokens(), 5);
  EXPECT_EQ(answer.complete.usage().completion_tokens(), 40);
  EXPECT_EQ(answer.accepted.prompt_tokens(), 5);
  EXPECT_EQ(answer.accepted.max_tokens(), 40);
}

TEST_F(Serving, TokenIdsAreTakenAsTheyAre) {
  StartReady();
  v1::GenerateRequest request = Prompt("", 8);
  for (const int32_t id : {7, 256, 9}) request.mutable_token_ids()->add_ids(id);
  const Answered answer = Ask(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.tokens, FakeAnswer({7, 256, 9}, 8, 0, 0));
}

TEST_F(Serving, AStopTokenEndsTheAnswerAndIsNotPrinted) {
  StartReady();
  const std::vector<int32_t> expected = FakeAnswer(BytesAsTokens("stop"), 20, 0, 0);
  v1::GenerateRequest request = Prompt("stop", 20);
  request.mutable_sampling_params()->add_stop_token_ids(expected[6]);
  const Answered answer = Ask(request);
  const auto stop = std::find(expected.begin(), expected.end(), expected[6]) + 1;
  EXPECT_EQ(answer.tokens, std::vector<int32_t>(expected.begin(), stop));
  EXPECT_EQ(answer.text, fakes::TinyTokenizer().Decode({expected.begin(), stop - 1}, true));
  EXPECT_EQ(answer.complete.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(answer.complete.stop_token_id(), expected[6]);
}

TEST_F(Serving, AStopStringEndsTheAnswerAndItsSequence) {
  StartReady();
  const std::string prompt = "find me a stop";
  const std::vector<int32_t> expected = FakeAnswer(BytesAsTokens(prompt), 400, 0, 0);
  const std::string text = fakes::TinyTokenizer().Decode(expected, true);
  const std::string stop = TwoCharactersOf(text);
  v1::GenerateRequest request = Prompt(prompt, 400);
  request.mutable_sampling_params()->add_stop(stop);
  const Answered answer = Ask(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.text, text.substr(0, text.find(stop)));
  EXPECT_EQ(answer.complete.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(answer.complete.stop_string(), stop);
  EXPECT_EQ(answer.complete.usage().completion_tokens(),
            static_cast<int64_t>(answer.tokens.size()));
  EXPECT_LT(answer.tokens.size(), 400u);
  EXPECT_EQ(answer.tokens,
            std::vector<int32_t>(expected.begin(), expected.begin() + answer.tokens.size()));
  EXPECT_TRUE(WaitIdle());  // the engine was told, too
}

TEST_F(Serving, AStreamIntervalChangesMessagesAlone) {
  options_.stream_interval = 7;
  StartReady();
  const std::vector<int32_t> expected = FakeAnswer(BytesAsTokens("hello"), 40, 0, 0);
  const std::string text = fakes::TinyTokenizer().Decode(expected, true);
  const Answered whole = Ask(Prompt("hello", 40));
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  EXPECT_EQ(whole.tokens, expected);
  EXPECT_EQ(whole.text, text);
  EXPECT_LE(whole.chunks, 1 + (39 + 6) / 7);
  EXPECT_EQ(whole.complete.usage().completion_tokens(), 40);

  v1::GenerateRequest request = Prompt("hello", 40);
  const std::string stop = TwoCharactersOf(text);
  request.mutable_sampling_params()->add_stop(stop);
  const Answered stopped = Ask(request);
  EXPECT_EQ(stopped.text, text.substr(0, text.find(stop)));
  EXPECT_EQ(stopped.complete.stop_string(), stop);
  EXPECT_EQ(stopped.complete.usage().completion_tokens(),
            static_cast<int64_t>(stopped.tokens.size()));
}

TEST_F(Serving, EchoTellsThePromptBeforeTheAnswer) {
  StartReady();
  v1::GenerateRequest request = Prompt("say it<|end|> again \xc3\xa9", 5);
  request.set_echo(true);
  request.set_skip_special_tokens(false);
  const Answered answer = Ask(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.prompt_text, "say it<|end|> again \xc3\xa9");
  EXPECT_EQ(answer.accepted.prompt_tokens(), static_cast<int64_t>(answer.prompt_tokens.size()));
  EXPECT_EQ(answer.tokens, FakeAnswer(answer.prompt_tokens, 5, 0, 0));
}

TEST_F(Serving, AChatWithoutATemplateIsRefused) {
  StartReady();
  v1::GenerateRequest request = Prompt("", 5);
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("hi");
  const Answered answer = Ask(request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_NE(answer.status.error_message().find("chat_template"), std::string::npos);
}

TEST_F(Serving, ASeedIsChosenToldAndRepeatsTheAnswer) {
  StartReady();
  v1::GenerateRequest request;
  request.set_text("dice");
  request.mutable_sampling_params()->set_max_tokens(12);
  const Answered first = Ask(request);
  const Answered second = Ask(request);
  EXPECT_NE(first.accepted.seed(), second.accepted.seed());
  EXPECT_NE(first.tokens, second.tokens);
  request.mutable_sampling_params()->set_seed(first.accepted.seed());
  EXPECT_EQ(Ask(request).tokens, first.tokens);
}

TEST_F(Serving, ManyAtOnceGetWhatTheyWouldGetAlone) {
  StartReady(2);
  std::vector<std::thread> clients;
  std::vector<Answered> answers(24);
  for (size_t i = 0; i < answers.size(); ++i)
    clients.emplace_back([this, i, &answers] {
      answers[i] = Ask(Prompt(std::string(i * 5 + 1, static_cast<char>('a' + i)), 30 + i));
    });
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].status.ok()) << answers[i].status.error_message();
    EXPECT_EQ(
        answers[i].tokens,
        FakeAnswer(std::vector<int32_t>(i * 5 + 1, 'a' + static_cast<int32_t>(i)), 30 + i, 0, 0));
  }
  EXPECT_TRUE(WaitAllFree());
}

TEST_F(Serving, HundredsOfStreamsAtOnce) {
  options_.max_waiting = 400;
  StartReady();
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int32_t i = 0; i < 300; ++i)
    clients.emplace_back([this, i, &right] {
      v1::GenerateRequest request = Prompt("", 10);
      for (const int32_t id : {i % 256, i / 256, 5}) request.mutable_token_ids()->add_ids(id);
      right += Ask(request).tokens == FakeAnswer({i % 256, i / 256, 5}, 10, 0, 0);
    });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 300);
  EXPECT_TRUE(WaitAllFree());
}

TEST_F(Serving, TwoPlansAreInFlightBeforeTheFirstResult) {
  StartReady();
  ranks_[0]->Pause();
  std::thread client([this] { EXPECT_TRUE(Ask(Prompt("pipeline", 5)).status.ok()); });
  EXPECT_TRUE(ranks_[0]->PlansWithin(2, kWaitSeconds));
  EXPECT_FALSE(ranks_[0]->PlansWithin(3, 0.2));
  ranks_[0]->Resume();
  client.join();
}

TEST_F(Serving, ACancelledAnswerFreesItsPlace) {
  options_.max_waiting = 1;
  rank_options_.model.set_slots(1);
  StartReady();
  ranks_[0]->Pause();
  grpc::ClientContext context;
  const auto reader = stub().Generate(&context, Prompt("cancel me", 400));
  ASSERT_TRUE(ranks_[0]->PlansWithin(1, kWaitSeconds));
  context.TryCancel();
  EXPECT_EQ(ReadAll(reader.get()).status.error_code(), grpc::StatusCode::CANCELLED);
  ranks_[0]->Resume();
  EXPECT_TRUE(Ask(Prompt("next", 3)).status.ok());
  EXPECT_TRUE(WaitAllFree());
}

TEST_F(Serving, AFullQueueRefusesAtOnceAndRecovers) {
  options_.max_waiting = 2;
  rank_options_.model.set_slots(1);
  StartReady();
  ranks_[0]->Pause();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> readers;
  for (int i = 0; i < 3; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub().Generate(contexts.back().get(), Prompt("queue", 4)));
    v1::GenerateResponse accepted;
    ASSERT_TRUE(readers.back()->Read(&accepted));
    EXPECT_TRUE(accepted.has_accepted());
  }
  const Answered refused = Ask(Prompt("one too many", 4));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.status.error_message(),
            "the queue is full: 3 sequences wait or run, the request brings 1, and the limit is 3; "
            "try again later");
  ranks_[0]->Resume();
  for (const auto& reader : readers) EXPECT_TRUE(ReadAll(reader.get()).status.ok());
  EXPECT_TRUE(Ask(Prompt("after", 4)).status.ok());
}

TEST_F(Serving, AWrongRequestIsRefusedWithOneSentence) {
  StartReady();
  const auto message = [this](const v1::GenerateRequest& request) {
    const Answered answer = Ask(request);
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return answer.status.error_message();
  };
  v1::GenerateRequest none = Prompt("", 1);
  none.clear_prompt();
  EXPECT_EQ(message(none), "prompt is missing; it must be one of text, token_ids and chat");
  EXPECT_EQ(message(Prompt("", 1)), "prompt has 0 tokens; it must have at least 1");
  EXPECT_EQ(message(Prompt("x", 512)),
            "max_tokens is 512; a prompt of 1 tokens leaves 511 of the context of 512");
  v1::GenerateRequest zero = Prompt("x", 0);
  EXPECT_EQ(message(zero), "max_tokens is 0; it must be at least 1");
  v1::GenerateRequest cold = Prompt("x", 1);
  cold.mutable_sampling_params()->set_temperature(-1);
  EXPECT_EQ(message(cold), "temperature is -1; it must be 0 (greedy) or between 0.001 and 100");
}

}  // namespace
}  // namespace octet::coordinator
