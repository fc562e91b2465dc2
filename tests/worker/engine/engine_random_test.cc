// Models of shapes drawn at random: the same bits at any degree that their leaves allow, however
// the prompt is cut.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/engine_group.h"
#include "tests/worker/engine/device_cases.h"
#include "tests/worker/engine/random_model.h"

namespace octet::worker {
namespace {

using kernels::ActivationFormat;
using testing::TraceOf;

constexpr int kCases = 6;

TEST(EngineRandom, SameBitsAtEveryDegreeHoweverThePromptIsCut) {
  octet::test::Dice dice;
  for (int i = 0; i < kCases; ++i) {
    const test::RandomModel model = test::Draw(
        {.head_dims = {16, 32, 48, 64, 80, 96, 128},
         .activations = {ActivationFormat::kInt8, ActivationFormat::kBF16, ActivationFormat::kF32},
         .layers = 2,
         .kv_heads = 6,
         .hidden = 480,
         .ffn = 2400},
        dice);
    SCOPED_TRACE(Describe(model));
    const uint64_t seed = dice.Seed();
    const auto run = [&](int64_t ranks, int64_t chunk) {
      const auto config = [&](int64_t n, int64_t rank) { return model.Config(n, rank); };
      return TraceOf(testing::RunGroup(ranks, config, nullptr, test::AlonePlans(chunk), seed), 3);
    };
    const testing::Trace whole = run(1, test::kPrompt);
    ASSERT_EQ(whole.tokens.size(), 3u);
    for (const float logit : whole.logits[0]) ASSERT_TRUE(std::isfinite(logit));
    for (const int64_t ranks : {model.degrees, dice.Between(1, model.degrees)}) {
      const int64_t chunk = dice.Between(1, test::kPrompt);
      ASSERT_TRUE(run(ranks, chunk) == whole) << "tp " << ranks << ", chunks of " << chunk;
    }
  }
}

}  // namespace
}  // namespace octet::worker
