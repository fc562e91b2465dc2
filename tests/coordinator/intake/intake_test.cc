#include "coordinator/intake/intake.h"

#include <gtest/gtest.h>

#include "tests/coordinator/intake/sink.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::intake {
namespace {

class IntakeTest : public ::testing::Test {
 protected:
  void Submitted(Submission submission) {
    const std::lock_guard lock(mutex_);
    submissions_.push_back(std::move(submission));
    more_.notify_all();
  }
  bool WaitSubmissions(size_t count) {
    std::unique_lock lock(mutex_);
    return more_.wait_for(lock, std::chrono::seconds(10),
                          [&] { return submissions_.size() >= count; });
  }
  static Request Text(std::string text) {
    Request request;
    request.prompt = std::move(text);
    return request;
  }

  tokenizer::Tokenizer tokenizer_ = fakes::TinyTokenizer();
  std::mutex mutex_;
  std::condition_variable more_;
  std::vector<Submission> submissions_;
  ModelLimits model_{.vocab = 257, .context = 64, .slots = 1, .eos_ids = {256}};
  Intake intake_{&tokenizer_,
                 {.waiting_max = 1, .prompt_bytes_max = 100},
                 [this](Submission submission) { Submitted(std::move(submission)); }};
};

TEST_F(IntakeTest, TextIsTokenizedAndHandedOn) {
  intake_.Open(model_);
  KeepingSink sink;
  ASSERT_TRUE(intake_.Submit(Text("hi"), &sink).ok());
  ASSERT_TRUE(WaitSubmissions(1));
  EXPECT_EQ(submissions_[0].sequences.at(0).prompt, (std::vector<int32_t>{'h', 'i'}));
  EXPECT_FALSE(sink.is_accepted);  // that is for the step loop to say
  submissions_[0].answer->Accept();
  EXPECT_EQ(sink.accepted.prompt_tokens, 2);
  EXPECT_EQ(sink.accepted.request_id, "request-1");
  submissions_[0].answer->Fail(Internal("test is over"));
}

TEST_F(IntakeTest, WhatTheTokensShowIsToldToTheSink) {
  intake_.Open(model_);
  KeepingSink sink;
  ASSERT_TRUE(intake_.Submit(Text(std::string(64, 'x')), &sink).ok());
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_EQ(sink.end.status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(intake_.live_requests(), 0);
}

TEST_F(IntakeTest, AClosedDoorSaysWhy) {
  KeepingSink sink;
  EXPECT_EQ(intake_.Submit(Text("x"), &sink).status().message(), "the workers are starting");
  intake_.Open(model_);
  intake_.Close(Unavailable("the service is shutting down"));
  EXPECT_EQ(intake_.Submit(Text("x"), &sink).status().message(), "the service is shutting down");
  EXPECT_EQ(intake_.live_requests(), 0);
}

TEST_F(IntakeTest, ThePlacesAreThoseThatRunAndThoseThatWait) {
  intake_.Open(model_);
  KeepingSink sinks[3];
  ASSERT_TRUE(intake_.Submit(Text("a"), &sinks[0]).ok());
  ASSERT_TRUE(intake_.Submit(Text("b"), &sinks[1]).ok());
  const auto refused = intake_.Submit(Text("c"), &sinks[2]);
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(intake_.live_requests(), 2);
  ASSERT_TRUE(WaitSubmissions(2));
  submissions_[0].answer->Fail(Internal("over"));
  EXPECT_TRUE(intake_.Submit(Text("c"), &sinks[2]).ok());
  ASSERT_TRUE(WaitSubmissions(3));
  submissions_[1].answer->Fail(Internal("over"));
  submissions_[2].answer->Fail(Internal("over"));
}

TEST_F(IntakeTest, ARequestThatIsCancelledBeforeItsTurnIsNotTokenized) {
  intake_.Open(model_);
  KeepingSink sink;
  sink.cancel_requested = true;
  ASSERT_TRUE(intake_.Submit(Text("x"), &sink).ok());
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_EQ(sink.end.status.code(), StatusCode::kCancelled);
  EXPECT_TRUE(submissions_.empty());
}

}  // namespace
}  // namespace octet::intake
