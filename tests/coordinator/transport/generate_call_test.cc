// One stream with several answers, driven by hand in place of the step loop.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
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
    intake_.Open({.vocab = 257, .context = 64, .slots = 4, .eos_ids = {256}});
    auto server = GenerationServer::Start({.address = "127.0.0.1:0"}, &intake_,
                                          {[](uint64_t) {}, [] { return ServiceStats(); }});
    OCTET_CHECK(server.ok());
    server_ = std::move(*server);
    stub_ = v1::Generation::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials()));
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
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

}  // namespace
}  // namespace octet::transport
