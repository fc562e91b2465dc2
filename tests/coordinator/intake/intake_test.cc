#include "coordinator/intake/intake.h"

#include <gtest/gtest.h>

#include <algorithm>

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
  EXPECT_EQ(intake_.live_sequences(), 0);
}

TEST_F(IntakeTest, AClosedDoorSaysWhy) {
  KeepingSink sink;
  EXPECT_EQ(intake_.Submit(Text("x"), &sink).status().message(), "the workers are starting");
  intake_.Open(model_);
  intake_.Close(Unavailable("the service is shutting down"));
  EXPECT_EQ(intake_.Submit(Text("x"), &sink).status().message(), "the service is shutting down");
  EXPECT_EQ(intake_.live_sequences(), 0);
}

TEST_F(IntakeTest, ThePlacesAreThoseThatRunAndThoseThatWait) {
  intake_.Open(model_);
  KeepingSink sinks[3];
  ASSERT_TRUE(intake_.Submit(Text("a"), &sinks[0]).ok());
  ASSERT_TRUE(intake_.Submit(Text("b"), &sinks[1]).ok());
  const auto refused = intake_.Submit(Text("c"), &sinks[2]);
  EXPECT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(intake_.live_sequences(), 2);
  ASSERT_TRUE(WaitSubmissions(2));
  submissions_[0].answer->Fail(Internal("over"));
  EXPECT_TRUE(intake_.Submit(Text("c"), &sinks[2]).ok());
  ASSERT_TRUE(WaitSubmissions(3));
  submissions_[1].answer->Fail(Internal("over"));
  submissions_[2].answer->Fail(Internal("over"));
}

TEST_F(IntakeTest, ARequestTakesAPlaceForEachSample) {
  intake_.Open(model_);
  KeepingSink sinks[3];
  Request two = Text("ab");
  two.n = 2;
  ASSERT_TRUE(intake_.Submit(Text("a"), &sinks[0]).ok());
  EXPECT_EQ(intake_.Submit(two, &sinks[1]).status().message(),
            "the queue is full: 1 sequences wait or run, the request brings 2, and the limit is 2; "
            "try again later");
  EXPECT_EQ(intake_.live_sequences(), 1);  // what was refused took nothing
  ASSERT_TRUE(WaitSubmissions(1));
  submissions_[0].answer->Fail(Internal("over"));
  const auto id = intake_.Submit(two, &sinks[1]);
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(intake_.live_sequences(), 2);
  ASSERT_TRUE(WaitSubmissions(2));
  ASSERT_EQ(submissions_[1].sequences.size(), 2u);
  EXPECT_EQ(submissions_[1].sequences[0].id, *id);
  EXPECT_EQ(submissions_[1].sequences[1].id, *id + 1);
  submissions_[1].answer->Fail(Internal("over"));
  const auto next = intake_.Submit(Text("c"), &sinks[2]);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(*next, *id + 2);
  ASSERT_TRUE(WaitSubmissions(3));
  submissions_[2].answer->Fail(Internal("over"));
}

TEST_F(IntakeTest, RequestsAreFoundByTheirRequestIdWhileTheyLive) {
  intake_.Open(model_);
  KeepingSink sinks[2];
  Request request = Text("a");
  request.request_id = "mine";
  EXPECT_TRUE(intake_.RequestCancel("mine").empty());
  std::vector<uint64_t> ids;
  for (KeepingSink& sink : sinks) {
    const auto id = intake_.Submit(request, &sink);
    ASSERT_TRUE(id.ok());
    ids.push_back(*id);
  }
  ASSERT_TRUE(WaitSubmissions(2));
  EXPECT_TRUE(intake_.RequestCancel("other").empty());
  EXPECT_FALSE(sinks[0].cancel_requested);
  std::vector<uint64_t> found = intake_.RequestCancel("mine");
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, ids);
  EXPECT_TRUE(sinks[0].cancel_requested && sinks[1].cancel_requested);
  submissions_[0].answer->Fail(Internal("over"));
  EXPECT_EQ(intake_.RequestCancel("mine"), (std::vector<uint64_t>{ids[1]}));
  submissions_[1].answer->Fail(Internal("over"));
  EXPECT_TRUE(intake_.RequestCancel("mine").empty());
}

TEST_F(IntakeTest, AChatNeedsATemplate) {
  intake_.Open(model_);
  KeepingSink sink;
  Request request;
  request.prompt = ChatRequest{.messages = {{.role = "user", .content = "hi"}}};
  ASSERT_TRUE(intake_.Submit(request, &sink).ok());
  ASSERT_TRUE(sink.WaitEnd());
  EXPECT_EQ(sink.end.status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(sink.end.status.message().find("the model has no chat template"), std::string::npos);
  EXPECT_EQ(intake_.live_sequences(), 0);
}

// Holds the tokenizing thread in the template until it is released.
class SlowTemplate {
 public:
  Result<RenderedChat> Render(const Conversation& conversation) {
    std::unique_lock lock(mutex_);
    entered_ = true;
    changed_.notify_all();
    changed_.wait_for(lock, std::chrono::seconds(10), [this] { return released_; });
    return RenderedChat{conversation.messages[0]["content"].get<std::string>() + "<|end|>", {}};
  }
  bool WaitEntered() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return entered_; });
  }
  void Release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool entered_ = false;
  bool released_ = false;
};

TEST_F(IntakeTest, ACancelWhileOthersAreTokenizedFreesThePlaceAtOnce) {
  SlowTemplate slow;
  Intake intake(
      &tokenizer_, {.waiting_max = 1, .prompt_bytes_max = 100},
      [this](Submission submission) { Submitted(std::move(submission)); },
      [&slow](const Conversation& conversation) { return slow.Render(conversation); });
  intake.Open(model_);
  KeepingSink first;
  KeepingSink second;
  Request chat;
  chat.prompt = ChatRequest{.messages = {{.role = "user", .content = "hi"}}};
  const auto first_id = intake.Submit(chat, &first);
  ASSERT_TRUE(first_id.ok());
  ASSERT_TRUE(slow.WaitEntered());
  const auto second_id = intake.Submit(Text("x"), &second);
  ASSERT_TRUE(second_id.ok());
  second.cancel_requested = true;
  intake.Withdraw(*second_id);
  EXPECT_TRUE(second.has_ended);
  EXPECT_EQ(second.end.status.code(), StatusCode::kCancelled);
  EXPECT_EQ(intake.live_sequences(), 1);
  EXPECT_EQ(intake.cancelled(), 1);
  // The one that is being tokenized ends as soon as that is over.
  first.cancel_requested = true;
  intake.Withdraw(*first_id);
  EXPECT_FALSE(first.has_ended);
  slow.Release();
  ASSERT_TRUE(first.WaitEnd());
  EXPECT_EQ(first.end.status.code(), StatusCode::kCancelled);
  EXPECT_EQ(intake.live_sequences(), 0);
  EXPECT_EQ(intake.cancelled(), 2);
  EXPECT_TRUE(submissions_.empty());
}

TEST_F(IntakeTest, ALongPromptDelaysNoShortOne) {
  SlowTemplate slow;
  Intake intake(
      &tokenizer_, {}, [this](Submission submission) { Submitted(std::move(submission)); },
      [&slow](const Conversation& conversation) { return slow.Render(conversation); });
  intake.Open(model_);
  KeepingSink long_sink;
  KeepingSink waiting_sink;
  KeepingSink short_sink;
  Request chat;
  chat.prompt = ChatRequest{
      .messages = {{.role = "user", .content = std::string(kShortPromptBytesMax, 'x')}}};
  const auto long_id = intake.Submit(chat, &long_sink);
  ASSERT_TRUE(long_id.ok());
  ASSERT_TRUE(slow.WaitEntered());
  const auto waiting_id = intake.Submit(chat, &waiting_sink);
  ASSERT_TRUE(waiting_id.ok());
  // Too long for the model, which is known once it is tokenized: its end says that it was.
  ASSERT_TRUE(intake.Submit(Text(std::string(kShortPromptBytesMax, 'x')), &short_sink).ok());
  ASSERT_TRUE(short_sink.WaitEnd());
  EXPECT_EQ(short_sink.end.status.code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(long_sink.has_ended);
  // One that waits behind the long one can be withdrawn.
  waiting_sink.cancel_requested = true;
  intake.Withdraw(*waiting_id);
  EXPECT_TRUE(waiting_sink.has_ended);
  long_sink.cancel_requested = true;
  slow.Release();
  ASSERT_TRUE(long_sink.WaitEnd());
  EXPECT_EQ(intake.live_sequences(), 0);
}

TEST_F(IntakeTest, ARenderedChatIsTokenizedWithItsSpecialTokensAndNoOthers) {
  Intake intake(
      &tokenizer_, {}, [this](Submission submission) { Submitted(std::move(submission)); },
      [](const Conversation& c) -> Result<RenderedChat> {
        const auto content = c.messages[0]["content"].get<std::string>();
        return RenderedChat{content + "<|end|>", ByteSpans::Whole(content.size())};
      });
  const auto tokens = [&](const std::string& content) {
    const Prompt prompt = ChatRequest{.messages = {{.role = "user", .content = content}}};
    const auto encoded = intake.Encode(prompt, true, /*parse_special_tokens=*/false);
    EXPECT_TRUE(encoded.ok());
    return *encoded;
  };
  EXPECT_EQ(tokens("hi"), (std::vector<int32_t>{'h', 'i', 256}));
  EXPECT_EQ(tokens("<|end|>"), (std::vector<int32_t>{'<', '|', 'e', 'n', 'd', '|', '>', 256}));
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
