// What engines on devices are tested on: ways to keep a small odd model, and the steps of one
// sequence alone and in a crowd.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/engine_group.h"
#include "tests/worker/engine/odd_model.h"
#include "tests/worker/engine/random_model.h"
#include "worker/engine/worker_options.h"

namespace octet::worker::test {

using testing::Blocks;
using testing::StepOutput;
using testing::Trace;
using testing::TraceOf;
using testing::WithLogits;

using kernels::ActivationFormat;
using kernels::KvFormat;
using kernels::WeightFormat;

inline constexpr int64_t kPrompt = 70;  // a block of the cache and a part of the next

inline constexpr Variant kDeviceVariants[] = {
    {"int4_bf16", WeightFormat::kInt4, WeightFormat::kInt8, KvFormat::kInt8,
     ActivationFormat::kBF16},
    {"int4_int8", WeightFormat::kInt4, WeightFormat::kInt8, KvFormat::kInt8,
     ActivationFormat::kInt8, /*static_kv=*/true},
    {"bf16_bf16", WeightFormat::kBF16, WeightFormat::kBF16, KvFormat::kBF16,
     ActivationFormat::kBF16},
    {"like_qwen", WeightFormat::kInt4, WeightFormat::kInt8, KvFormat::kInt8,
     ActivationFormat::kInt8, /*static_kv=*/false, OddSpecLikeQwen},
    {"like_opt", WeightFormat::kInt4, WeightFormat::kInt8, KvFormat::kInt8, ActivationFormat::kInt8,
     /*static_kv=*/false, OddSpecLikeOpt},
};

inline EngineConfig OnDevice(EngineConfig config) {
  config.device = Device::kCuda;
  config.weights.layout = LayoutFor(config.device, config.activations);
  config.slots = 4;
  config.step_rows = 80;
  config.kv_blocks = 12;
  return config;
}
inline EngineConfig DeviceConfig(const Variant& variant, int64_t ranks, int64_t rank, bool graphs) {
  EngineConfig config = OnDevice(MakeTestConfig(variant.spec(), variant, ranks, rank));
  config.graphs = graphs;
  return config;
}

// A model drawn at random of what a device takes, of few weights.
inline RandomModel DrawForDevice(octet::test::Dice& dice) {
  return Draw({.head_dims = {32, 64, 80, 96, 128},
               .activations = {ActivationFormat::kInt8, ActivationFormat::kBF16},
               .layers = 1,
               .kv_heads = 2,
               .hidden = 160,
               .ffn = 768},
              dice);
}
inline EngineConfig DeviceConfig(const RandomModel& model, int64_t ranks, int64_t rank) {
  EngineConfig config = OnDevice(model.Config(ranks, rank));
  config.graphs = true;
  return config;
}

// A prompt cut into `chunk`s, then two steps that decode.
inline std::vector<StepPlan> AlonePlans(int64_t chunk) {
  const std::vector<int32_t> prompt = Tokens(kPrompt, 1, OddSpec().vocab);
  std::vector<StepPlan> plans;
  for (int64_t begin = 0; begin < kPrompt; begin += chunk) {
    const int64_t end = std::min<int64_t>(begin + chunk, kPrompt);
    StepPlan plan;
    if (begin == 0) {
      plan.admits.push_back({.slot = 3, .sampling = WithLogits(), .prompt_tokens = kPrompt});
      plan.blocks.push_back(Blocks(3, 7, 2));
    }
    plan.prefills.push_back({.slot = 3,
                             .first_position = begin,
                             .tokens = {prompt.begin() + begin, prompt.begin() + end},
                             .sample = end == kPrompt});
    plans.push_back(plan);
  }
  for (int i = 0; i < 2; ++i) plans.push_back({.decode_slots = {3}});
  return plans;
}

// The same sequence in another slot and in scattered blocks, among two that start, decode and end
// around it. Its first key lies where a row of padding would write if it did.
inline std::vector<StepPlan> CrowdPlans() {
  const std::vector<int32_t> prompt = Tokens(kPrompt, 1, OddSpec().vocab);
  std::vector<StepPlan> plans(5);
  for (int32_t slot = 0; slot < 2; ++slot) {
    plans[0].admits.push_back({.slot = slot,
                               .sampling = {.temperature = 0.7f, .seed = 9},
                               .prompt_tokens = 7 + slot * 5});
    plans[0].blocks.push_back(Blocks(slot, 2 + slot * 2, 2));
    plans[0].prefills.push_back({.slot = slot,
                                 .first_position = 0,
                                 .tokens = Tokens(7 + slot * 5, slot + 2, OddSpec().vocab),
                                 .sample = true});
  }
  plans[1].admits.push_back({.slot = 2, .sampling = WithLogits(), .prompt_tokens = kPrompt});
  plans[1].blocks.push_back({.slot = 2, .appended_blocks = {0, 11}});
  plans[1].prefills.push_back(
      {.slot = 2, .first_position = 0, .tokens = {prompt.begin(), prompt.begin() + 50}});
  plans[1].decode_slots = {0, 1};
  plans[2].prefills.push_back({.slot = 2,
                               .first_position = 50,
                               .tokens = {prompt.begin() + 50, prompt.end()},
                               .sample = true});
  plans[2].decode_slots = {1};
  plans[3].decode_slots = {0, 2, 1};
  plans[4].release_slots = {1};
  plans[4].decode_slots = {2, 0};
  return plans;
}

// The root of the mean squared difference of the logits over their own deviation.
inline double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, sum = 0, squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    sum += b[i];
    squares += b[i] * b[i];
  }
  const auto n = static_cast<double>(a.size());
  return std::sqrt(error / n) / std::sqrt(squares / n - sum / n * (sum / n));
}

// Both round what they multiply in their own places, so what they are held to is the CPU in f32: a
// device may be half as far again from it as the CPU is in the same mode, and half a percent of the
// logits' deviation for what differs in bf16 alone (attention's products).
inline void ExpectAsExactAsTheCpu(const Variant& variant, const std::vector<StepPlan>& plans,
                                  const Trace& device) {
  const auto on_cpu = [&](ActivationFormat activations) {
    const auto config = [&](int64_t n, int64_t rank) {
      EngineConfig made = MakeTestConfig(variant.spec(), variant, n, rank);
      made.activations = activations;
      return made;
    };
    return TraceOf(testing::RunGroup(1, config, nullptr, plans), 3);
  };
  const Trace cpu = on_cpu(variant.activations);
  const Trace exact = on_cpu(ActivationFormat::kF32);
  ASSERT_EQ(device.logits.size(), 3u);
  for (size_t step = 0; step < 3; ++step) {
    ASSERT_EQ(device.logits[step].size(), exact.logits[step].size());
    const double error = RelativeError(device.logits[step], exact.logits[step]);
    const double of_cpu = RelativeError(cpu.logits[step], exact.logits[step]);
    EXPECT_LT(error, 1.5 * of_cpu + 0.005) << "step " << step;
  }
}

}  // namespace octet::worker::test
