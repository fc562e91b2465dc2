// The engine on a GPU, one rank: what device_engine_test holds the emulator to, and the demo
// model's own words. Where no device opens it is skipped.
#include <gtest/gtest.h>

#include "comm/single.h"
#include "tests/support/test_device.h"
#include "tests/worker/engine/device_cases.h"
#include "tests/worker/engine/emulated_engine.h"

namespace octet::worker {
namespace {

using test::AlonePlans;
using test::CrowdPlans;
using test::DeviceConfig;
using test::kDeviceVariants;
using test::Trace;
using test::TraceOf;
using test::Variant;
using testing::StepOutput;

std::vector<StepOutput> RunGpu(const EngineConfig& config, const std::vector<StepPlan>& plans) {
  comm::SingleCommunicator comm;
  test::EmulatedEngine device(config, test::MadeUpWeights, &comm);
  std::vector<StepOutput> outputs;
  for (const StepPlan& plan : plans) outputs.push_back(testing::RunStep(*device.engine, plan));
  return outputs;
}
std::vector<StepOutput> RunGpu(const Variant& variant, const std::vector<StepPlan>& plans,
                               bool graphs = true) {
  return RunGpu(DeviceConfig(variant, 1, 0, graphs), plans);
}

class EngineGpuTest : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    if (const auto gpu = Gpu::Open({}); !gpu.ok()) {
      GTEST_SKIP() << "no GPU to test on: " << gpu.status().message();
    }
  }
};

TEST_P(EngineGpuTest, IsAsExactAsTheCpu) {
  const std::vector<StepPlan> plans = AlonePlans(80);
  test::ExpectAsExactAsTheCpu(GetParam(), plans, TraceOf(RunGpu(GetParam(), plans), 3));
}

TEST_P(EngineGpuTest, SameBitsHoweverThePromptIsCutAndInACrowd) {
  const Trace whole = TraceOf(RunGpu(GetParam(), AlonePlans(80)), 3);
  EXPECT_TRUE(TraceOf(RunGpu(GetParam(), AlonePlans(33)), 3) == whole);
  EXPECT_TRUE(TraceOf(RunGpu(GetParam(), AlonePlans(1)), 3) == whole);
  EXPECT_TRUE(TraceOf(RunGpu(GetParam(), CrowdPlans()), 2) == whole);
}

TEST_P(EngineGpuTest, RecordedStepsHaveTheBitsOfOthers) {
  const std::vector<StepOutput> recorded = RunGpu(GetParam(), CrowdPlans(), true);
  const std::vector<StepOutput> eager = RunGpu(GetParam(), CrowdPlans(), false);
  ASSERT_EQ(recorded.size(), eager.size());
  for (size_t i = 0; i < recorded.size(); ++i) {
    EXPECT_EQ(recorded[i].result.tokens, eager[i].result.tokens) << "step " << i;
    EXPECT_TRUE(recorded[i].logits == eager[i].logits) << "step " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, EngineGpuTest, ::testing::ValuesIn(kDeviceVariants),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(EngineGpuRandom, SameBitsHoweverThePromptIsCutAndInACrowd) {
  if (const auto gpu = Gpu::Open({}); !gpu.ok()) {
    GTEST_SKIP() << "no GPU to test on: " << gpu.status().message();
  }
  octet::test::Dice dice;
  const test::RandomModel model = test::DrawForDevice(dice);
  SCOPED_TRACE(test::Describe(model));
  const auto run = [&](const std::vector<StepPlan>& plans) {
    return RunGpu(DeviceConfig(model, 1, 0), plans);
  };
  const Trace whole = TraceOf(run(AlonePlans(80)), 3);
  ASSERT_EQ(whole.tokens.size(), 3u);
  EXPECT_TRUE(TraceOf(run(AlonePlans(dice.Between(1, 80))), 3) == whole);
  EXPECT_TRUE(TraceOf(run(CrowdPlans()), 2) == whole);
}

}  // namespace
}  // namespace octet::worker
