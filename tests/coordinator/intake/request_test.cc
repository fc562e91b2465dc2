#include "coordinator/intake/request.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace octet::intake {
namespace {

const ModelLimits kModel{.vocab = 100, .context = 64, .slots = 4, .eos_ids = {2}};
const IntakeLimits kLimits{.waiting_max = 4, .prompt_bytes_max = 1000};

Request Text(std::string text) {
  Request request;
  request.prompt = std::move(text);
  return request;
}

ChatRequest Chat(size_t messages, const std::string& content) {
  ChatRequest chat;
  ChatMessage message;
  message.role = "user";
  message.content = content;
  chat.messages.assign(messages, message);
  return chat;
}

struct Wrong {
  const char* sentence;
  std::function<void(Request*)> change;
};

TEST(CheckRequest, EveryRefusalNamesTheFieldTheValueAndTheLimit) {
  const float nan = std::nanf("");
  const float inf = std::numeric_limits<float>::infinity();
  const Wrong wrongs[] = {
      {"request_id has 129 bytes; the limit is 128",
       [](Request* r) { r->request_id = std::string(129, 'i'); }},
      {"request_id has a control character (byte 0x0A) at byte 2; it must have none",
       [](Request* r) { r->request_id = "ab\nc"; }},
      {"stop has 17 entries; the limit is 16",
       [](Request* r) {
         r->stop.assign(16, "s");
         r->stop_left_out = 1;
       }},
      {"prompt is missing; it must be one of text, token_ids and chat",
       [](Request* r) { r->prompt = std::monostate(); }},
      {"text has 1001 bytes; the limit is 1000",
       [](Request* r) { r->prompt = std::string(1001, 'x'); }},
      {"token_ids[1] is 100; the model's tokens are 0 to 99",
       [](Request* r) {
         r->prompt = std::vector<int32_t>{5, 100};
       }},
      {"token_ids[0] is -1; the model's tokens are 0 to 99",
       [](Request* r) { r->prompt = std::vector<int32_t>{-1}; }},
      {"token_ids has 64 tokens; the context of 64 leaves room for at most 63",
       [](Request* r) { r->prompt = std::vector<int32_t>(64, 1); }},
      {"temperature is -0.5; it must be 0 (greedy) or between 0.001 and 100",
       [](Request* r) { r->temperature = -0.5f; }},
      {"temperature is not a finite number; it must be 0 (greedy) or between 0.001 and 100",
       [=](Request* r) { r->temperature = nan; }},
      {"temperature is 1e-30; it must be 0 (greedy) or between 0.001 and 100",
       [](Request* r) { r->temperature = 1e-30f; }},
      {"temperature is not a finite number; it must be 0 (greedy) or between 0.001 and 100",
       [=](Request* r) { r->temperature = inf; }},
      {"top_p is 0; it must be above 0 and at most 1 (off)", [](Request* r) { r->top_p = 0.0f; }},
      {"top_p is 1.5; it must be above 0 and at most 1 (off)", [](Request* r) { r->top_p = 1.5f; }},
      {"top_p is not a finite number; it must be above 0 and at most 1 (off)",
       [=](Request* r) { r->top_p = nan; }},
      {"top_k is -2; it must be at least 1, or 0 or -1 (off)", [](Request* r) { r->top_k = -2; }},
      {"min_p is 1; it must be at least 0 (off) and below 1", [](Request* r) { r->min_p = 1.0f; }},
      {"max_tokens is 0; it must be at least 1", [](Request* r) { r->max_tokens = 0; }},
      {"max_tokens is -1; it must be at least 1", [](Request* r) { r->max_tokens = -1; }},
      {"stop_token_ids has 257 entries; the limit is 256",
       [](Request* r) { r->stop_token_ids.assign(257, 1); }},
      {"stop_token_ids[0] is 200; the model's tokens are 0 to 99",
       [](Request* r) { r->stop_token_ids = {200}; }},
      {"priority is -101; it must be between -100 and 100", [](Request* r) { r->priority = -101; }},
      {"priority is 101; it must be between -100 and 100", [](Request* r) { r->priority = 101; }},
      {"n is 0; it must be between 1 and 128", [](Request* r) { r->n = 0; }},
      {"n is 129; it must be between 1 and 128", [](Request* r) { r->n = 129; }},
      {"n is 9; it must be at most 8, the places of the queue", [](Request* r) { r->n = 9; }},
      {"repetition_penalty is 0; it must be above 0 and at most 2",
       [](Request* r) { r->repetition_penalty = 0.0f; }},
      {"repetition_penalty is 2.5; it must be above 0 and at most 2",
       [](Request* r) { r->repetition_penalty = 2.5f; }},
      {"repetition_penalty is not a finite number; it must be above 0 and at most 2",
       [=](Request* r) { r->repetition_penalty = nan; }},
      {"presence_penalty is -2.5; it must be between -2 and 2",
       [](Request* r) { r->presence_penalty = -2.5f; }},
      {"presence_penalty is not a finite number; it must be between -2 and 2",
       [=](Request* r) { r->presence_penalty = nan; }},
      {"frequency_penalty is not a finite number; it must be between -2 and 2",
       [=](Request* r) { r->frequency_penalty = inf; }},
      {"frequency_penalty is 2.25; it must be between -2 and 2",
       [](Request* r) { r->frequency_penalty = 2.25f; }},
      {"logit_bias has 513 entries; the limit is 512",
       [](Request* r) {
         for (int32_t i = 0; i < 513; ++i) r->logit_bias[i] = 0;
       }},
      {"a token of logit_bias is 100; the model's tokens are 0 to 99",
       [](Request* r) { r->logit_bias[100] = 1; }},
      {"a token of logit_bias is -5; the model's tokens are 0 to 99",
       [](Request* r) { r->logit_bias[-5] = 1; }},
      {"logit_bias[7] is 100.5; it must be between -100 and 100",
       [](Request* r) { r->logit_bias[7] = 100.5f; }},
      {"logit_bias[7] is not a finite number; it must be between -100 and 100",
       [=](Request* r) { r->logit_bias[7] = nan; }},
      {"min_tokens is -1; it must be at least 0", [](Request* r) { r->min_tokens = -1; }},
      {"min_tokens is 6; it must be at most max_tokens, which is 5",
       [](Request* r) {
         r->min_tokens = 6;
         r->max_tokens = 5;
       }},
      {"stop has 17 entries; the limit is 16", [](Request* r) { r->stop.assign(17, "s"); }},
      {"stop[1] has 0 bytes; it must have between 1 and 256",
       [](Request* r) {
         r->stop = {"s", ""};
       }},
      {"stop[0] has 257 bytes; it must have between 1 and 256",
       [](Request* r) { r->stop = {std::string(257, 's')}; }},
      {"stop[0] is not UTF-8, at byte 1; it must be a text",
       [](Request* r) { r->stop = {"s\xff"}; }},
      {"logprobs is -1; it must be between 0 and 20", [](Request* r) { r->logprobs = -1; }},
      {"logprobs is 21; it must be between 0 and 20", [](Request* r) { r->logprobs = 21; }},
      {"prompt_logprobs is 21; it must be between 0 and 20",
       [](Request* r) { r->prompt_logprobs = 21; }},
      {"chat.messages has 0 entries; it must have at least 1",
       [](Request* r) { r->prompt = ChatRequest(); }},
      {"chat.messages has 1025 entries; the limit is 1024",
       [](Request* r) { r->prompt = Chat(1025, "x"); }},
      {"chat has 1004 bytes; the limit is 1000",
       [](Request* r) { r->prompt = Chat(1, std::string(1000, 'x')); }},
      {"chat.messages[0].role is empty; it must be one that the template knows, like user",
       [](Request* r) {
         ChatRequest chat = Chat(1, "x");
         chat.messages[0].role = "";
         r->prompt = chat;
       }},
  };
  for (const Wrong& wrong : wrongs) {
    Request request = Text("fine");
    EXPECT_TRUE(CheckRequest(request, kLimits, kModel).ok());
    wrong.change(&request);
    const Status status = CheckRequest(request, kLimits, kModel);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << wrong.sentence;
    EXPECT_EQ(status.message(), wrong.sentence);
  }
}

TEST(CheckRequest, TheEdgesAreAllowed) {
  Request request = Text(std::string(1000, 'x'));
  request.request_id = std::string(128, 'i');
  request.temperature = 0.0f;
  request.top_p = 1.0f;
  request.top_k = std::numeric_limits<int32_t>::max();
  request.min_p = 0.0f;
  request.max_tokens = std::numeric_limits<int64_t>::max();  // MakeSequence knows the prompt
  request.stop_token_ids.assign(256, 99);
  request.n = 8;
  request.priority = -100;
  request.repetition_penalty = 2.0f;
  request.presence_penalty = -2.0f;
  request.frequency_penalty = 2.0f;
  request.logit_bias = {{0, -100.0f}, {99, 100.0f}};
  request.min_tokens = request.max_tokens;
  request.stop.assign(16, std::string(256, 's'));
  request.logprobs = 0;
  request.prompt_logprobs = 20;
  EXPECT_TRUE(CheckRequest(request, kLimits, kModel).ok());
}

TEST(MakeSequences, UnsetFieldsGetTheStatedDefaults) {
  const auto sequences = MakeSequences(Text("x"), 9, {1, 2, 3}, 77, kModel);
  ASSERT_TRUE(sequences.ok());
  ASSERT_EQ(sequences->size(), 1u);
  const schedule::NewSequence& sequence = sequences->front();
  EXPECT_EQ(sequence.id, 9u);
  EXPECT_EQ(sequence.max_tokens, 61);
  EXPECT_EQ(sequence.priority, 0);
  EXPECT_EQ(sequence.stop_tokens, (std::vector<int32_t>{2}));
  const schedule::SamplingSpec& sampling = sequence.sampling;
  EXPECT_EQ(sampling.temperature, 1.0f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.top_p, 1.0f);
  EXPECT_EQ(sampling.min_p, 0.0f);
  EXPECT_EQ(sampling.seed, 77u);
  EXPECT_EQ(sampling.sample_index, 0u);
  EXPECT_EQ(sampling.repetition_penalty, 1.0f);
  EXPECT_EQ(sampling.presence_penalty, 0.0f);
  EXPECT_EQ(sampling.frequency_penalty, 0.0f);
  EXPECT_TRUE(sampling.logit_bias.empty());
  EXPECT_EQ(sampling.min_tokens, 0);
  EXPECT_TRUE(sampling.end_tokens.empty());
  EXPECT_EQ(sampling.logprobs, -1);
  EXPECT_EQ(sampling.prompt_logprobs, -1);
  EXPECT_FALSE(sampling.needs_history());
}

TEST(MakeSequences, StatedFieldsAreKept) {
  Request request = Text("x");
  request.temperature = 0.0f;
  request.top_k = -1;
  request.seed = 0;
  request.max_tokens = 5;
  request.ignore_eos = true;
  request.stop_token_ids = {8};
  request.priority = -7;
  request.repetition_penalty = 1.5f;
  request.presence_penalty = 0.5f;
  request.frequency_penalty = -0.5f;
  request.logit_bias = {{30, 1.0f}, {4, -2.0f}};
  request.logprobs = 0;
  const auto sequences = MakeSequences(request, 1, {1}, 77, kModel);
  ASSERT_TRUE(sequences.ok());
  const schedule::NewSequence& sequence = sequences->front();
  EXPECT_EQ(sequence.max_tokens, 5);
  EXPECT_EQ(sequence.priority, -7);
  EXPECT_EQ(sequence.stop_tokens, (std::vector<int32_t>{8}));
  const schedule::SamplingSpec& sampling = sequence.sampling;
  EXPECT_EQ(sampling.temperature, 0.0f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.seed, 0u);
  EXPECT_EQ(sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(sampling.presence_penalty, 0.5f);
  EXPECT_EQ(sampling.frequency_penalty, -0.5f);
  ASSERT_EQ(sampling.logit_bias.size(), 2u);
  EXPECT_EQ(sampling.logit_bias[0].token, 4);  // by token, whatever order they came in
  EXPECT_EQ(sampling.logit_bias[0].bias, -2.0f);
  EXPECT_EQ(sampling.logit_bias[1].token, 30);
  EXPECT_EQ(sampling.logprobs, 0);
  EXPECT_TRUE(sampling.end_tokens.empty());
}

TEST(MakeSequences, MinTokensKeepsEveryEndTokenAway) {
  Request request = Text("x");
  request.min_tokens = 3;
  request.stop_token_ids = {8};
  const auto sequences = MakeSequences(request, 1, {1}, 0, kModel);
  ASSERT_TRUE(sequences.ok());
  EXPECT_EQ(sequences->front().sampling.min_tokens, 3);
  EXPECT_EQ(sequences->front().sampling.end_tokens, (std::vector<int32_t>{2, 8}));
}

TEST(MakeSequences, SamplesDifferByTheirIdAndIndexAlone) {
  Request request = Text("x");
  request.n = 3;
  request.prompt_logprobs = 2;
  request.logprobs = 1;
  const auto sequences = MakeSequences(request, 40, {1, 2}, 77, kModel);
  ASSERT_TRUE(sequences.ok());
  ASSERT_EQ(sequences->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const schedule::NewSequence& sequence = (*sequences)[i];
    EXPECT_EQ(sequence.id, 40 + i);
    EXPECT_EQ(sequence.prompt, (std::vector<int32_t>{1, 2}));
    EXPECT_EQ(sequence.sampling.sample_index, i);
    EXPECT_EQ(sequence.sampling.seed, 77u);
    EXPECT_EQ(sequence.sampling.logprobs, 1);
    // One prompt, told once.
    EXPECT_EQ(sequence.sampling.prompt_logprobs, i == 0 ? 2 : -1);
  }
}

TEST(MakeSequences, WhatDoesNotFitTheContextIsRefused) {
  const auto message = [](std::vector<int32_t> prompt, int64_t max_tokens, int64_t min_tokens = 0) {
    Request request = Text("x");
    if (max_tokens > 0) request.max_tokens = max_tokens;
    request.min_tokens = min_tokens;
    return MakeSequences(request, 1, std::move(prompt), 0, kModel).status().message();
  };
  EXPECT_EQ(message({}, 1), "prompt has 0 tokens; it must have at least 1");
  EXPECT_EQ(message(std::vector<int32_t>(64, 1), 1),
            "prompt has 64 tokens; the context of 64 leaves room for at most 63");
  EXPECT_EQ(message(std::vector<int32_t>(60, 1), 5),
            "max_tokens is 5; a prompt of 60 tokens leaves 4 of the context of 64");
  EXPECT_EQ(message(std::vector<int32_t>(60, 1), 4), "");
  EXPECT_EQ(message(std::vector<int32_t>(60, 1), 0, 5),
            "min_tokens is 5; a prompt of 60 tokens leaves 4 of the context of 64");
  EXPECT_EQ(message({1, 100}, 4), "prompt[1] is 100; the model's tokens are 0 to 99");
}

}  // namespace
}  // namespace octet::intake
