// Every field of a plan arrives, and every field of a result goes out.
#include "worker/link/plan_codec.h"

#include <gtest/gtest.h>

namespace octet::worker {
namespace {

v1::Sampling* FillSampling(v1::Sampling* s) {
  s->set_temperature(0.5f);
  s->set_top_k(40);
  s->set_top_p(0.75f);
  s->set_min_p(0.125f);
  s->set_seed(~uint64_t{1});
  s->set_sample_index(3);
  s->set_repetition_penalty(1.25f);
  s->set_presence_penalty(-0.5f);
  s->set_frequency_penalty(1.5f);
  for (const int token : {7, 9}) {
    v1::TokenBias* bias = s->add_logit_bias();
    bias->set_token(token);
    bias->set_bias(static_cast<float>(token) / 2);
  }
  s->set_min_tokens(11);
  s->add_end_ids(2);
  s->add_end_ids(5);
  s->set_logprobs(0);
  s->set_prompt_logprobs(20);
  return s;
}

TEST(PlanCodecTest, EveryFieldOfAnAdmission) {
  v1::StepPlan wire;
  v1::Admit* to = wire.add_admits();
  to->set_slot(4);
  FillSampling(to->mutable_sampling());
  to->set_prompt_tokens(100);
  to->set_cached_tokens(64);
  to->add_cached_token_ids(8);
  to->add_cached_token_ids(6);
  const Result<StepPlan> plan = DecodePlan(wire.SerializeAsString());
  ASSERT_TRUE(plan.ok());
  const Admit& admit = plan->admits.at(0);
  EXPECT_EQ(admit.slot, 4);
  EXPECT_EQ(admit.sampling.temperature, 0.5f);
  EXPECT_EQ(admit.sampling.top_k, 40);
  EXPECT_EQ(admit.sampling.top_p, 0.75f);
  EXPECT_EQ(admit.sampling.min_p, 0.125f);
  EXPECT_EQ(admit.sampling.seed, ~uint64_t{1});
  EXPECT_EQ(admit.sampling.sample_index, 3u);
  const Adjustments wanted = {.repetition_penalty = 1.25f,
                              .presence_penalty = -0.5f,
                              .frequency_penalty = 1.5f,
                              .logit_bias = {{7, 3.5f}, {9, 4.5f}},
                              .min_tokens = 11,
                              .end_ids = {2, 5}};
  EXPECT_TRUE(admit.adjustments == wanted);
  EXPECT_EQ(admit.logprobs, 0);
  EXPECT_EQ(admit.prompt_logprobs, 20);
  EXPECT_EQ(admit.prompt_tokens, 100);
  EXPECT_EQ(admit.cached_tokens, 64);
  EXPECT_EQ(admit.cached_token_ids, (std::vector<int32_t>{8, 6}));
}

TEST(PlanCodecTest, EveryFieldOfTheRows) {
  v1::StepPlan wire;
  wire.set_step(12);
  wire.add_release_slots(1);
  wire.add_decode_slots(2);
  v1::BlockUpdate* blocks = wire.add_blocks();
  blocks->set_slot(3);
  blocks->add_appended_blocks(30);
  for (const bool last_is_told : {false, true}) {
    v1::PrefillChunk* chunk = wire.add_prefills();
    chunk->set_slot(3);
    chunk->set_first_position(64);
    chunk->add_tokens(10);
    chunk->add_tokens(11);
    chunk->set_sample(!last_is_told);
    chunk->set_logprob_row_begin(last_is_told ? 1 : 0);
    chunk->set_logprob_row_end(last_is_told ? 2 : 1);
    if (last_is_told) chunk->set_next_token(0);
  }
  const Result<StepPlan> plan = DecodePlan(wire.SerializeAsString());
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->step, 12u);
  EXPECT_EQ(plan->release_slots, std::vector<int32_t>{1});
  EXPECT_EQ(plan->decode_slots, std::vector<int32_t>{2});
  EXPECT_EQ(plan->blocks.at(0).slot, 3);
  EXPECT_EQ(plan->blocks.at(0).appended_blocks, std::vector<int32_t>{30});
  const PrefillChunk& first = plan->prefills.at(0);
  const PrefillChunk& second = plan->prefills.at(1);
  EXPECT_EQ(first.slot, 3);
  EXPECT_EQ(first.first_position, 64);
  EXPECT_EQ(first.tokens, (std::vector<int32_t>{10, 11}));
  EXPECT_TRUE(first.sample && !second.sample);
  EXPECT_EQ(first.logprob_row_begin, 0);
  EXPECT_EQ(first.logprob_row_end, 1);
  EXPECT_FALSE(first.next_token.has_value());
  EXPECT_EQ(second.logprob_row_begin, 1);
  EXPECT_EQ(second.logprob_row_end, 2);
  EXPECT_EQ(second.next_token, 0);
}

TEST(PlanCodecTest, WhatIsNoPlanIsRefused) {
  const Result<StepPlan> plan = DecodePlan("\xff\xff");
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().message(), "a step plan of 2 bytes does not parse as octet.v1.StepPlan");
}

RowLogprobs Row(float logprob, int32_t count) {
  RowLogprobs row{.logprob = logprob, .top_count = count};
  for (int32_t i = 0; i < count; ++i) {
    row.top_tokens[i] = 100 + i;
    row.top_logprobs[i] = logprob - static_cast<float>(i);
  }
  return row;
}

TEST(PlanCodecTest, EveryFieldOfAResult) {
  StepResult result{.step = 9, .slots = {1, 5}, .tokens = {40, -1}};
  result.logprobs = {Row(-1, 2), Row(kernels::kLogprobFloor, 0)};
  result.prompt_rows = {Row(-2, 1), Row(-3, 0), Row(-4, 2)};
  result.prompt_logprobs = {{.slot = 6, .first_position = 1, .row_begin = 0, .row_count = 2},
                            {.slot = 7, .first_position = 65, .row_begin = 2, .row_count = 1}};
  const v1::StepResult wire = EncodeResult(result, 123);
  EXPECT_EQ(wire.step(), 9u);
  EXPECT_EQ(wire.compute_us(), 123);
  EXPECT_EQ(wire.slots(1), 5);
  EXPECT_EQ(wire.tokens(1), -1);
  ASSERT_EQ(wire.logprobs_size(), 2);
  EXPECT_EQ(wire.logprobs(0).logprob(), -1.0f);
  ASSERT_EQ(wire.logprobs(0).top_tokens_size(), 2);
  EXPECT_EQ(wire.logprobs(0).top_tokens(1), 101);
  EXPECT_EQ(wire.logprobs(0).top_logprobs(1), -2.0f);
  EXPECT_EQ(wire.logprobs(1).logprob(), kernels::kLogprobFloor);
  EXPECT_EQ(wire.logprobs(1).top_tokens_size(), 0);
  ASSERT_EQ(wire.prompt_logprobs_size(), 2);
  EXPECT_EQ(wire.prompt_logprobs(0).slot(), 6);
  EXPECT_EQ(wire.prompt_logprobs(0).first_position(), 1);
  ASSERT_EQ(wire.prompt_logprobs(0).tokens_size(), 2);
  EXPECT_EQ(wire.prompt_logprobs(0).tokens(1).logprob(), -3.0f);
  EXPECT_EQ(wire.prompt_logprobs(1).first_position(), 65);
  ASSERT_EQ(wire.prompt_logprobs(1).tokens_size(), 1);
  EXPECT_EQ(wire.prompt_logprobs(1).tokens(0).top_tokens(0), 100);
}

}  // namespace
}  // namespace octet::worker
