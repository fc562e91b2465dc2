#include "coordinator/intake/answer.h"

#include <gtest/gtest.h>

#include "tests/coordinator/intake/sink.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::intake {
namespace {

using schedule::FinishReason;
using schedule::TokenLogprobs;

class AnswerTest : public ::testing::Test {
 protected:
  Answer MakeAnswer(AnswerOptions options = {}, bool skip_special_tokens = true) {
    places_ = options.samples;
    positions_.assign(static_cast<size_t>(options.samples), 0);
    return Answer(&sink_, Place(&places_, options.samples), &tokenizer_, skip_special_tokens,
                  {"id", 7, 3, 10}, std::move(options));
  }
  // Whether the sample was over with the last of them.
  bool Take(Answer* answer, const std::vector<int32_t>& tokens, int32_t sample = 0) {
    bool over = false;
    for (const int32_t token : tokens)
      over = answer->Take(sample, {.token = token, .position = positions_.at(sample)++});
    return over;
  }
  bool Finish(Answer* answer, int32_t token, FinishReason reason, int32_t sample = 0) {
    return answer->Take(
        sample,
        {.token = token, .position = positions_.at(sample)++, .finished = true, .reason = reason});
  }
  static std::vector<int32_t> Bytes(std::string_view text) { return fakes::BytesAsTokens(text); }

  tokenizer::Tokenizer tokenizer_ = fakes::TinyTokenizer();
  std::atomic<int64_t> places_{1};
  KeepingSink sink_;
  std::vector<int64_t> positions_;
};

TEST_F(AnswerTest, TextComesInWholeCharacters) {
  Answer answer = MakeAnswer();
  answer.Accept();
  Take(&answer, {'a', 0xf0, 0x9f, 0x98});
  EXPECT_EQ(sink_.text, "a");
  EXPECT_FALSE(Take(&answer, {0x80}));
  EXPECT_EQ(sink_.text, "a\xf0\x9f\x98\x80");
  EXPECT_EQ(sink_.tokens, (std::vector<int32_t>{'a', 0xf0, 0x9f, 0x98, 0x80}));
}

// A decoder that takes the space from the beginning of a text leaves it after a prompt with text.
TEST_F(AnswerTest, TheSpaceAfterAPromptStays) {
  const auto tokenizer = tokenizer::Tokenizer::FromJson(R"({
      "model": {"type": "BPE", "vocab": {"\u2581": 0, "a": 1, "\u2581a": 2}, "merges": ["\u2581 a"]},
      "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581"},
      "decoder": {"type": "Metaspace", "replacement": "\u2581"}})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  for (const bool follows_text : {true, false}) {
    KeepingSink sink;
    places_ = 1;
    AnswerOptions options;
    options.follows_text = follows_text;
    Answer answer(&sink, Place(&places_, 1), &*tokenizer, true, {"id", 7, 3, 10},
                  std::move(options));
    answer.Accept();
    answer.Take(0, {.token = 2, .position = 0});
    answer.Take(0, {.token = 2, .position = 1});
    EXPECT_EQ(sink.text, follows_text ? " a a" : "a a");
  }
}

TEST_F(AnswerTest, AnUnfinishedCharacterAtTheEndIsReplaced) {
  Answer answer = MakeAnswer();
  answer.Accept();
  Take(&answer, {'x', 0xe2, 0x82});
  EXPECT_TRUE(Finish(&answer, 'y', FinishReason::kLength));
  EXPECT_EQ(sink_.text, "x\xef\xbf\xbdy");
  ASSERT_TRUE(sink_.has_ended);
  EXPECT_TRUE(sink_.end.status.ok());
  EXPECT_FALSE(sink_.end.stop_token.has_value());
  EXPECT_EQ(sink_.end.completion_tokens, 4);
  EXPECT_EQ(sink_.end.prompt_tokens, 3);
}

TEST_F(AnswerTest, AStopTokenIsCountedAndNotPrinted) {
  Answer answer = MakeAnswer();
  answer.Accept();
  Take(&answer, Bytes("hi"));
  EXPECT_TRUE(Finish(&answer, '!', FinishReason::kStop));
  EXPECT_EQ(sink_.text, "hi");
  EXPECT_EQ(sink_.tokens, Bytes("hi!"));
  EXPECT_EQ(sink_.end.stop_token, '!');
  EXPECT_EQ(sink_.end.completion_tokens, 3);
}

TEST_F(AnswerTest, AStopTokenIsPrintedWhenAskedFor) {
  Answer answer = MakeAnswer({.include_stop_text = true});
  answer.Accept();
  Take(&answer, {'h', 0xe2, 0x82});
  Finish(&answer, 0xac, FinishReason::kStop);
  EXPECT_EQ(sink_.text, "h\xe2\x82\xac");
  EXPECT_EQ(sink_.end.stop_token, 0xac);
}

TEST_F(AnswerTest, AStopStringEndsTheAnswerBeforeTheEngineDoes) {
  Answer answer = MakeAnswer({.stop = {"END", "never"}});
  answer.Accept();
  EXPECT_FALSE(Take(&answer, Bytes("so EN")));
  EXPECT_EQ(sink_.text, "so ");
  EXPECT_TRUE(Take(&answer, Bytes("D")));
  EXPECT_EQ(sink_.text, "so ");
  EXPECT_EQ(sink_.tokens, Bytes("so END"));
  EXPECT_EQ(sink_.end.stop_string, "END");
  EXPECT_FALSE(sink_.end.stop_token.has_value());
  EXPECT_EQ(sink_.end.completion_tokens, 6);
  EXPECT_TRUE(sink_.has_ended);
  EXPECT_EQ(places_, 0);
}

TEST_F(AnswerTest, AStopStringIsPrintedWhenAskedFor) {
  Answer answer = MakeAnswer({.stop = {"END"}, .include_stop_text = true});
  answer.Accept();
  EXPECT_TRUE(Take(&answer, Bytes("so END")));
  EXPECT_EQ(sink_.text, "so END");
}

TEST_F(AnswerTest, AStopStringWinsOverTheLengthThatEndsWithIt) {
  Answer answer = MakeAnswer({.stop = {"D"}});
  answer.Accept();
  Take(&answer, Bytes("EN"));
  Finish(&answer, 'D', FinishReason::kLength);
  EXPECT_EQ(sink_.text, "EN");
  EXPECT_EQ(sink_.end.stop_string, "D");
}

TEST_F(AnswerTest, WhatWasHeldBackIsSentAtTheEnd) {
  Answer answer = MakeAnswer({.stop = {"abcd"}});
  answer.Accept();
  Take(&answer, Bytes("xab"));
  EXPECT_EQ(sink_.text, "x");
  Finish(&answer, 'c', FinishReason::kLength);
  EXPECT_EQ(sink_.text, "xabc");
  EXPECT_FALSE(sink_.end.stop_string.has_value());
}

TEST_F(AnswerTest, AnUnfinishedCharacterCanCompleteAStopString) {
  Answer answer = MakeAnswer({.stop = {"\xef\xbf\xbd"}});
  answer.Accept();
  Take(&answer, {'x'});
  Finish(&answer, 0xe2, FinishReason::kLength);
  EXPECT_EQ(sink_.text, "x");
  EXPECT_EQ(sink_.end.stop_string, "\xef\xbf\xbd");
}

TEST_F(AnswerTest, MinTokensDelaysStopStringsToo) {
  Answer answer = MakeAnswer({.stop = {"ab"}, .min_tokens = 4});
  answer.Accept();
  EXPECT_FALSE(Take(&answer, Bytes("aba")));
  EXPECT_EQ(sink_.text, "ab");
  EXPECT_TRUE(Take(&answer, Bytes("b")));  // the fourth
  EXPECT_EQ(sink_.text, "ab");
  EXPECT_EQ(sink_.end.completion_tokens, 4);
}

TEST_F(AnswerTest, SamplesGrowAndEndOneByOne) {
  Answer answer = MakeAnswer({.samples = 3, .stop = {"."}});
  answer.Accept();
  Take(&answer, Bytes("one"), 0);
  Take(&answer, Bytes("tw"), 1);
  EXPECT_TRUE(Take(&answer, Bytes("o."), 1));
  EXPECT_EQ(places_, 2);
  EXPECT_FALSE(sink_.has_ended);
  EXPECT_TRUE(Finish(&answer, '!', FinishReason::kStop, 0));
  EXPECT_FALSE(sink_.has_ended);
  EXPECT_TRUE(Finish(&answer, '3', FinishReason::kLength, 2));
  EXPECT_TRUE(sink_.has_ended);
  EXPECT_EQ(places_, 0);
  ASSERT_EQ(sink_.samples.size(), 3u);
  EXPECT_EQ(sink_.samples[0].text, "one");
  EXPECT_EQ(sink_.samples[0].end->stop_token, '!');
  EXPECT_EQ(sink_.samples[1].text, "two");
  EXPECT_EQ(sink_.samples[1].end->stop_string, ".");
  EXPECT_EQ(sink_.samples[1].end->completion_tokens, 4);
  EXPECT_EQ(sink_.samples[2].text, "3");
  EXPECT_EQ(sink_.samples[2].end->completion_tokens, 1);
}

TEST_F(AnswerTest, AFailedSampleEndsTheRequestOnceAllAreOver) {
  Answer answer = MakeAnswer({.samples = 2});
  answer.Accept();
  Take(&answer, Bytes("ab"), 1);
  EXPECT_TRUE(answer.Take(
      1, {.token = -1, .position = 2, .finished = true, .reason = FinishReason::kFailed}));
  EXPECT_FALSE(sink_.has_ended);
  EXPECT_TRUE(Take(&answer, Bytes("x"), 0));
  ASSERT_TRUE(sink_.has_ended);
  EXPECT_EQ(sink_.text, "");
  EXPECT_EQ(sink_.end.status.code(), StatusCode::kInternal);
  EXPECT_EQ(sink_.end.status.message(),
            "the model gave no usable logits for token 2 of answer 1: none of them is a number");
  EXPECT_EQ(places_, 0);
}

TEST_F(AnswerTest, LogprobsRideWithTheirTokenAlsoWhenItsTextIsHeldBack) {
  Answer answer = MakeAnswer({.stop = {"ab"}});
  answer.Accept();
  const TokenLogprobs logprobs{-0.5f, {'a', 'b'}, {-0.5f, -1.5f}};
  answer.Take(0, {.token = 'a', .position = 0, .logprobs = logprobs, .cached_tokens = 2});
  EXPECT_EQ(sink_.text, "");
  EXPECT_EQ(sink_.samples[0].logprobs, std::vector<TokenLogprobs>{logprobs});
  answer.Take(0, {.token = 'c', .position = 1, .finished = true, .reason = FinishReason::kLength});
  EXPECT_EQ(sink_.text, "ac");
  EXPECT_EQ(sink_.end.cached_tokens, 2);
}

TEST_F(AnswerTest, EchoTellsThePromptAtOnce) {
  Answer answer = MakeAnswer({.echo = true, .prompt = {'a', 256, 0xc3, 0xa9, 0xe2}});
  answer.Accept();
  EXPECT_TRUE(sink_.prompt_is_whole);
  EXPECT_EQ(sink_.prompt_tokens, (std::vector<int32_t>{'a', 256, 0xc3, 0xa9, 0xe2}));
  EXPECT_EQ(sink_.prompt_text, "a\xc3\xa9\xef\xbf\xbd");
  EXPECT_TRUE(sink_.prompt_logprobs.empty());
  answer.Fail(Internal("test is over"));
}

TEST_F(AnswerTest, SpecialTokensAreEchoedWhenTheyAreNotSkipped) {
  Answer answer = MakeAnswer({.echo = true, .prompt = {'a', 256}}, /*skip_special_tokens=*/false);
  answer.Accept();
  EXPECT_EQ(sink_.prompt_text, "a<|end|>");
  answer.Fail(Internal("test is over"));
}

TEST_F(AnswerTest, PromptLogprobsAreToldAsTheyCome) {
  for (const bool echo : {true, false}) {
    KeepingSink sink;
    Answer answer(&sink, Place(&places_, 0), &tokenizer_, true, {},
                  {.echo = echo, .prompt_logprobs = true, .prompt = {0xc3, 0xa9, 'b', 'c'}});
    answer.Accept();
    EXPECT_EQ(sink.prompt_tokens, (std::vector<int32_t>{0xc3}));
    answer.Take(0, {.prompt_position = 1, .prompt_logprobs = {{-1.0f, {}, {}}, {-2.0f, {}, {}}}});
    EXPECT_EQ(sink.prompt_text, echo ? "\xc3\xa9"
                                       "b"
                                     : "");
    EXPECT_FALSE(sink.prompt_is_whole);
    answer.Take(0, {.token = 'x', .prompt_position = 3, .prompt_logprobs = {{-3.0f, {}, {}}}});
    EXPECT_TRUE(sink.prompt_is_whole);
    EXPECT_EQ(sink.prompt_tokens, (std::vector<int32_t>{0xc3, 0xa9, 'b', 'c'}));
    ASSERT_EQ(sink.prompt_logprobs.size(), 4u);
    EXPECT_EQ(sink.prompt_logprobs[0], TokenLogprobs{});
    for (int i = 1; i < 4; ++i) EXPECT_EQ(sink.prompt_logprobs[i].logprob, -static_cast<float>(i));
    EXPECT_EQ(sink.tokens, (std::vector<int32_t>{'x'}));
    answer.Fail(Internal("test is over"));
  }
}

TEST_F(AnswerTest, APromptOfOneTokenHasNothingToWaitFor) {
  Answer answer = MakeAnswer({.prompt_logprobs = true, .prompt = {'a'}});
  answer.Accept();
  EXPECT_TRUE(sink_.prompt_is_whole);
  EXPECT_EQ(sink_.prompt_logprobs, std::vector<TokenLogprobs>(1));
  answer.Fail(Internal("test is over"));
}

TEST_F(AnswerTest, ThePlaceIsFreeWhenTheEndIsTold) {
  Answer answer = MakeAnswer({.samples = 5});
  answer.Fail(Unavailable("gone"));
  EXPECT_EQ(places_, 0);
  EXPECT_EQ(sink_.end.status.message(), "gone");
}

}  // namespace
}  // namespace octet::intake
