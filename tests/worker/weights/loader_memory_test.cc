// What loading takes besides the weights themselves: bounded by what is staged and by the threads,
// never by the checkpoint. The figures of real workers are in worker/weights/README.md.
#include <gtest/gtest.h>

#include "tests/integration/bad_files/counted_memory.h"
#include "tests/worker/weights/formats/stored_checkpoint.h"
#include "tests/worker/weights/made_checkpoint.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

constexpr int kThreads = 2;
// The tables of names, and of each thread a batch as it is stored and as floats (6 bytes of 2^15
// elements) and a panel of 48 rows.
constexpr int64_t kWorkingBytes = int64_t{5} << 18;

// Eight layers of 2 MiB in bf16, 0.6 in four bits: more than that is never held.
nlohmann::json EightLayers() {
  nlohmann::json config = StoredConfig(false);
  config["hidden_size"] = 256;
  config["head_dim"] = 32;
  config["intermediate_size"] = 1024;
  config["num_hidden_layers"] = 8;
  return config;
}

int64_t PeakOf(const std::string& folder, const ModelSpec& spec, const WeightRequest& request,
               int64_t ranks) {
  const auto checkpoint = Checkpoint::Open(folder);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const WeightOptions options = ResolveWeightOptions(*checkpoint, spec, request).value();
  const ShardPlan shard = *ShardPlan::Make(spec, ranks, 0);
  ThreadPool pool(kThreads);
  Buffer memory(WeightPlan::Make(spec, shard, options).bytes());  // mapped, not of the heap
  const octet::testing::CountedMemory counted;
  const auto loaded =
      LoadDecoderWeights(*checkpoint, spec, shard, options, pool, nullptr, std::move(memory));
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  return counted.peak_bytes();
}

TEST(LoaderMemory, OfFloatsIsAFewBatches) {
  const MadeCheckpoint made(EightLayers(), DType::kBF16);
  for (const char* layers : {"auto", "int4"}) {
    for (const int64_t ranks : {1, 2}) {
      const int64_t peak = PeakOf(made.folder.path(), made.spec, {.layers = layers}, ranks);
      EXPECT_LE(peak, kWorkingBytes) << layers << ", " << ranks << " ranks";
    }
  }
}

TEST(LoaderMemory, OfPackedModulesIsOneOfThemBesides) {
  for (const bool act_order : {false, true}) {
    const StoredCheckpoint made(EightLayers(), {.method = "gptq", .act_order = act_order});
    // The words of the largest module; its scales and zero points are less than half of that.
    size_t words = 0;
    for (const test::StoredTensor& tensor : made.tensors) {
      if (tensor.name.ends_with("qweight")) words = std::max(words, tensor.bytes.size());
    }
    const auto staged = static_cast<int64_t>(words * 3 / 2);
    for (const int64_t ranks : {1, 2}) {
      const int64_t peak = PeakOf(made.folder.path(), made.spec, {}, ranks);
      EXPECT_LE(peak, staged + kWorkingBytes) << ranks << " ranks, act-order " << act_order;
    }
  }
}

}  // namespace
}  // namespace octet::worker
