// Row invariance, bit for bit, through the scheduler, the link's messages and the engine: what a
// sequence generates, the logits it was chosen from and the log-probabilities told with it do not
// depend on the load, on how the prompt was cut, on preemption, on the prefix cache or on the TP
// degree. Each scenario first shows that what it is named after has happened.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/family_specs.h"
#include "tests/support/scheduled_group.h"

namespace octet {
namespace {

using schedule::NewSequence;
using schedule::SchedulerLimits;
using testing::Arrival;
using testing::RunScheduled;
using testing::ScheduledRun;
using worker::EngineConfig;

struct Variant {
  const char* name;
  kernels::WeightFormat layers, head;
  kernels::KvFormat kv;
  kernels::ActivationFormat activations;
  worker::ModelSpec (*family)(worker::ModelSpec spec) = nullptr;  // null: Qwen2's
};

constexpr Variant kInt4 = {"int4", kernels::WeightFormat::kInt4, kernels::WeightFormat::kInt8,
                           kernels::KvFormat::kInt8, kernels::ActivationFormat::kInt8};
constexpr Variant kInt8Int4Kv = {"int8_int4kv", kernels::WeightFormat::kInt8,
                                 kernels::WeightFormat::kInt8, kernels::KvFormat::kInt4,
                                 kernels::ActivationFormat::kBF16};
constexpr Variant kFloat = {"bf16", kernels::WeightFormat::kBF16, kernels::WeightFormat::kBF16,
                            kernels::KvFormat::kBF16, kernels::ActivationFormat::kF32};

constexpr Variant kLikeQwen = {"like_qwen",
                               kernels::WeightFormat::kInt4,
                               kernels::WeightFormat::kInt8,
                               kernels::KvFormat::kInt8,
                               kernels::ActivationFormat::kInt8,
                               testing::LikeQwen};
constexpr Variant kLikeOpt = {"like_opt",
                              kernels::WeightFormat::kInt4,
                              kernels::WeightFormat::kInt8,
                              kernels::KvFormat::kInt8,
                              kernels::ActivationFormat::kInt8,
                              testing::LikeOpt};

constexpr int64_t kContext = 384;
constexpr int64_t kSlots = 65;
constexpr int64_t kBlocks = 200;

// Odd on purpose: 7 query heads for each kv head, a short last grain, groups that leaves cut, a
// short last vocabulary tile.
worker::ModelSpec OddSpec() {
  worker::ModelSpec spec;
  spec.architecture = "Qwen2ForCausalLM";
  spec.layers = 2;
  spec.hidden = 192;
  spec.ffn = 1224;
  spec.heads = 14;
  spec.kv_heads = 2;
  spec.head_dim = 32;
  spec.vocab = 1300;
  spec.context = kContext;
  spec.qkv_bias = true;
  return spec;
}

std::vector<int32_t> Tokens(int64_t count, int32_t seed) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>((seed * 7919 + i * 104729) % OddSpec().vocab));
  }
  return tokens;
}

// The sequences that are watched. The first one's whole logits come out and it uses every option
// that looks at its own tokens; the second is chosen from candidates and tells of its prompt too.
constexpr uint64_t kWatched = 1000;
constexpr uint64_t kTelling = 1001;

NewSequence Watched(uint64_t id) {
  NewSequence sequence;
  sequence.id = id;
  sequence.prompt = Tokens(150, 1);
  sequence.max_tokens = 24;
  sequence.sampling.temperature = 0.9f;
  sequence.sampling.seed = 17;
  sequence.sampling.logprobs = 5;
  if (id == kTelling) {
    sequence.prompt.insert(sequence.prompt.begin(), 7);
    sequence.sampling.top_k = 40;
    sequence.sampling.prompt_logprobs = 3;
    return sequence;
  }
  sequence.sampling.top_p = 0.95f;
  sequence.sampling.repetition_penalty = 1.2f;
  sequence.sampling.presence_penalty = 0.3f;
  sequence.sampling.frequency_penalty = 0.2f;
  sequence.sampling.logit_bias = {{5, 2.0f}, {1299, -3.0f}};
  sequence.sampling.min_tokens = 4;
  sequence.sampling.end_tokens = {11, 12};
  return sequence;
}

// One of those around it: its own prompt, length and sampling.
NewSequence Other(uint64_t id) {
  NewSequence sequence;
  sequence.id = id;
  sequence.prompt = Tokens(3 + static_cast<int64_t>(id * 37 % 120), static_cast<int32_t>(id) + 2);
  sequence.max_tokens = 16 + static_cast<int64_t>(id * 11 % 50);
  sequence.sampling.temperature = id % 3 == 0 ? 0.0f : 0.8f;
  sequence.sampling.top_k = id % 4 == 0 ? 20 : 0;
  sequence.sampling.top_p = id % 5 == 0 ? 0.9f : 1.0f;
  sequence.sampling.seed = id;
  return sequence;
}

struct Scenario {
  SchedulerLimits limits = {.blocks = kBlocks,
                            .block_tokens = 64,
                            .slots = kSlots,
                            .step_rows_max = 512,
                            .context = kContext,
                            .waiting_max = 1000};
  std::vector<Arrival> arrivals;
};

class RowInvariance : public ::testing::TestWithParam<int64_t> {
 protected:
  using OnStep =
      std::function<void(const schedule::StepPlan&, const testing::GroupOfThreads::Outcome&)>;
  ScheduledRun Run(const Variant& variant, int64_t ranks, const Scenario& scenario,
                   const OnStep& on_step = {}) {
    const worker::ModelSpec spec =
        variant.family == nullptr ? OddSpec() : variant.family(OddSpec());
    SchedulerLimits limits = scenario.limits;
    if (spec.rope.depends_on_length()) limits.rope_scaled_beyond = spec.rope.original_context;
    const auto config = [&](int64_t n, int64_t rank) {
      EngineConfig out;
      out.spec = spec;
      out.shard = worker::ShardPlan::Make(out.spec, n, rank).value();
      out.weights = {
          .layers = variant.layers, .head = variant.head, .embedding = DType::kBF16, .group = 128};
      out.kv = variant.kv;
      out.activations = variant.activations;
      out.context = kContext;
      out.slots = kSlots;
      out.step_rows = scenario.limits.step_rows_max;
      out.kv_blocks = scenario.limits.blocks;
      return out;
    };
    return RunScheduled(ranks, config, limits, scenario.arrivals, on_step);
  }

  // Each by itself, at TP 1, in one chunk.
  ScheduledRun Alone(const Variant& variant) {
    Scenario scenario;
    scenario.limits.slots = 1;
    scenario.arrivals = {{0, Watched(kWatched)}, {0, Watched(kTelling)}};
    return Run(variant, 1, scenario);
  }

  static void ExpectSame(const ScheduledRun& alone, const ScheduledRun& run) {
    for (const uint64_t id : {kWatched, kTelling}) {
      const testing::Generated& expected = alone.generated.at(id);
      ASSERT_TRUE(run.generated.contains(id));
      EXPECT_EQ(run.generated.at(id).tokens, expected.tokens);
      EXPECT_TRUE(testing::SameBits(run.generated.at(id), expected)) << "sequence " << id;
    }
    // Something was compared.
    EXPECT_EQ(alone.generated.at(kWatched).logits.front().size(), size_t(OddSpec().vocab));
    EXPECT_EQ(alone.generated.at(kWatched).logprobs.size(), 24u);
    EXPECT_EQ(alone.generated.at(kTelling).prompt_logprobs.size(), 150u);
  }
};

Scenario InCrowd(int64_t step_rows) {
  Scenario scenario;
  scenario.limits.step_rows_max = step_rows;
  for (uint64_t id = 1; id <= 63; ++id) scenario.arrivals.push_back({id / 16, Other(id)});
  scenario.arrivals.push_back({4, Watched(kWatched)});
  scenario.arrivals.push_back({4, Watched(kTelling)});
  return scenario;
}

// Few blocks, and the watched ones go last: they are preempted again and again, and what they had
// computed is evicted.
Scenario UnderPressure() {
  Scenario scenario;
  scenario.limits.blocks = 12;
  scenario.limits.step_rows_max = 96;
  NewSequence watched = Watched(kWatched);
  NewSequence telling = Watched(kTelling);
  watched.priority = telling.priority = 1;
  scenario.arrivals = {{0, watched}, {0, telling}};
  for (uint64_t id = 1; id <= 12; ++id) {
    NewSequence other = Other(id);
    other.prompt = Tokens(56 + static_cast<int64_t>(id % 8), static_cast<int32_t>(id) + 2);
    other.max_tokens = 150;  // each needs a second block soon, and a third and a fourth
    scenario.arrivals.push_back({3, other});
  }
  return scenario;
}

Scenario AfterTheSamePrompt() {
  Scenario scenario;
  NewSequence before = Watched(1);
  before.max_tokens = 80;
  scenario.arrivals = {{0, before}, {70, Watched(kWatched)}, {70, Watched(kTelling)}};
  return scenario;
}

TEST_P(RowInvariance, InACrowdOf64) {
  const ScheduledRun run = Run(kInt4, GetParam(), InCrowd(512));
  EXPECT_GE(run.rows_beside.at(kWatched), 64);
  EXPECT_GE(run.rows_beside.at(kTelling), 64);
  ExpectSame(Alone(kInt4), run);
}

TEST_P(RowInvariance, InChunksOf16) {
  Scenario scenario;
  scenario.limits.step_rows_max = 16;
  scenario.arrivals = {{0, Watched(kWatched)}, {0, Watched(kTelling)}};
  ExpectSame(Alone(kInt4), Run(kInt4, GetParam(), scenario));
}

TEST_P(RowInvariance, InACrowdWithFewRowsAStep) {
  ExpectSame(Alone(kInt4), Run(kInt4, GetParam(), InCrowd(70)));
}

TEST_P(RowInvariance, AfterPreemptionAndRecompute) {
  const ScheduledRun run = Run(kInt4, GetParam(), UnderPressure());
  for (const uint64_t id : {kWatched, kTelling}) {
    EXPECT_GT(run.admissions.at(id), 1) << "sequence " << id;
    EXPECT_GT(run.prefill_tokens.at(id), 300) << "sequence " << id;  // not from the cache
  }
  ExpectSame(Alone(kInt4), run);
}

TEST_P(RowInvariance, WithAPrefixHit) {
  const ScheduledRun run = Run(kInt4, GetParam(), AfterTheSamePrompt());
  EXPECT_EQ(run.cached_tokens.at(kWatched), 128);
  ExpectSame(Alone(kInt4), run);
}

// One message down, one up, and 2 * layers + 2 collectives, however many decode.
TEST_P(RowInvariance, ADecodeStepOf64IsTwoMessages) {
  Scenario scenario;
  for (uint64_t id = 1; id <= 64; ++id) {
    NewSequence sequence = Other(id);
    sequence.max_tokens = 30;
    sequence.sampling = {};
    scenario.arrivals.push_back({0, sequence});
  }
  int64_t decode_steps = 0;
  Run(kInt4, GetParam(), scenario, [&](const auto& plan, const auto& outcome) {
    if (plan.decodes.size() != 64 || plan.rows() != 64 || !plan.blocks.empty()) return;
    ++decode_steps;
    const comm::TrafficCounts& traffic = outcome.traffic;
    EXPECT_EQ(traffic.broadcast, (comm::Traffic{1, worker::kPlanMessageBytes}));
    EXPECT_EQ(traffic.collectives(), 2 * OddSpec().layers + 2);
    EXPECT_EQ(traffic.all_gather, (comm::Traffic{1, 64 * GetParam() * 12}));
    EXPECT_EQ(traffic.barrier.calls, 0);
    // Numbers of slots and tokens, and a few bytes around them.
    EXPECT_LE(outcome.plan_bytes, 64 + 8);
    EXPECT_LE(outcome.result_bytes, 64 + 2 * 64 + 16);
  });
  EXPECT_GE(decode_steps, 10);
}

INSTANTIATE_TEST_SUITE_P(Degrees, RowInvariance, ::testing::Values(1, 2, 3, 4, 5, 7, 8),
                         [](const auto& info) { return "tp" + std::to_string(info.param); });

class RowInvarianceOfFormats : public RowInvariance {};

TEST_P(RowInvarianceOfFormats, EveryScenario) {
  for (const Variant& variant : {kInt8Int4Kv, kFloat}) {
    SCOPED_TRACE(variant.name);
    const ScheduledRun alone = Alone(variant);
    for (const Scenario& scenario : {InCrowd(512), UnderPressure(), AfterTheSamePrompt()}) {
      ExpectSame(alone, Run(variant, GetParam(), scenario));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Degrees, RowInvarianceOfFormats, ::testing::Values(1, 3),
                         [](const auto& info) { return "tp" + std::to_string(info.param); });

// Keys that are turned by the length of a prompt, queries scaled by position, norms of heads; layer
// norms, learned positions and biases. Under pressure a sequence is admitted again with more tokens
// than its prompt had.
class RowInvarianceOfFamilies : public RowInvariance {};

TEST_P(RowInvarianceOfFamilies, EveryScenario) {
  for (const Variant& variant : {kLikeQwen, kLikeOpt}) {
    SCOPED_TRACE(variant.name);
    const ScheduledRun alone = Alone(variant);
    for (const Scenario& scenario : {InCrowd(512), InCrowd(70), UnderPressure()}) {
      ExpectSame(alone, Run(variant, GetParam(), scenario));
    }
    const ScheduledRun hit = Run(variant, GetParam(), AfterTheSamePrompt());
    EXPECT_EQ(hit.cached_tokens.at(kWatched), 128);
    ExpectSame(alone, hit);
  }
}

INSTANTIATE_TEST_SUITE_P(Degrees, RowInvarianceOfFamilies, ::testing::Values(1, 3, 4),
                         [](const auto& info) { return "tp" + std::to_string(info.param); });

}  // namespace
}  // namespace octet
