// Checkpoints that others wrote: those of tests/golden and the demo model, all the way to packed
// weights at every degree they split to.
#include <gtest/gtest.h>

#include "worker/model/families/families.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, LoadsAtEveryDegree) {
  const std::string folder = std::string(OCTET_SOURCE_DIR) + "/" + GetParam();
  const auto checkpoint = Checkpoint::Open(folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto spec = SpecFromConfig(checkpoint->config_json(), checkpoint->generation_config_json());
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  ThreadPool pool(2);
  for (const char* format : {"auto", "int4"}) {
    const auto options = ResolveWeightOptions(*checkpoint, *spec, {.layers = format});
    ASSERT_TRUE(options.ok()) << options.status().message();
    for (int64_t ranks = 1; ranks <= 8; ++ranks) {
      const auto shard = ShardPlan::Make(*spec, ranks, ranks - 1);
      ASSERT_TRUE(shard.ok()) << shard.status().message();
      const auto loaded = LoadDecoderWeights(*checkpoint, *spec, *shard, *options, pool, nullptr);
      ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, Golden,
                         testing::Values("tests/golden/llama", "tests/golden/llama_linear",
                                         "tests/golden/qwen2", "launch/demo_model/model"));

}  // namespace
}  // namespace octet::worker
