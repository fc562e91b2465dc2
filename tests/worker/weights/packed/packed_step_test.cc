// Steps on weights from a file have the bits of steps on weights that were just packed.
#include <gtest/gtest.h>

#include "tests/support/engine_group.h"
#include "tests/worker/weights/packed/packed_cases.h"

namespace octet::worker {
namespace {

using kernels::WeightFormat;

EngineConfig ConfigOf(const MadeCheckpoint& made, WeightFormat format, int64_t ranks,
                      int64_t rank) {
  EngineConfig config;
  config.spec = made.spec;
  config.shard = ShardPlan::Make(made.spec, ranks, rank).value();
  config.weights = PackedOptions(format, made.dtype);
  config.context = made.spec.context;
  config.slots = 2;
  config.step_rows = 32;
  config.kv_blocks = 4;
  return config;
}

std::vector<StepPlan> Plans(int64_t vocab) {
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < 30; ++i) prompt.push_back(static_cast<int32_t>(i * 104729 % vocab));
  StepPlan first;
  first.admits.push_back({.slot = 1, .sampling = testing::WithLogits()});
  first.blocks.push_back(testing::Blocks(1, 0, 1));
  first.prefills.push_back({.slot = 1, .first_position = 0, .tokens = prompt, .sample = true});
  return {first, {.decode_slots = {1}}, {.decode_slots = {1}}};
}

class PackedStep : public ::testing::TestWithParam<Place> {};
INSTANTIATE_TEST_SUITE_P(InBothPlaces, PackedStep, ::testing::Values(Place::kDisk, Place::kMemory),
                         [](const auto& info) {
                           return info.param == Place::kDisk ? "disk" : "memory";
                         });

TEST_P(PackedStep, HasTheBitsOfAFreshLoad) {
  const MadeCheckpoint made(SmallConfig(true), DType::kBF16);
  const PackedPlace place(GetParam());
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  const std::vector<StepPlan> plans = Plans(made.spec.vocab);
  for (const WeightFormat format :
       {WeightFormat::kInt4, WeightFormat::kInt8, WeightFormat::kBF16}) {
    for (const int64_t ranks : {1, 2, 3}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(format)) + " on " + std::to_string(ranks));
      const auto config = [&](int64_t n, int64_t rank) { return ConfigOf(made, format, n, rank); };
      const auto packed = [&](const EngineConfig& of_rank, ThreadPool& pool) {
        for (int attempt = 0;; ++attempt) {
          auto loaded = LoadPackedWeights(
              {place.folder()}, {*checkpoint, of_rank.spec, of_rank.shard, of_rank.weights}, pool,
              nullptr);
          OCTET_CHECK(loaded.ok());
          if (loaded->source == place.found()) return std::move(loaded->weights);
          OCTET_CHECK_EQ(attempt, 0);
        }
      };
      const auto fresh = testing::RunGroup(ranks, config, &*checkpoint, plans);
      const auto found = testing::RunLoadedGroup(ranks, config, packed, plans);
      ASSERT_EQ(found.size(), fresh.size());
      for (size_t i = 0; i < fresh.size(); ++i) {
        EXPECT_EQ(found[i].result.tokens, fresh[i].result.tokens);
        ASSERT_EQ(found[i].logits, fresh[i].logits);
        ASSERT_EQ(fresh[i].logits[0].size(), static_cast<size_t>(made.spec.vocab));
      }
    }
  }
}

}  // namespace
}  // namespace octet::worker
