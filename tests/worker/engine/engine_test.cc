// The promises of the engine, bit for bit, on made-up weights: a row's logits do not depend on the
// TP degree, on how its prompt was cut, on the rows beside it, or on the number of threads.
#include "worker/engine/engine.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/engine_group.h"
#include "tests/worker/engine/odd_model.h"
#include "worker/engine/worker_options.h"

namespace octet::worker {
namespace {

using test::kVariants;
using test::MakeTestConfig;
using test::OddSpec;
using test::Tokens;
using test::Variant;
using testing::Blocks;
using testing::RunGroup;
using testing::StepOutput;
using testing::Trace;
using testing::TraceOf;
using testing::WithLogits;

// A prompt of 130 tokens cut into `chunk`s, then two decode steps.
std::vector<StepPlan> AlonePlans(int64_t chunk, int64_t vocab) {
  const std::vector<int32_t> prompt = Tokens(130, 1, vocab);
  std::vector<StepPlan> plans;
  for (int64_t begin = 0; begin < 130; begin += chunk) {
    const int64_t end = std::min<int64_t>(begin + chunk, 130);
    StepPlan plan;
    if (begin == 0) {
      plan.admits.push_back({.slot = 3, .sampling = WithLogits()});
      plan.blocks.push_back(Blocks(3, 20, 3));
    }
    plan.prefills.push_back({.slot = 3,
                             .first_position = begin,
                             .tokens = {prompt.begin() + begin, prompt.begin() + end},
                             .sample = end == 130});
    plans.push_back(plan);
  }
  for (int i = 0; i < 2; ++i) plans.push_back({.decode_slots = {3}});
  return plans;
}

// The same sequence among five others that start, decode and end around it, in another slot and in
// scattered blocks.
std::vector<StepPlan> CrowdPlans(int64_t vocab) {
  const std::vector<int32_t> prompt = Tokens(130, 1, vocab);
  std::vector<StepPlan> plans(6);
  for (int32_t slot = 0; slot < 5; ++slot) {
    plans[0].admits.push_back({.slot = slot, .sampling = {.temperature = 0.7f, .seed = 9}});
    plans[0].blocks.push_back(Blocks(slot, slot * 3, 3));
    plans[0].prefills.push_back({.slot = slot,
                                 .first_position = 0,
                                 .tokens = Tokens(7 + slot * 5, slot + 2, vocab),
                                 .sample = true});
  }
  plans[1].admits.push_back({.slot = 7, .sampling = WithLogits()});
  plans[1].blocks.push_back({.slot = 7, .appended_blocks = {40, 17, 33}});
  plans[1].prefills.push_back(
      {.slot = 7, .first_position = 0, .tokens = {prompt.begin(), prompt.begin() + 50}});
  plans[1].decode_slots = {0, 1, 2, 3, 4};
  plans[2].prefills.push_back(
      {.slot = 7, .first_position = 50, .tokens = {prompt.begin() + 50, prompt.begin() + 51}});
  plans[2].decode_slots = {4, 0};
  plans[3].release_slots = {2};
  plans[3].prefills.push_back({.slot = 7,
                               .first_position = 51,
                               .tokens = {prompt.begin() + 51, prompt.end()},
                               .sample = true});
  plans[3].decode_slots = {1};
  plans[4].decode_slots = {0, 7, 1};
  plans[5].decode_slots = {7, 3, 4};
  return plans;
}

class EngineTest : public ::testing::TestWithParam<Variant> {
 protected:
  Trace Run(const std::vector<StepPlan>& plans, int32_t slot, int64_t ranks, int threads = 1) {
    const auto config = [&](int64_t n, int64_t rank) {
      return MakeTestConfig(OddSpec(), GetParam(), n, rank, threads);
    };
    return TraceOf(RunGroup(ranks, config, nullptr, plans), slot);
  }
};

TEST_P(EngineTest, SameBitsAtEveryDegree) {
  const std::vector<StepPlan> plans = AlonePlans(160, OddSpec().vocab);
  const Trace whole = Run(plans, 3, 1);
  ASSERT_EQ(whole.tokens.size(), 3u);
  for (const auto& row : whole.logits) {
    ASSERT_EQ(static_cast<int64_t>(row.size()), OddSpec().vocab);
    EXPECT_GT(*std::max_element(row.begin(), row.end()), *std::min_element(row.begin(), row.end()));
  }
  for (const int64_t ranks : {2, 3, 4, 5, 7, 8}) {
    EXPECT_TRUE(Run(plans, 3, ranks) == whole) << "tp " << ranks;
  }
}

TEST_P(EngineTest, SameBitsHoweverThePromptIsCut) {
  const int64_t vocab = OddSpec().vocab;
  const Trace whole = Run(AlonePlans(160, vocab), 3, 2);
  for (const int64_t chunk : {1, 16, 64, 77}) {
    EXPECT_TRUE(Run(AlonePlans(chunk, vocab), 3, 2) == whole) << "chunks of " << chunk;
  }
}

TEST_P(EngineTest, SameBitsInACrowd) {
  const int64_t vocab = OddSpec().vocab;
  EXPECT_TRUE(Run(CrowdPlans(vocab), 7, 3) == Run(AlonePlans(160, vocab), 3, 1));
}

TEST_P(EngineTest, SameBitsOnTwoThreads) {
  const std::vector<StepPlan> plans = AlonePlans(64, OddSpec().vocab);
  EXPECT_TRUE(Run(plans, 3, 2, 2) == Run(plans, 3, 2, 1));
}

INSTANTIATE_TEST_SUITE_P(Variants, EngineTest, ::testing::ValuesIn(kVariants),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(MemoryPlanTest, EveryRankTakesWhatThePlanSays) {
  // The engine's constructor checks the taken bytes against the plan; here the parts are looked at.
  for (const int64_t ranks : {1, 3, 8}) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const EngineConfig config = MakeTestConfig(OddSpec(), kVariants[0], ranks, rank);
      const MemoryPlan plan = MemoryPlan::Make(config);
      EXPECT_EQ(plan.kv_bytes,
                config.spec.layers * config.kv_blocks * config.kv_layout().block_bytes());
      EXPECT_EQ(plan.total_bytes(), plan.weight_bytes + plan.kv_bytes + plan.activation_bytes() +
                                        plan.communication_bytes);
      EXPECT_GT(plan.activation_bytes(), 0);
    }
  }
}

}  // namespace
}  // namespace octet::worker
