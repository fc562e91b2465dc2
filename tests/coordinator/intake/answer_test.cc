#include "coordinator/intake/answer.h"

#include <gtest/gtest.h>

#include "tests/coordinator/intake/sink.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::intake {
namespace {

class AnswerTest : public ::testing::Test {
 protected:
  Answer MakeAnswer() {
    return Answer(&sink_, Place(&places_), &tokenizer_, true, {"id", 7, 3, 10});
  }
  void Take(Answer* answer, const std::vector<int32_t>& tokens) {
    for (const int32_t token : tokens)
      answer->Take(0, {.id = 1, .token = token, .position = position_++});
  }

  tokenizer::Tokenizer tokenizer_ = fakes::TinyTokenizer();
  std::atomic<int64_t> places_{1};
  KeepingSink sink_;
  int64_t position_ = 0;
};

TEST_F(AnswerTest, TextComesInWholeCharacters) {
  Answer answer = MakeAnswer();
  answer.Accept();
  Take(&answer, {'a', 0xf0, 0x9f, 0x98});
  EXPECT_EQ(sink_.text, "a");
  Take(&answer, {0x80});
  EXPECT_EQ(sink_.text, "a\xf0\x9f\x98\x80");
  EXPECT_EQ(sink_.tokens, (std::vector<int32_t>{'a', 0xf0, 0x9f, 0x98, 0x80}));
}

TEST_F(AnswerTest, AnUnfinishedCharacterAtTheEndIsReplaced) {
  Answer answer = MakeAnswer();
  answer.Accept();
  Take(&answer, {'x', 0xe2, 0x82});
  answer.Take(0, {1, 'y', 3, true, schedule::FinishReason::kLength});
  EXPECT_EQ(sink_.text, "x\xef\xbf\xbdy");
  ASSERT_TRUE(sink_.has_ended);
  EXPECT_FALSE(sink_.end.stopped);
  EXPECT_EQ(sink_.end.completion_tokens, 4);
  EXPECT_EQ(sink_.end.prompt_tokens, 3);
}

TEST_F(AnswerTest, AStopTokenIsCountedAndNotPrinted) {
  Answer answer = MakeAnswer();
  answer.Accept();
  Take(&answer, {'h', 'i'});
  answer.Take(0, {1, '!', 2, true, schedule::FinishReason::kStop});
  EXPECT_EQ(sink_.text, "hi");
  EXPECT_EQ(sink_.tokens, (std::vector<int32_t>{'h', 'i', '!'}));
  EXPECT_TRUE(sink_.end.stopped);
  EXPECT_EQ(sink_.end.stop_token_id, '!');
  EXPECT_EQ(sink_.end.completion_tokens, 3);
}

TEST_F(AnswerTest, ThePlaceIsFreeWhenTheEndIsTold) {
  Answer answer = MakeAnswer();
  answer.Fail(Unavailable("gone"));
  EXPECT_EQ(places_, 0);
  EXPECT_EQ(sink_.end.status.message(), "gone");
}

}  // namespace
}  // namespace octet::intake
