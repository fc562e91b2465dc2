// The engine on a device, whole: its promises bit for bit, its agreement with the CPU, and what a
// step may cost. The device is the emulator, so that every kernel's own source runs; ranks are
// threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "comm/single.h"
#include "tests/support/emulator/control.h"
#include "tests/worker/engine/device_cases.h"
#include "tests/worker/engine/emulated_engine.h"
#include "tests/worker/engine/odd_model.h"
#include "worker/engine/device_sampler.h"
#include "worker/engine/rank_device.h"
#include "worker/engine/worker_options.h"

namespace octet::worker {
namespace {

using kernels::ActivationFormat;
using kernels::KvFormat;
using kernels::WeightFormat;
using test::AlonePlans;
using test::CrowdPlans;
using test::DeviceConfig;
using test::EmulatedEngine;
using test::kDeviceVariants;
using test::MakeTestConfig;
using test::OddSpec;
using test::Tokens;
using test::Trace;
using test::TraceOf;
using test::Variant;
using testing::Blocks;
using testing::StepOutput;
using testing::WithLogits;

std::vector<StepOutput> RunDevices(const Variant& variant, int64_t ranks,
                                   const std::vector<StepPlan>& plans, bool graphs = true) {
  const auto config = [&](int64_t n, int64_t rank) {
    return DeviceConfig(variant, n, rank, graphs);
  };
  return test::RunEmulatedGroup(ranks, config, test::MadeUpWeights, plans);
}

// Steps of one rank that more than one test looks at, taken once: on the emulator they are slow.
struct Steps {
  std::vector<StepOutput> alone, crowd;
};
const Steps& StepsOf(const Variant& variant) {
  static std::map<std::string, Steps> steps;
  const auto [at, is_new] = steps.try_emplace(variant.name);
  if (is_new) {
    at->second = {.alone = RunDevices(variant, 1, AlonePlans(80)),
                  .crowd = RunDevices(variant, 1, CrowdPlans())};
  }
  return at->second;
}

class DeviceEngineTest : public ::testing::TestWithParam<Variant> {};

TEST_P(DeviceEngineTest, IsAsExactAsTheCpu) {
  test::ExpectAsExactAsTheCpu(GetParam(), AlonePlans(80), TraceOf(StepsOf(GetParam()).alone, 3));
}

TEST_P(DeviceEngineTest, SameBitsAtEveryDegree) {
  const Trace whole = TraceOf(StepsOf(GetParam()).alone, 3);
  ASSERT_EQ(whole.tokens.size(), 3u);
  for (const int64_t ranks : {2, 3}) {
    const std::vector<StepOutput> steps = RunDevices(GetParam(), ranks, AlonePlans(80));
    EXPECT_TRUE(TraceOf(steps, 3) == whole) << "tp " << ranks;
  }
}

TEST_P(DeviceEngineTest, SameBitsHoweverThePromptIsCutAndInACrowd) {
  const Trace whole = TraceOf(StepsOf(GetParam()).alone, 3);
  EXPECT_TRUE(TraceOf(RunDevices(GetParam(), 1, AlonePlans(33)), 3) == whole);
  EXPECT_TRUE(TraceOf(StepsOf(GetParam()).crowd, 2) == whole);
}

TEST_P(DeviceEngineTest, RecordedStepsHaveTheBitsOfOthers) {
  const std::vector<StepOutput>& recorded = StepsOf(GetParam()).crowd;
  const std::vector<StepOutput> eager = RunDevices(GetParam(), 1, CrowdPlans(), false);
  ASSERT_EQ(recorded.size(), eager.size());
  for (size_t i = 0; i < recorded.size(); ++i) {
    EXPECT_EQ(recorded[i].result.tokens, eager[i].result.tokens) << "step " << i;
    EXPECT_TRUE(recorded[i].logits == eager[i].logits) << "step " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, DeviceEngineTest, ::testing::ValuesIn(kDeviceVariants),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(DeviceEngineRandom, SameBitsAtEveryDegreeHoweverThePromptIsCutAndInACrowd) {
  octet::test::Dice dice;
  const test::RandomModel model = test::DrawForDevice(dice);
  SCOPED_TRACE(test::Describe(model));
  const auto run = [&](int64_t ranks, const std::vector<StepPlan>& plans) {
    const auto config = [&](int64_t n, int64_t rank) { return DeviceConfig(model, n, rank); };
    return test::RunEmulatedGroup(ranks, config, test::MadeUpWeights, plans);
  };
  const Trace whole = TraceOf(run(1, AlonePlans(80)), 3);
  ASSERT_EQ(whole.tokens.size(), 3u);
  const int64_t ranks = dice.Between(1, std::min<int64_t>(model.degrees, 4));
  EXPECT_TRUE(TraceOf(run(ranks, AlonePlans(dice.Between(20, 80))), 3) == whole) << ranks;
  EXPECT_TRUE(TraceOf(run(1, CrowdPlans()), 2) == whole);
}

StepPlan Prefill(int32_t slot, const kernels::SamplingParams& sampling) {
  StepPlan plan;
  plan.admits.push_back({.slot = slot, .sampling = sampling});
  plan.blocks.push_back(Blocks(slot, 2 * slot, 1));
  plan.prefills.push_back({.slot = slot,
                           .first_position = 0,
                           .tokens = Tokens(9, slot, OddSpec().vocab),
                           .sample = true});
  return plan;
}

// What is taken is what the plan says, and a step takes nothing more; what it brings and what it
// tells go in one copy each, whatever it asks.
TEST(DeviceStep, TakesThePlanAndCopiesOnceEachWay) {
  const EngineConfig config = DeviceConfig(kDeviceVariants[0], 1, 0, true);
  const std::unique_ptr<Gpu> probe = Gpu::Open({}).value();
  const int64_t free_before = probe->free_bytes();
  comm::SingleCommunicator comm;
  EmulatedEngine device(config, test::MadeUpWeights, &comm);
  const MemoryPlan& plan = device.engine->memory();
  EXPECT_EQ(free_before - probe->free_bytes(), plan.total_bytes() - plan.reserve.bytes());
  EXPECT_TRUE(CheckReserve(plan, MeasureReserve(plan, device.gpu->info(), probe->free_bytes()),
                           device.gpu->info(), 0)
                  .ok());

  StepPlan told = Prefill(1, {.temperature = 1, .top_k = 5});
  told.admits[0].logprobs = 3;
  told.admits[0].prompt_logprobs = 2;
  told.admits[0].prompt_tokens = 9;
  told.prefills[0].logprob_row_end = 8;
  const std::vector<StepPlan> plans = {Prefill(0, {.temperature = 0}), told,
                                       {.decode_slots = {0}},          {.decode_slots = {1, 0}},
                                       Prefill(2, WithLogits()),       {.decode_slots = {2, 0, 1}}};
  for (size_t i = 0; i < plans.size(); ++i) {
    const emulator::Counts before = emulator::CountsSoFar();
    device.engine->Step(plans[i]);
    const emulator::Counts after = emulator::CountsSoFar();
    EXPECT_EQ(after.copies_to_device - before.copies_to_device, 1) << "step " << i;
    EXPECT_EQ(after.copies_to_host - before.copies_to_host, 1) << "step " << i;
    EXPECT_EQ(after.allocations, before.allocations) << "step " << i;
    EXPECT_EQ(after.graphs > before.graphs, plans[i].prefills.empty()) << "step " << i;
  }
}

// Each request wants a token of its own, so that a lost admission shows.
TEST(DeviceStep, AdmitsMoreThanItsImageHolds) {
  constexpr int32_t kRequests = static_cast<int32_t>(kImageAdmissionsMax) + 3;
  EngineConfig config = DeviceConfig(kDeviceVariants[0], 1, 0, false);
  config.slots = kRequests;
  config.kv_blocks = kRequests;
  comm::SingleCommunicator comm;
  EmulatedEngine device(config, test::MadeUpWeights, &comm);
  // Of all that are admitted, the first and last of each copy compute a row.
  const std::vector<int32_t> asked = {0, kRequests - 4, kRequests - 3, kRequests - 1};
  StepPlan plan;
  for (int32_t slot = 0; slot < kRequests; ++slot) {
    Admit admit{.slot = slot, .sampling = {.temperature = 0}, .prompt_tokens = 1};
    admit.adjustments.logit_bias = {{.token = 100 + slot, .bias = 1000.0f}};
    plan.admits.push_back(admit);
  }
  for (const int32_t slot : asked) {
    plan.blocks.push_back(Blocks(slot, slot, 1));
    plan.prefills.push_back({.slot = slot, .first_position = 0, .tokens = {7}, .sample = true});
  }
  const StepResult& result = device.engine->Step(plan);
  ASSERT_EQ(result.slots, asked);
  for (size_t i = 0; i < asked.size(); ++i) EXPECT_EQ(result.tokens[i], 100 + asked[i]);
}

// The next step is launched before the last is read: its rows take their tokens on the device.
TEST(DeviceStep, MayBeLaunchedBeforeTheLastIsRead) {
  comm::SingleCommunicator comm;
  EmulatedEngine device(DeviceConfig(kDeviceVariants[0], 1, 0, true), test::MadeUpWeights, &comm);
  Engine& engine = *device.engine;
  std::vector<int32_t> one_by_one = {engine.Step(Prefill(0, {.temperature = 0})).tokens[0]};
  for (int i = 0; i < 3; ++i) one_by_one.push_back(engine.Step({.decode_slots = {0}}).tokens[0]);
  engine.Step({.release_slots = {0}});

  std::vector<int32_t> ahead;
  engine.Launch(Prefill(0, {.temperature = 0}));
  for (int i = 0; i < 3; ++i) {
    engine.Launch({.decode_slots = {0}});
    EXPECT_EQ(engine.in_flight(), 2);
    ahead.push_back(engine.Finish().tokens[0]);
  }
  ahead.push_back(engine.Finish().tokens[0]);
  EXPECT_EQ(ahead, one_by_one);
}

}  // namespace
}  // namespace octet::worker
