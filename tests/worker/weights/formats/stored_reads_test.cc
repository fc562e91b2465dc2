// How much of a packed checkpoint a rank reads: its own rows and inputs, and hardly anything else.
#include <gtest/gtest.h>

#include "tests/worker/weights/formats/stored_checkpoint.h"
#include "tests/worker/weights/packed/packed_cases.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

// Of a share of codes, scales and zero points; vectors and group numbers are read whole.
double ShareOf(const StoredCheckpoint& made, const ShardPlan& shard, bool whole_mlp) {
  const ModelSpec& spec = made.spec;
  double bytes = 0;
  for (const test::StoredTensor& tensor : made.tensors) {
    const auto all = static_cast<double>(tensor.bytes.size());
    const auto has = [&](const char* part) { return tensor.name.find(part) != std::string::npos; };
    double share = 1.0;
    if (has("g_idx") || has("norm") || has("weight_shape")) {
      share = 1.0;
    } else if (has("q_proj") || has("o_proj")) {
      share = static_cast<double>(shard.heads()) / static_cast<double>(spec.heads);
    } else if (has("k_proj") || has("v_proj")) {
      share = static_cast<double>(shard.kv_heads()) / static_cast<double>(spec.kv_heads);
    } else if (has("mlp")) {
      share = whole_mlp ? 1.0 : static_cast<double>(shard.ffn()) / static_cast<double>(spec.ffn);
    } else {
      share = static_cast<double>(shard.vocab()) / static_cast<double>(spec.vocab);
    }
    bytes += all * share;
  }
  return bytes;
}

TEST(StoredReads, ARankAsksForItsOwnShareOfTheFile) {
  nlohmann::json config = StoredConfig(false);
  config["hidden_size"] = 512;  // so that words and groups that ranks share weigh little
  config["head_dim"] = 64;
  config["intermediate_size"] = 2048;
  for (const StoredCase& c :
       {StoredCase{.method = "gptq"}, StoredCase{.method = "gptq_v2", .bits = 8, .group = 128},
        StoredCase{.method = "awq", .group = 128, .symmetric = false},
        StoredCase{.method = "pack-quantized", .symmetric = false},
        StoredCase{.method = "gptq", .act_order = true}}) {
    const StoredCheckpoint made(config, c);
    for (const int64_t ranks : {1, 4, 8}) {
      for (const int64_t rank : {int64_t{0}, ranks - 1}) {
        const auto checkpoint = Checkpoint::Open(made.folder.path());
        const WeightOptions options = ResolveWeightOptions(*checkpoint, made.spec, {}).value();
        const ShardPlan shard = *ShardPlan::Make(made.spec, ranks, rank);
        ThreadPool pool(2);
        const int64_t before = checkpoint->bytes_read();
        ASSERT_TRUE(LoadDecoderWeights(*checkpoint, made.spec, shard, options, pool, nullptr).ok());
        const auto read = static_cast<double>(checkpoint->bytes_read() - before);
        // With act-order gate, up and down are read whole, see worker/weights/README.md; and the
        // attention output has the scales of all groups.
        const double share = ShareOf(made, shard, c.act_order) * (c.act_order ? 1.06 : 1.0);
        EXPECT_LE(read, 1.05 * share) << c.Name() << ", rank " << rank << " of " << ranks;
        EXPECT_GE(read, 0.9 * share) << c.Name() << ", rank " << rank << " of " << ranks;
      }
    }
  }
}

// The second start reads packed bytes alone, and none of a checkpoint that changed.
TEST(StoredReads, APackedFileServesTheSecondStart) {
  StoredCheckpoint made(StoredConfig(true), {.method = "gptq", .act_order = true});
  const PackedPlace place(Place::kDisk);
  const auto load = [&](WeightSource* source, int64_t* read) {
    const auto checkpoint = Checkpoint::Open(made.folder.path());
    const WeightOptions options = ResolveWeightOptions(*checkpoint, made.spec, {}).value();
    const ShardPlan shard = *ShardPlan::Make(made.spec, 2, 0);
    ThreadPool pool(2);
    const int64_t before = checkpoint->bytes_read();
    auto loaded = LoadPackedWeights({.path = place.folder()},
                                    {*checkpoint, made.spec, shard, options}, pool, nullptr);
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    *source = loaded->source;
    *read = checkpoint->bytes_read() - before;
    return BytesOf(loaded->weights);
  };
  WeightSource source = WeightSource::kCheckpoint;
  int64_t read = 0;
  const std::string first = load(&source, &read);
  EXPECT_EQ(source, WeightSource::kCheckpoint);
  EXPECT_TRUE(load(&source, &read) == first);
  EXPECT_EQ(source, place.found());
  EXPECT_EQ(read, 0);

  std::string& codes = made.Tensor("model.layers.0.self_attn.o_proj.qweight").bytes;
  codes[0] = static_cast<char>(codes[0] ^ 1);
  made.WriteFile();
  EXPECT_TRUE(load(&source, &read) != first);
  EXPECT_EQ(source, WeightSource::kCheckpoint);
  EXPECT_GT(read, 0);
  // The same tensors under another reading of their zero points.
  made.EditConfig([](nlohmann::json& c) { c["quantization_config"]["sym"] = false; });
  load(&source, &read);
  EXPECT_EQ(source, WeightSource::kCheckpoint);
}

}  // namespace
}  // namespace octet::worker
