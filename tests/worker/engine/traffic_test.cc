// What passes between the ranks. A step is 2 * layers + 2 collectives whatever is asked of it: the
// embedding, two a layer, and one exchange after the head; where nothing but tokens is asked, that
// exchange carries the candidates alone.
#include <gtest/gtest.h>

#include "comm/counting.h"
#include "comm/threads.h"
#include "tests/support/engine_group.h"
#include "tests/worker/engine/odd_model.h"
#include "worker/engine/engine.h"

namespace octet::worker {
namespace {

using comm::TrafficCounts;
using test::kVariants;
using test::MakeTestConfig;
using test::OddSpec;

constexpr int64_t kFloat = 4;
constexpr int64_t kCandidate = 12;
constexpr int64_t kTileSum = 8;

// The traffic of each plan, as rank 0 counts it.
std::vector<TrafficCounts> Count(int64_t ranks, const std::vector<StepPlan>& plans) {
  std::vector<TrafficCounts> counted;
  comm::ThreadGroup group(static_cast<int>(ranks),
                          LimitsOf(MakeTestConfig(OddSpec(), kVariants[0], ranks, 0)));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const EngineConfig config = MakeTestConfig(OddSpec(), kVariants[0], ranks, rank);
      ThreadPool pool(1);
      comm::CountingCommunicator counting(&group.communicator(static_cast<int>(rank)));
      Engine engine(config, MakeRandomWeights(config.spec, config.shard, config.weights, 1, pool),
                    &counting, &pool);
      for (const StepPlan& plan : plans) {
        counting.Reset();
        engine.Step(plan);
        if (rank == 0) counted.push_back(counting.counts());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return counted;
}

// Slots 0 and 1 with prompts of ten tokens, then a decode step of both.
std::vector<StepPlan> Plans(const Admit& first, const Admit& second, int64_t told_rows) {
  StepPlan prefill;
  prefill.admits = {first, second};
  prefill.admits[1].slot = 1;
  for (int32_t slot = 0; slot < 2; ++slot) {
    prefill.blocks.push_back(testing::Blocks(slot, slot, 1));
    prefill.prefills.push_back({.slot = slot,
                                .first_position = 0,
                                .tokens = test::Tokens(10, slot, 1300),
                                .sample = true});
  }
  prefill.prefills[0].logprob_row_end = told_rows;
  return {prefill, {.decode_slots = {0, 1}}};
}

Admit With(const kernels::SamplingParams& sampling) {
  return {.slot = 0, .sampling = sampling, .prompt_tokens = 10};
}

void ExpectOneExchange(const TrafficCounts& counts) {
  EXPECT_EQ(counts.tree_all_reduce.calls, 2 * OddSpec().layers + 1);
  EXPECT_EQ(counts.all_gather.calls, 1);
  EXPECT_EQ(counts.broadcast.calls, 0);
  EXPECT_EQ(counts.barrier.calls, 0);
}

TEST(EngineTraffic, BytesOfADecodeStepThatAsksForTokensAlone) {
  const Admit greedy = With({.temperature = 0});
  const Admit top_k = With({.temperature = 1, .top_k = 40});
  const Admit top_p = With({.temperature = 1, .top_p = 0.9f});
  const ModelSpec spec = OddSpec();
  for (const int64_t ranks : {1, 2, 3, 7}) {
    const ShardPlan shard = ShardPlan::Make(spec, ranks, 0).value();
    const auto roots = [](const ExchangeTree& tree) {
      return static_cast<int64_t>(tree.merges.size());
    };
    const int64_t reduced =
        roots(shard.embedding_exchange) +
        spec.layers * (roots(shard.attention_exchange) + roots(shard.ffn_exchange));
    const TrafficCounts greedy_step = Count(ranks, Plans(greedy, greedy, 0))[1];
    ExpectOneExchange(greedy_step);
    EXPECT_EQ(greedy_step.tree_all_reduce.bytes, reduced * 2 * spec.hidden * kFloat);
    EXPECT_EQ(greedy_step.all_gather.bytes, 2 * ranks * kCandidate);
    EXPECT_EQ(greedy_step.broadcast.bytes, 0);
    const TrafficCounts mixed_step = Count(ranks, Plans(top_k, top_p, 0))[1];
    ExpectOneExchange(mixed_step);
    EXPECT_EQ(mixed_step.all_gather.bytes, 40 * ranks * kCandidate + spec.vocab * kFloat);
  }
}

TEST(EngineTraffic, AdjustmentsSendNothing) {
  Admit plain = With({.temperature = 0.8f});
  Admit adjusted = plain;
  adjusted.adjustments = {.repetition_penalty = 1.3f,
                          .presence_penalty = 0.5f,
                          .frequency_penalty = 0.5f,
                          .logit_bias = {{7, 2.0f}, {900, -3.0f}},
                          .min_tokens = 5,
                          .end_ids = {1, 2}};
  EXPECT_EQ(Count(3, Plans(adjusted, adjusted, 0)), Count(3, Plans(plain, plain, 0)));
}

TEST(EngineTraffic, LogprobsTravelInTheOneExchange) {
  Admit told = With({.temperature = 1, .top_k = 5});
  told.logprobs = 4;
  told.prompt_logprobs = 20;
  const Admit top_p = With({.temperature = 1, .top_p = 0.9f});
  const int64_t ranks = 3;
  const std::vector<TrafficCounts> steps = Count(ranks, Plans(told, top_p, 9));
  for (const TrafficCounts& step : steps) ExpectOneExchange(step);
  const int64_t tiles = 3;
  const int64_t decode =
      1300 * kFloat + tiles * kTileSum + ranks * (5 * kCandidate + 4 * kCandidate + 5 * kFloat);
  EXPECT_EQ(steps[1].all_gather.bytes, decode);
  EXPECT_EQ(steps[0].all_gather.bytes,
            decode + 9 * (tiles * kTileSum + ranks * (20 * kCandidate + kFloat)));
}

// A chunk that only tells log-probabilities, and one that asks for nothing after the head.
TEST(EngineTraffic, NothingIsExchangedForNothing) {
  Admit told = With({.temperature = 0});
  told.prompt_logprobs = 0;
  std::vector<StepPlan> plans = Plans(told, told, 4);
  plans.pop_back();
  for (PrefillChunk& chunk : plans[0].prefills) chunk.sample = false;
  const TrafficCounts counts = Count(2, plans)[0];
  ExpectOneExchange(counts);
  EXPECT_EQ(counts.all_gather.bytes, 4 * (3 * kTileSum + 2 * kFloat));
  plans[0].prefills[0].logprob_row_end = 0;
  EXPECT_EQ(Count(2, plans)[0].all_gather.calls, 0);
}

}  // namespace
}  // namespace octet::worker
