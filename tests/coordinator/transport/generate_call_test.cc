// One stream with several answers, driven by hand in place of the step loop.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "coordinator/transport/generation_server.h"
#include "octet/v1/generation.grpc.pb.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::transport {
namespace {

class GenerateCallTest : public ::testing::Test {
 protected:
  GenerateCallTest() {
    intake_.Open({.vocab = 257, .context = 20'000, .slots = 4, .eos_ids = {256}});
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    Serve(1);
  }

  void Serve(int64_t stream_interval, int64_t unread_bytes_max = kUnreadBytesMaxDefault) {
    server_.reset();
    auto server =
        GenerationServer::Start({.address = "127.0.0.1:0",
                                 .stream_interval = stream_interval,
                                 .unread_bytes_max = unread_bytes_max},
                                &intake_, {[](uint64_t) {}, [] { return ServiceStats(); }});
    OCTET_CHECK(server.ok());
    server_ = std::move(*server);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // or gRPC holds megabytes for a slow client
    stub_ = v1::Generation::NewStub(
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                  grpc::InsecureChannelCredentials(), arguments));
  }

  intake::Answer& WaitAnswer() {
    std::unique_lock lock(mutex_);
    OCTET_CHECK(arrived_.wait_for(lock, std::chrono::seconds(10),
                                  [this] { return submission_ != nullptr; }));
    return *submission_->answer;
  }

  tokenizer::Tokenizer tokenizer_ = fakes::TinyTokenizer();
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::unique_ptr<intake::Submission> submission_;
  intake::Intake intake_{&tokenizer_, {}, [this](intake::Submission submission) {
                           const std::lock_guard lock(mutex_);
                           submission_ =
                               std::make_unique<intake::Submission>(std::move(submission));
                           arrived_.notify_all();
                         }};
  std::unique_ptr<GenerationServer> server_;
  std::unique_ptr<v1::Generation::Stub> stub_;
  grpc::ClientContext context_;
};

TEST_F(GenerateCallTest, SamplesComeByTheirIndexAfterThePrompt) {
  v1::GenerateRequest request;
  request.set_text("ab");
  request.set_echo(true);
  request.mutable_sampling_params()->set_n(2);
  request.mutable_sampling_params()->set_prompt_logprobs(0);
  const auto reader = stub_->Generate(&context_, request);
  intake::Answer& answer = WaitAnswer();
  ASSERT_EQ(submission_->sequences.size(), 2u);
  answer.Accept();
  v1::GenerateResponse response;
  std::string order;
  for (int i = 0; i < 2; ++i) {  // the stream is idle then
    ASSERT_TRUE(reader->Read(&response));
    order += response.has_accepted() ? 'a' : 'p';
  }
  // The second sample is faster than the log-probabilities of the prompt.
  answer.Take(1, {.token = 'X', .position = 0});
  EXPECT_TRUE(answer.Take(
      1,
      {.token = 'Y', .position = 1, .finished = true, .reason = schedule::FinishReason::kLength}));
  answer.Take(
      0, {.token = 'Z', .position = 0, .prompt_position = 1, .prompt_logprobs = {{-1.0f, {}, {}}}});
  EXPECT_TRUE(answer.Take(0, {.token = 256, .position = 1, .finished = true}));

  std::string texts[2];
  while (reader->Read(&response)) {
    if (response.has_accepted()) order += 'a';
    if (response.has_prompt()) order += 'p';
    if (response.has_chunk()) {
      order += 'c';
      texts[response.chunk().index()] += response.chunk().text();
    }
    if (response.has_complete()) {
      const auto& complete = response.complete();
      EXPECT_EQ(complete.has_stop_token_id(), complete.index() == 0);
      EXPECT_EQ(complete.usage().completion_tokens(), 2);
      order += 'e';
    }
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(order[0], 'a');
  EXPECT_LT(order.rfind('p'), order.find('c')) << order;
  EXPECT_EQ(std::count(order.begin(), order.end(), 'e'), 2) << order;
  EXPECT_EQ(texts[0], "Z");
  EXPECT_EQ(texts[1], "XY");
}

// Nothing is read until all is said: what waits is a few messages, none of them too long.
TEST_F(GenerateCallTest, ASlowClientGetsFewMessagesOfBoundedLength) {
  v1::GenerateRequest request;
  request.set_text("ab");
  const auto reader = stub_->Generate(&context_, request);
  intake::Answer& answer = WaitAnswer();
  answer.Accept();
  constexpr int64_t kTokens = 100'000;
  for (int64_t i = 0; i < kTokens; ++i)
    answer.Take(0, {.token = 'x',
                    .position = i,
                    .finished = i + 1 == kTokens,
                    .reason = schedule::FinishReason::kLength});
  int64_t tokens = 0;
  int64_t messages = 0;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    ++messages;
    if (!response.has_chunk()) continue;
    EXPECT_EQ(response.chunk().first_position(), tokens);
    EXPECT_LE(response.chunk().token_ids_size(), 4096);
    tokens += response.chunk().token_ids_size();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, kTokens);
  EXPECT_LT(messages, kTokens / 2);
}

// One step may bring the log-probabilities of a whole long prompt.
TEST_F(GenerateCallTest, APromptComesInMessagesOfBoundedLength) {
  constexpr int64_t kTokens = 10'000;
  v1::GenerateRequest request;
  request.set_text(std::string(kTokens, 'p'));
  request.set_echo(true);
  request.mutable_sampling_params()->set_prompt_logprobs(2);
  const auto reader = stub_->Generate(&context_, request);
  intake::Answer& answer = WaitAnswer();
  answer.Accept();
  std::vector<schedule::TokenLogprobs> logprobs;
  for (int64_t i = 1; i < kTokens; ++i)
    logprobs.push_back({static_cast<float>(-i), {1, 2}, {-1.0f, -2.0f}});
  EXPECT_TRUE(answer.Take(0, {.token = 256,
                              .position = 0,
                              .finished = true,
                              .prompt_position = 1,
                              .prompt_logprobs = std::move(logprobs)}));
  int64_t tokens = 0;
  std::string text;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (!response.has_prompt()) continue;
    const v1::GenerateResponse::Prompt& prompt = response.prompt();
    EXPECT_EQ(prompt.first_position(), tokens);
    EXPECT_LE(prompt.token_ids_size(), 4096);
    ASSERT_EQ(prompt.logprobs_size(), prompt.token_ids_size());
    for (int i = tokens == 0 ? 1 : 0; i < prompt.logprobs_size(); ++i) {
      EXPECT_EQ(prompt.logprobs(i).logprob(), static_cast<float>(-(tokens + i)));
      EXPECT_EQ(prompt.logprobs(i).top_tokens_size(), 2);
    }
    tokens += prompt.token_ids_size();
    text += prompt.text();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, kTokens);
  EXPECT_EQ(text, request.text());
}

TEST_F(GenerateCallTest, OfAnswersThatAreNotReadTheLargestIsDropped) {
  Serve(/*stream_interval=*/1, /*unread_bytes_max=*/1 << 20);
  v1::GenerateRequest request;
  request.set_text("ab");
  const auto small_reader = stub_->Generate(&context_, request);
  WaitAnswer();
  const std::unique_ptr<intake::Submission> small = std::move(submission_);
  grpc::ClientContext large_context;
  large_context.set_deadline(context_.deadline());
  const auto large_reader = stub_->Generate(&large_context, request);
  intake::Answer& large = WaitAnswer();
  small->answer->Accept();
  large.Accept();
  const auto take = [](intake::Answer* answer, int64_t position, int64_t tokens) {
    answer->Take(0, {.token = 'x',
                     .position = position,
                     .finished = position + 1 == tokens,
                     .reason = schedule::FinishReason::kLength});
  };
  constexpr int64_t kSmallTokens = 20'000;
  for (int64_t i = 0; i < kSmallTokens; ++i) take(small->answer.get(), i, kSmallTokens);
  constexpr int64_t kLargeTokens = 1'000'000;  // five times what may be held
  for (int64_t i = 0; i < kLargeTokens; ++i) take(&large, i, INT64_MAX);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!large.cancel_requested() && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_TRUE(large.cancel_requested());
  large.Fail(Status(StatusCode::kCancelled, "dropped"));
  v1::GenerateResponse response;
  while (large_reader->Read(&response)) {
  }
  EXPECT_EQ(large_reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  int64_t read = 0;
  while (small_reader->Read(&response)) read += response.chunk().token_ids_size();
  EXPECT_TRUE(small_reader->Finish().ok());
  EXPECT_EQ(read, kSmallTokens);
}

int TokensOfNextChunk(grpc::ClientReader<v1::GenerateResponse>* reader) {
  v1::GenerateResponse response;
  return reader->Read(&response) && response.has_chunk() ? response.chunk().token_ids_size() : -1;
}

// The other sample ends in between: its tokens take nobody else's along.
TEST_F(GenerateCallTest, AnIntervalHoldsTokensBackButTheFirstAndTheLast) {
  Serve(/*stream_interval=*/4);
  v1::GenerateRequest request;
  request.set_text("ab");
  request.mutable_sampling_params()->set_n(2);
  const auto reader = stub_->Generate(&context_, request);
  intake::Answer& answer = WaitAnswer();
  answer.Accept();
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  ASSERT_TRUE(response.has_accepted());
  answer.Take(0, {.token = 'a', .position = 0});
  EXPECT_EQ(TokensOfNextChunk(reader.get()), 1);
  for (const int32_t token : {'b', 'c', 'd'})
    answer.Take(0, {.token = token, .position = token - 'a'});
  constexpr auto kLength = schedule::FinishReason::kLength;
  EXPECT_TRUE(answer.Take(1, {.token = 'X', .position = 0, .finished = true, .reason = kLength}));
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.chunk().index(), 1);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_TRUE(response.has_complete());
  answer.Take(0, {.token = 'e', .position = 4});
  EXPECT_EQ(TokensOfNextChunk(reader.get()), 4);
  answer.Take(0, {.token = 'f', .position = 5});
  EXPECT_TRUE(answer.Take(0, {.token = 'g', .position = 6, .finished = true, .reason = kLength}));
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.chunk().text(), "fg");
  EXPECT_EQ(response.chunk().first_position(), 5);
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.complete().usage().completion_tokens(), 7);
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(GenerateCallTest, WhatAnIntervalHeldBackComesBeforeAFailure) {
  Serve(/*stream_interval=*/100);
  v1::GenerateRequest request;
  request.set_text("ab");
  const auto reader = stub_->Generate(&context_, request);
  intake::Answer& answer = WaitAnswer();
  answer.Accept();
  answer.Take(0, {.token = 'a', .position = 0});
  v1::GenerateResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(TokensOfNextChunk(reader.get()), 1);
  answer.Take(0, {.token = 'b', .position = 1});
  answer.Fail(Unavailable("gone"));
  EXPECT_EQ(TokensOfNextChunk(reader.get()), 1);
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace octet::transport
