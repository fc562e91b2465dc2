// How much of a packed checkpoint a rank reads: its own rows and inputs, and hardly anything else.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>

#include "tests/worker/weights/formats/stored_checkpoint.h"
#include "tests/worker/weights/packed/packed_cases.h"
#include "worker/weights/loader.h"

namespace octet::worker {
namespace {

nlohmann::json WideConfig() {
  nlohmann::json config = StoredConfig(false);
  config["hidden_size"] = 512;  // so that words and groups that ranks share weigh little
  config["head_dim"] = 64;
  config["intermediate_size"] = 2048;
  return config;
}

// Of a share of codes, scales and zero points; vectors and group numbers are read whole.
// `mlp`: that of gate, up and down, where it is not the rank's own.
double ShareOf(const StoredCheckpoint& made, const ShardPlan& shard,
               std::optional<double> mlp = {}) {
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
      share = mlp.value_or(static_cast<double>(shard.ffn()) / static_cast<double>(spec.ffn));
    } else {
      share = static_cast<double>(shard.vocab()) / static_cast<double>(spec.vocab);
    }
    bytes += all * share;
  }
  return bytes;
}

TEST(StoredReads, ARankAsksForItsOwnShareOfTheFile) {
  for (const StoredCase& c :
       {StoredCase{.method = "gptq"}, StoredCase{.method = "gptq_v2", .bits = 8, .group = 128},
        StoredCase{.method = "awq", .group = 128, .symmetric = false},
        StoredCase{.method = "pack-quantized", .symmetric = false},
        StoredCase{.method = "gptq", .act_order = true}}) {
    const StoredCheckpoint made(WideConfig(), c);
    for (const int64_t ranks : {1, 4, 8}) {
      for (const int64_t rank : {int64_t{0}, ranks - 1}) {
        const auto checkpoint = Checkpoint::Open(made.folder.path());
        const WeightOptions options = ResolveWeightOptions(*checkpoint, made.spec, {}).value();
        const ShardPlan shard = *ShardPlan::Make(made.spec, ranks, rank);
        ThreadPool pool(2);
        const int64_t before = checkpoint->bytes_read();
        ASSERT_TRUE(LoadDecoderWeights(*checkpoint, made.spec, shard, options, pool, nullptr).ok());
        const auto read = static_cast<double>(checkpoint->bytes_read() - before);
        // With act-order a rank that is alone reads gate, up and down whole; and the attention
        // output has the scales of all groups.
        const double share = c.act_order ? 1.06 * ShareOf(made, shard, 1.0) : ShareOf(made, shard);
        EXPECT_LE(read, 1.05 * share) << c.Name() << ", rank " << rank << " of " << ranks;
        EXPECT_GE(read, 0.9 * share) << c.Name() << ", rank " << rank << " of " << ranks;
      }
    }
  }
}

// A folder in memory, for a group of ranks.
class SharedFolder {
 public:
  SharedFolder() : path_("/dev/shm/octet_shared_reads_" + std::to_string(getpid())) {
    std::filesystem::create_directory(path_);
  }
  ~SharedFolder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  bool is_empty() const { return std::filesystem::is_empty(path_); }

 private:
  const std::string path_;
};

struct RankLoad {
  Status status;
  std::string weights;
  int64_t read_bytes = 0;
};

// Each rank on a thread, with a place at one table; those of `absent` never come.
std::vector<RankLoad> LoadTogether(const StoredCheckpoint& made, const std::string& folder,
                                   int ranks, const std::vector<int>& absent = {}) {
  std::vector<std::unique_ptr<SharedReads>> places;
  for (int rank = 0; rank < ranks; ++rank) {
    const bool comes = std::find(absent.begin(), absent.end(), rank) == absent.end();
    places.push_back(comes ? SharedReads::Join(folder, "key", {rank, ranks}, 0) : nullptr);
    EXPECT_EQ(places.back() != nullptr, comes);
  }
  std::vector<RankLoad> loads(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    if (places[rank] == nullptr) continue;
    threads.emplace_back([&, rank] {
      const auto checkpoint = Checkpoint::Open(made.folder.path());
      const WeightOptions options = ResolveWeightOptions(*checkpoint, made.spec, {}).value();
      ThreadPool pool(1);
      const int64_t before = checkpoint->bytes_read();
      auto loaded =
          LoadDecoderWeights(*checkpoint, made.spec, *ShardPlan::Make(made.spec, ranks, rank),
                             options, pool, nullptr, {}, places[rank].get());
      loads[rank].status = loaded.status();
      if (loaded.ok()) loads[rank].weights = BytesOf(*loaded);
      loads[rank].read_bytes = checkpoint->bytes_read() - before;
      places[rank].reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return loads;
}

std::string LoadAlone(const StoredCheckpoint& made, int ranks, int rank) {
  const auto checkpoint = Checkpoint::Open(made.folder.path());
  const WeightOptions options = ResolveWeightOptions(*checkpoint, made.spec, {}).value();
  ThreadPool pool(1);
  return BytesOf(*LoadDecoderWeights(
      *checkpoint, made.spec, *ShardPlan::Make(made.spec, ranks, rank), options, pool, nullptr));
}

// With act-order every rank needs gate, up and down whole, and yet asks for its share of them.
TEST(StoredReads, RanksOfAHostReadTogetherWhatAllNeedWhole) {
  const SharedFolder folder;
  for (const StoredCase& c : {StoredCase{.method = "gptq", .act_order = true},
                              StoredCase{.method = "pack-quantized", .act_order = true}}) {
    const StoredCheckpoint made(WideConfig(), c);
    for (const int ranks : {2, 3, 8}) {
      const std::vector<RankLoad> loads = LoadTogether(made, folder.path(), ranks);
      for (int rank = 0; rank < ranks; ++rank) {
        const ShardPlan shard = *ShardPlan::Make(made.spec, ranks, rank);
        ASSERT_TRUE(loads[rank].status.ok()) << loads[rank].status.message();
        EXPECT_TRUE(loads[rank].weights == LoadAlone(made, ranks, rank));
        // Shares of three ranks are uneven, parts are not. The attention output has the scales of
        // all groups: 1.06, as above.
        const double share = 1.06 * ShareOf(made, shard, 1.0 / ranks);
        EXPECT_LE(static_cast<double>(loads[rank].read_bytes), 1.05 * share)
            << c.Name() << ", rank " << rank << " of " << ranks;
      }
      EXPECT_TRUE(folder.is_empty());
    }
  }
}

TEST(StoredReads, NobodyWaitsForARankThatDoesNotComeOrFails) {
  const SharedFolder folder;
  StoredCheckpoint made(WideConfig(), {.method = "gptq", .act_order = true});
  const std::vector<RankLoad> loads = LoadTogether(made, folder.path(), 4, {1, 3});
  for (const int rank : {0, 2}) {
    ASSERT_TRUE(loads[rank].status.ok()) << loads[rank].status.message();
    EXPECT_TRUE(loads[rank].weights == LoadAlone(made, 4, rank));
  }
  EXPECT_TRUE(folder.is_empty());

  // A scale that only the first rank of four reads before the others share what is whole.
  std::string& scales = made.Tensor("model.layers.0.self_attn.q_proj.scales").bytes;
  const std::string nan("\x00\x7e", 2);
  scales.replace(0, 2, nan);
  made.WriteFile();
  const std::vector<RankLoad> failing = LoadTogether(made, folder.path(), 4);
  EXPECT_EQ(failing[0].status.code(), StatusCode::kDataLoss) << failing[0].status.message();
  for (const int rank : {1, 2, 3}) EXPECT_TRUE(failing[rank].status.ok());
  EXPECT_TRUE(folder.is_empty());
}

// What a killed group left is cleared away, and a place that is taken is not given twice.
TEST(SharedReads, ATableIsOfThoseWhoSitAtIt) {
  const SharedFolder folder;
  std::ofstream(folder.path() + "/reads-old.table") << "x";
  std::ofstream(folder.path() + "/reads-old.7") << "x";
  std::ofstream(folder.path() + "/other") << "x";
  const auto first = SharedReads::Join(folder.path(), "new", {0, 2}, 0);
  ASSERT_NE(first, nullptr);
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/reads-old.table"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/reads-old.7"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() + "/other"));
  EXPECT_EQ(SharedReads::Join(folder.path(), "new", {0, 2}, 0), nullptr);
  EXPECT_EQ(SharedReads::Join(folder.path(), "new", {0, 1}, 0), nullptr) << "alone";
  EXPECT_EQ(SharedReads::Join("/proc", "new", {1, 2}, 0), nullptr) << "not in memory";
  const auto second = SharedReads::Join(folder.path(), "new", {1, 2}, int64_t{1} << 60);
  ASSERT_NE(second, nullptr);
  const auto none =
      second->Next(64, [](int, int, std::byte*) { return Internal("it is never called"); });
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr) << "no room";
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
