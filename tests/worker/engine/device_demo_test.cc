// The demo model on an emulated device says what the CPU says in f32: twenty tokens, each the
// likeliest. A trained model's best logits lie further apart than bf16 rounding moves them.
#include <gtest/gtest.h>

#include "tests/worker/engine/emulated_engine.h"
#include "worker/engine/worker_options.h"
#include "worker/model/families/families.h"

namespace octet::worker {
namespace {

constexpr int kTokens = 20;
// The beginning of a text, prompt_4 of tests/golden/demo.
const std::vector<int32_t> kPrompt = {41,  78, 259, 2099, 408, 3415, 259, 758, 268, 259, 651,
                                      281, 18, 302, 259,  651, 378,  984, 325, 77,  12};

TEST(DeviceDemo, SaysWhatTheCpuSays) {
  const auto checkpoint =
      Checkpoint::Open(std::string(OCTET_SOURCE_DIR) + "/launch/demo_model/model").value();
  const ModelSpec spec = SpecFromConfig(checkpoint.config_json()).value();
  WorkerOptions options;
  options.kv = "bf16";
  options.max_model_len = 64;
  options.max_num_seqs = 1;
  options.max_num_batched_tokens = 32;
  options.threads = 1;
  options.kv_memory = "1MiB";
  const WeightOptions weights = ResolveWeightOptions(checkpoint, spec, {}).value();
  const auto config_of = [&](const char* activations, const RankDevice& device) {
    options.activations = activations;
    return MakeEngineConfig(options, spec, weights, 1, 0, device).value();
  };
  const testing::MakeWeights load = [&](const EngineConfig& config, ThreadPool& pool) {
    return LoadDecoderWeights(checkpoint, config.spec, config.shard, config.weights, pool, nullptr)
        .value();
  };

  StepPlan prefill;
  prefill.admits.push_back({.slot = 0, .sampling = {.temperature = 0}});
  prefill.blocks.push_back(testing::Blocks(0, 0, 1));
  prefill.prefills.push_back({.slot = 0, .first_position = 0, .tokens = kPrompt, .sample = true});
  std::vector<StepPlan> plans = {prefill};
  for (int i = 1; i < kTokens; ++i) plans.push_back({.decode_slots = {0}});
  const auto tokens_of = [](const std::vector<testing::StepOutput>& outputs) {
    std::vector<int32_t> tokens;
    for (const testing::StepOutput& output : outputs) tokens.push_back(output.result.tokens[0]);
    return tokens;
  };
  const std::vector<int32_t> cpu = tokens_of(testing::RunLoadedGroup(
      1, [&](int64_t, int64_t) { return config_of("f32", {}); }, load, plans));
  const RankDevice device{.kind = Device::kCuda, .gpu = PlannedGpu()};
  const std::vector<int32_t> gpu = tokens_of(test::RunEmulatedGroup(
      1, [&](int64_t, int64_t) { return config_of("bf16", device); }, load, plans));
  ASSERT_EQ(cpu.size(), size_t{kTokens});
  EXPECT_EQ(gpu, cpu);
}

}  // namespace
}  // namespace octet::worker
