#include "worker/engine/worker_options.h"

#include <gtest/gtest.h>

#include "worker/engine/memory_plan.h"

namespace octet::worker {
namespace {

ModelSpec SmallSpec() {
  ModelSpec spec;
  spec.architecture = "LlamaForCausalLM";
  spec.layers = 2;
  spec.hidden = 256;
  spec.ffn = 1024;
  spec.heads = 8;
  spec.kv_heads = 2;
  spec.head_dim = 32;
  spec.vocab = 4096;
  spec.context = 1024;
  return spec;
}

std::string MessageOf(const WorkerOptions& options, int64_t ranks = 1) {
  const auto config = MakeEngineConfig(options, SmallSpec(), {}, ranks, 0);
  return config.ok() ? "" : config.status().message();
}

TEST(ParseBytesTest, UnitsAndNonsense) {
  EXPECT_EQ(ParseBytes("--flag", "8GiB").value(), int64_t{8} << 30);
  EXPECT_EQ(ParseBytes("--flag", "512MiB").value(), int64_t{512} << 20);
  EXPECT_EQ(ParseBytes("--flag", "1GB").value(), 1000000000);
  EXPECT_EQ(ParseBytes("--flag", "4096").value(), 4096);
  for (const char* bad : {"", "GiB", "-1", "0", "1.5GiB", "8 GiB", "9999999999999GiB", "8gigs"}) {
    EXPECT_FALSE(ParseBytes("--flag", bad).ok()) << bad;
  }
}

TEST(WorkerOptionsTest, EachRefusalNamesTheFlag) {
  WorkerOptions options;
  EXPECT_EQ(MessageOf(options), "");
  options.max_model_len = 2000;
  EXPECT_EQ(MessageOf(options), "--max-model-len is 2000; expected a value from 2 to 1024");
  options = {};
  options.kv = "int3";
  EXPECT_EQ(MessageOf(options), "--kv is 'int3'; expected int8, int8-static, int4 or bf16");
  options = {};
  options.kv_memory = "1KiB";
  EXPECT_NE(MessageOf(options).find("--kv-memory is 1KiB, room for 0 blocks"), std::string::npos);
  options = {};
  options.max_num_seqs = 600;
  EXPECT_EQ(MessageOf(options), "");
  options.max_num_batched_tokens = 512;
  EXPECT_NE(MessageOf(options).find("--max-num-batched-tokens is 512; expected a value from 600"),
            std::string::npos);
  EXPECT_NE(MessageOf({}, 9).find("9"), std::string::npos);  // above the leaves
}

TEST(WorkerOptionsTest, Int4CacheTakesFewerBytesAndRefusesOddHeadDims) {
  WorkerOptions options;
  const auto bytes = [&](const char* kv) {
    options.kv = kv;
    const auto config = MakeEngineConfig(options, SmallSpec(), {}, 1, 0);
    EXPECT_EQ(KvName(*config), kv);
    return KvBlockBytesMax(SmallSpec(), 1, config->kv);
  };
  // 2 layers x 2 heads x (K, V) x 64 tokens x (32 codes, 4 bytes of scale and zero).
  EXPECT_EQ(bytes("int4"), 2 * 2 * 2 * 64 * (16 + 4));
  EXPECT_EQ(bytes("int8"), 2 * 2 * 2 * 64 * (32 + 4));
  EXPECT_EQ(bytes("bf16"), 2 * 2 * 2 * 64 * 64);
  EXPECT_EQ(bytes("int8-static"), bytes("int8"));
  options.kv = "int4";
  ModelSpec odd = SmallSpec();
  odd.head_dim = 40;
  EXPECT_EQ(MakeEngineConfig(options, odd, {}, 1, 0).status().message(),
            "--kv is 'int4', but the model's head dimension is 40; expected a multiple of 16");
}

TEST(WorkerOptionsTest, SameBlocksOnEveryRank) {
  WorkerOptions options;
  options.kv_memory = "1MiB";
  for (const int64_t ranks : {1, 2, 3, 8}) {
    const int64_t blocks = MakeEngineConfig(options, SmallSpec(), {}, ranks, 0)->kv_blocks;
    for (int64_t rank = 1; rank < ranks; ++rank) {
      EXPECT_EQ(MakeEngineConfig(options, SmallSpec(), {}, ranks, rank)->kv_blocks, blocks);
    }
  }
}

RankDevice PlannedDevice(int64_t total_bytes) {
  RankDevice device{.kind = Device::kCuda, .gpu = PlannedGpu()};
  device.gpu.total_bytes = total_bytes;
  return device;
}

TEST(WorkerOptionsTest, CudaChoosesItsOwnDefaults) {
  WorkerOptions options;
  const auto config = MakeEngineConfig(options, SmallSpec(), {}, 1, 0, PlannedDevice(0));
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->activations, kernels::ActivationFormat::kBF16);
  EXPECT_EQ(config->weights.layout, kernels::WeightLayout::kCuda16);
  EXPECT_EQ(config->slots, 256);
  EXPECT_EQ(config->step_rows, 2048);
  options.activations = "int8";
  EXPECT_EQ(MakeEngineConfig(options, SmallSpec(), {}, 1, 0, PlannedDevice(0))->weights.layout,
            kernels::WeightLayout::kCuda8);
  options.activations = "f32";
  EXPECT_NE(MakeEngineConfig(options, SmallSpec(), {}, 1, 0, PlannedDevice(0))
                .status()
                .message()
                .find("computed on the CPU alone"),
            std::string::npos);
  options = {};
  ModelSpec odd = SmallSpec();
  odd.head_dim = 40;
  EXPECT_EQ(MakeEngineConfig(options, odd, {}, 1, 0, PlannedDevice(0)).status().message(),
            "the model's head dimension is 40, which no attention kernel on CUDA has; use --device "
            "cpu");
}

// The cache takes what the fullest rank's plan leaves, and not a block more.
TEST(WorkerOptionsTest, AutoCacheFillsTheGpu) {
  const WorkerOptions options;
  for (const int64_t ranks : {1, 3}) {
    int64_t fixed = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      EngineConfig none =
          MakeEngineConfig(options, SmallSpec(), {}, ranks, rank, PlannedDevice(0)).value();
      none.kv_blocks = 0;
      fixed = std::max(fixed, MemoryPlan::Make(none).total_bytes());
    }
    const int64_t total = fixed + (int64_t{4} << 20);
    int64_t fullest = 0;
    for (int64_t rank = 0; rank < ranks; ++rank) {
      EngineConfig config =
          MakeEngineConfig(options, SmallSpec(), {}, ranks, rank, PlannedDevice(total)).value();
      EXPECT_LE(MemoryPlan::Make(config).total_bytes(), total);
      ++config.kv_blocks;
      fullest = std::max(fullest, MemoryPlan::Make(config).total_bytes());
    }
    EXPECT_GT(fullest, total);
  }
  const auto small = MakeEngineConfig(options, SmallSpec(), {}, 1, 0, PlannedDevice(1 << 28));
  EXPECT_NE(small.status().message().find("before any KV cache; the GPU has 268435456 bytes"),
            std::string::npos)
      << small.status().message();
}

}  // namespace
}  // namespace octet::worker
