// The demo model on an emulated device says what the CPU says in f32: twenty tokens, each the
// likeliest. A trained model's best logits lie further apart than bf16 rounding moves them.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/worker/engine/emulated_engine.h"
#include "tests/worker/weights/formats/stored_checkpoint.h"
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

// The root of the mean square of a - b over that of b.
double ErrorOf(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    size += double{b[i]} * b[i];
  }
  return std::sqrt(error / size);
}

// A GPTQ checkpoint with act-order and zero points: what a device makes of it differs from exact
// activations as little as what the CPU makes of it in the same mode, and not between degrees.
TEST(DeviceDemo, ActOrder) {
  nlohmann::json config = StoredConfig(false);
  config.update({{"hidden_size", 64},
                 {"intermediate_size", 928},
                 {"num_attention_heads", 4},
                 {"head_dim", 32},
                 {"vocab_size", 96}});
  const StoredCheckpoint made(config, {.method = "gptq", .act_order = true});
  const auto checkpoint = Checkpoint::Open(made.folder.path()).value();
  const ModelSpec spec = SpecFromConfig(checkpoint.config_json()).value();
  const WeightOptions weights = ResolveWeightOptions(checkpoint, spec, {}).value();
  WorkerOptions options;
  options.kv = "bf16";
  options.max_model_len = 64;
  options.max_num_seqs = 1;
  options.max_num_batched_tokens = 16;
  options.threads = 1;
  options.kv_memory = "1MiB";
  const testing::MakeWeights load = [&](const EngineConfig& config, ThreadPool& pool) {
    return LoadDecoderWeights(checkpoint, config.spec, config.shard, config.weights, pool, nullptr)
        .value();
  };
  StepPlan prefill;
  prefill.admits.push_back({.slot = 0, .sampling = testing::WithLogits()});
  prefill.blocks.push_back(testing::Blocks(0, 0, 1));
  prefill.prefills.push_back(
      {.slot = 0, .first_position = 0, .tokens = {5, 90, 33, 7, 61, 2, 44, 18}, .sample = true});
  const std::vector<StepPlan> plans = {prefill};
  const RankDevice device{.kind = Device::kCuda, .gpu = PlannedGpu()};
  const auto logits = [&](const char* activations, bool on_device, int64_t ranks) {
    options.activations = activations;
    const testing::MakeConfig config = [&](int64_t n, int64_t rank) {
      return MakeEngineConfig(options, spec, weights, n, rank, on_device ? device : RankDevice())
          .value();
    };
    const auto outputs = on_device ? test::RunEmulatedGroup(ranks, config, load, plans)
                                   : testing::RunLoadedGroup(ranks, config, load, plans);
    return outputs[0].logits[0];
  };
  const std::vector<float> exact = logits("f32", false, 1);
  for (const char* activations : {"bf16", "int8"}) {
    const double allowed = 1.5 * ErrorOf(logits(activations, false, 1), exact);
    const std::vector<float> found = logits(activations, true, 1);
    EXPECT_GT(allowed, 0.0);
    EXPECT_LE(ErrorOf(found, exact), allowed) << activations;
    EXPECT_TRUE(logits(activations, true, 2) == found) << activations;
  }
}

}  // namespace
}  // namespace octet::worker
