// What a file gives back is what was packed, to the byte, in both kinds of folders.
#include "worker/weights/packed/packed_weights.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>
#include <vector>

#include "tests/worker/weights/packed/packed_cases.h"
#include "worker/weights/packed/checksum.h"
#include "worker/weights/packed/format.h"

namespace octet::worker {
namespace {

using kernels::WeightFormat;

class PackedWeights : public ::testing::TestWithParam<Place> {
 protected:
  const PackedPlace place_{GetParam()};
  const PackedFolder folder_{place_.folder()};
  const MadeCheckpoint made_{SmallConfig(true), DType::kBF16};
};

INSTANTIATE_TEST_SUITE_P(InBothPlaces, PackedWeights,
                         ::testing::Values(Place::kDisk, Place::kMemory), [](const auto& info) {
                           return info.param == Place::kDisk ? "disk" : "memory";
                         });

TEST_P(PackedWeights, ComeBackAsTheyWere) {
  for (const WeightFormat format :
       {WeightFormat::kInt4, WeightFormat::kInt8, WeightFormat::kBF16}) {
    for (const int64_t ranks : {1, 2, 3}) {
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const auto plain = LoadPacked(made_, {}, {ranks, rank}, format);
        const auto first = LoadPacked(made_, folder_, {ranks, rank}, format);
        const auto second = LoadPacked(made_, folder_, {ranks, rank}, format, /*threads=*/3);
        ASSERT_TRUE(plain.ok() && first.ok() && second.ok());
        EXPECT_EQ(plain->source, WeightSource::kCheckpoint);
        EXPECT_EQ(first->source, WeightSource::kCheckpoint);
        EXPECT_EQ(second->source, place_.found());
        const std::string expected = BytesOf(plain->weights);
        EXPECT_EQ(BytesOf(first->weights), expected);
        EXPECT_EQ(BytesOf(second->weights), expected);
      }
    }
  }
  EXPECT_EQ(place_.Files().size(), 3u * (1 + 2 + 3));
}

TEST_P(PackedWeights, AFileTakesWhatThePlanSays) {
  ASSERT_TRUE(LoadPacked(made_, folder_, {3, 1}).ok());
  struct stat found {};
  ASSERT_EQ(stat(place_.OnlyFile().c_str(), &found), 0);
  const auto shard = ShardPlan::Make(made_.spec, 3, 1);
  const WeightOptions options = PackedOptions(WeightFormat::kInt4, made_.dtype);
  const int64_t planned = PackedFileBytes(made_.spec, *shard, options);
  EXPECT_EQ(found.st_blocks * 512, planned);
  EXPECT_EQ(found.st_mode & 0777, 0400u);
  EXPECT_GE(planned, WeightPlan::Make(made_.spec, *shard, options).bytes());
}

// A slow disk is a rank that gets on: between any two words there is little to read or to write.
TEST_P(PackedWeights, WhatIsToldGrowsInSmallStepsToOne) {
  std::vector<double> told;
  ASSERT_TRUE(
      LoadPacked(made_, folder_, {}, WeightFormat::kBF16, /*threads=*/1, [&](double fraction) {
        told.push_back(fraction);
      }).ok());
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back(), 1);
  // The largest: a MiB of 3.6 that are written in a quarter.
  for (size_t i = 1; i < told.size(); ++i) {
    EXPECT_GE(told[i], told[i - 1]);
    EXPECT_LT(told[i] - told[i - 1], 0.1) << told[i];
  }
}

TEST_P(PackedWeights, AnotherCheckpointAnotherFile) {
  ASSERT_TRUE(LoadPacked(made_, folder_).ok());
  const MadeCheckpoint other(SmallConfig(true), DType::kBF16, /*seed=*/2);
  const auto loaded = LoadPacked(other, folder_);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->source, WeightSource::kCheckpoint);
  EXPECT_EQ(place_.Files().size(), 2u);
  // The same files, touched.
  std::filesystem::last_write_time(
      made_.folder.File("model.safetensors"),
      std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  EXPECT_EQ(LoadPacked(made_, folder_)->source, WeightSource::kCheckpoint);
  EXPECT_EQ(place_.Files().size(), 3u);
  // The same file with another config.
  nlohmann::json config = SmallConfig(true);
  config["rope_theta"] = 5e5;
  made_.folder.Write("config.json", config.dump());
  EXPECT_EQ(LoadPacked(made_, folder_)->source, WeightSource::kCheckpoint);
  EXPECT_EQ(place_.Files().size(), 4u);
}

TEST_P(PackedWeights, TwoRanksMayWriteTheSameAtOnce) {
  const std::string expected = BytesOf(LoadPacked(made_, {})->weights);
  std::vector<std::string> found(4);
  std::vector<std::thread> ranks;
  for (std::string& bytes : found) {
    ranks.emplace_back([&] { bytes = BytesOf(LoadPacked(made_, folder_)->weights); });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const std::string& bytes : found) EXPECT_EQ(bytes, expected);
  EXPECT_EQ(place_.Files().size(), 1u);
  const auto after = LoadPacked(made_, folder_);
  EXPECT_EQ(after->source, place_.found());
  EXPECT_EQ(BytesOf(after->weights), expected);
}

TEST_P(PackedWeights, AFileMayGoWhileItIsUsed) {
  ASSERT_TRUE(LoadPacked(made_, folder_).ok());
  const auto loaded = LoadPacked(made_, folder_);
  const std::string before = BytesOf(loaded->weights);
  std::filesystem::remove_all(place_.folder());
  EXPECT_EQ(BytesOf(loaded->weights), before);
}

using PackedWeightsDeathTest = PackedWeights;
INSTANTIATE_TEST_SUITE_P(InBothPlaces, PackedWeightsDeathTest,
                         ::testing::Values(Place::kDisk, Place::kMemory));

TEST_P(PackedWeightsDeathTest, AreSealed) {
  for (const char* which : {"made", "found"}) {
    const auto loaded = LoadPacked(made_, folder_);
    ASSERT_TRUE(loaded.ok()) << which;
    auto* const bytes = const_cast<std::byte*>(loaded->weights.arena.data());
    EXPECT_DEATH(*bytes = std::byte{1}, "") << which;
  }
}

TEST(Checksums, DoNotDependOnTheThreadsAndSeeEveryByteOfAPart) {
  std::vector<std::byte> data(3 * kChecksumChunkBytes);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 2654435761u >> 24);
  const std::vector<WeightPart> parts = {{"a", 0, 100},
                                         {"none", 128, 0},
                                         {"b", 128, kChecksumChunkBytes + 1},
                                         {"c", 2 * kChecksumChunkBytes, kChecksumChunkBytes}};
  const FetchChunk fetch = [&](int64_t begin, int64_t) { return data.data() + begin; };
  ThreadPool one(1);
  ThreadPool four(4);
  const std::vector<Checksum> sums = ChecksumsOf(parts, fetch, one);
  EXPECT_EQ(ChecksumsOf(parts, fetch, four), sums);
  data[128 + kChecksumChunkBytes] ^= std::byte{1};  // the last of b
  const std::vector<Checksum> changed = ChecksumsOf(parts, fetch, one);
  for (size_t i = 0; i < parts.size(); ++i) EXPECT_EQ(changed[i] == sums[i], i != 2);
}

}  // namespace
}  // namespace octet::worker
