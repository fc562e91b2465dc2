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
      {"prompt is missing; it must be one of text and token_ids",
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
  EXPECT_TRUE(CheckRequest(request, kLimits, kModel).ok());
}

TEST(MakeSequence, UnsetFieldsGetTheStatedDefaults) {
  const auto sequence = MakeSequence(Text("x"), 9, {1, 2, 3}, 77, kModel);
  ASSERT_TRUE(sequence.ok());
  EXPECT_EQ(sequence->id, 9u);
  EXPECT_EQ(sequence->max_tokens, 61);
  EXPECT_EQ(sequence->prompt_tokens, 3);
  EXPECT_EQ(sequence->sampling.temperature, 1.0f);
  EXPECT_EQ(sequence->sampling.top_k, 0);
  EXPECT_EQ(sequence->sampling.top_p, 1.0f);
  EXPECT_EQ(sequence->sampling.min_p, 0.0f);
  EXPECT_EQ(sequence->sampling.seed, 77u);
  EXPECT_EQ(sequence->stop_tokens, (std::vector<int32_t>{2}));
}

TEST(MakeSequence, StatedFieldsAreKept) {
  Request request = Text("x");
  request.temperature = 0.0f;
  request.top_k = -1;
  request.seed = 0;
  request.max_tokens = 5;
  request.ignore_eos = true;
  request.stop_token_ids = {8};
  const auto sequence = MakeSequence(request, 1, {1}, 77, kModel);
  ASSERT_TRUE(sequence.ok());
  EXPECT_EQ(sequence->sampling.temperature, 0.0f);
  EXPECT_EQ(sequence->sampling.top_k, 0);
  EXPECT_EQ(sequence->sampling.seed, 0u);
  EXPECT_EQ(sequence->max_tokens, 5);
  EXPECT_EQ(sequence->stop_tokens, (std::vector<int32_t>{8}));
}

TEST(MakeSequence, WhatDoesNotFitTheContextIsRefused) {
  const auto message = [](std::vector<int32_t> prompt, int64_t max_tokens) {
    Request request = Text("x");
    request.max_tokens = max_tokens;
    return MakeSequence(request, 1, std::move(prompt), 0, kModel).status().message();
  };
  EXPECT_EQ(message({}, 1), "prompt has 0 tokens; it must have at least 1");
  EXPECT_EQ(message(std::vector<int32_t>(64, 1), 1),
            "prompt has 64 tokens; the context of 64 leaves room for at most 63");
  EXPECT_EQ(message(std::vector<int32_t>(60, 1), 5),
            "max_tokens is 5; a prompt of 60 tokens leaves 4 of the context of 64");
  EXPECT_EQ(message(std::vector<int32_t>(60, 1), 4), "");
  EXPECT_EQ(message({1, 100}, 4), "prompt[1] is 100; the model's tokens are 0 to 99");
}

}  // namespace
}  // namespace octet::intake
