// What is wrong with a file or a folder: said in one sentence, and the weights are right all the
// same.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/worker/weights/packed/packed_cases.h"
#include "worker/weights/packed/format.h"

namespace octet::worker {
namespace {

class PackedFaults : public ::testing::TestWithParam<Place> {
 protected:
  // Loads while standard error is listened to.
  std::string Warning(const PackedFolder& folder) {
    ::testing::internal::CaptureStderr();
    const auto loaded = LoadPacked(made_, folder);
    std::string told = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(loaded.ok());
    EXPECT_EQ(loaded->source, WeightSource::kCheckpoint);
    EXPECT_EQ(BytesOf(loaded->weights), expected_);
    EXPECT_EQ(std::count(told.begin(), told.end(), '\n'), told.empty() ? 0 : 1) << told;
    return told;
  }

  // A good file is damaged, noticed and replaced.
  template <typename Damage>
  void ExpectRebuilt(const std::string& sentence, const Damage& damage) {
    SCOPED_TRACE(sentence);
    ASSERT_TRUE(LoadPacked(made_, folder_).ok());
    const std::string path = place_.OnlyFile();
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
    damage(path);
    const std::string told = Warning(folder_);
    EXPECT_NE(told.find(sentence), std::string::npos) << told;
    const auto after = LoadPacked(made_, folder_);
    EXPECT_EQ(after->source, place_.found());
    EXPECT_EQ(BytesOf(after->weights), expected_);
  }

  static void FlipBit(const std::string& path, int64_t at) {
    const int fd = open(path.c_str(), O_RDWR);
    char byte = 0;
    ASSERT_EQ(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    ASSERT_EQ(pwrite(fd, &byte, 1, at), 1);
    close(fd);
  }

  PackedLayout LayoutOf() const {
    const auto shard = ShardPlan::Make(made_.spec, 1, 0);
    return PackedLayout::Make(WeightPlan::Make(
        made_.spec, *shard, PackedOptions(kernels::WeightFormat::kInt4, made_.dtype)));
  }

  const PackedPlace place_{GetParam()};
  const PackedFolder folder_{place_.folder()};
  const MadeCheckpoint made_{SmallConfig(true), DType::kBF16};
  const std::string expected_ = BytesOf(LoadPacked(made_, {})->weights);
};

INSTANTIATE_TEST_SUITE_P(InBothPlaces, PackedFaults,
                         ::testing::Values(Place::kDisk, Place::kMemory), [](const auto& info) {
                           return info.param == Place::kDisk ? "disk" : "memory";
                         });

TEST_P(PackedFaults, AFlippedBitOfTheHeader) {
  ExpectRebuilt("does not begin as a file of packed weights",
                [](const std::string& path) { FlipBit(path, 3); });
  ExpectRebuilt("has format version 5, expected 1",
                [](const std::string& path) { FlipBit(path, 8); });
  const PackedLayout layout = LayoutOf();
  for (int64_t at = 12; at < layout.header_bytes; at += at < 80 ? 8 : 397) {
    ExpectRebuilt("has a header that does not match its checksum",
                  [at](const std::string& path) { FlipBit(path, at); });
  }
}

TEST_P(PackedFaults, AFlippedBitOfATensor) {
  const int64_t begin = LayoutOf().data_begin;
  const auto plain = LoadPacked(made_, {});
  for (const WeightPart& part : plain->weights.parts) {
    ExpectRebuilt(
        "the bytes of " + part.name + " do not match their checksum",
        [&](const std::string& path) { FlipBit(path, begin + part.begin + part.bytes - 1); });
  }
}

TEST_P(PackedFaults, ATruncatedFile) {
  const int64_t whole = LayoutOf().file_bytes();
  for (const int64_t left : {int64_t{0}, int64_t{100}, whole - 1}) {
    ExpectRebuilt("has " + std::to_string(left) + " bytes, expected " + std::to_string(whole),
                  [left](const std::string& path) { ASSERT_EQ(truncate(path.c_str(), left), 0); });
  }
}

TEST_P(PackedFaults, AHoleInTheData) {
  const PackedLayout layout = LayoutOf();
  const bool mapped = place_.found() == WeightSource::kMappedFile;
  ExpectRebuilt(mapped ? "has pages that were never written" : "do not match their checksum",
                [&](const std::string& path) {
                  ASSERT_EQ(truncate(path.c_str(), layout.data_begin + 8192), 0);
                  ASSERT_EQ(truncate(path.c_str(), layout.file_bytes()), 0);
                });
}

TEST_P(PackedFaults, AFileOfAnotherKey) {
  ASSERT_TRUE(LoadPacked(made_, folder_).ok());
  const std::string before = place_.OnlyFile();
  std::filesystem::last_write_time(
      made_.folder.File("model.safetensors"),
      std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  ASSERT_TRUE(LoadPacked(made_, folder_).ok());
  for (const std::string& name : place_.Files()) {
    const std::string path = place_.folder() + "/" + name;
    if (path != before) std::filesystem::rename(before, path);
  }
  EXPECT_NE(Warning(folder_).find("it was made from other files"), std::string::npos);
  EXPECT_EQ(LoadPacked(made_, folder_)->source, place_.found());
}

TEST_P(PackedFaults, NotAFileAtAll) {
  ASSERT_TRUE(LoadPacked(made_, folder_).ok());
  const std::string path = place_.OnlyFile();
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_NE(Warning(folder_).find("is not a regular file"), std::string::npos);
  EXPECT_EQ(LoadPacked(made_, folder_)->source, place_.found());
}

TEST_P(PackedFaults, KilledWhileWriting) {
  const pid_t child = fork();
  if (child == 0) {
    (void)LoadPacked(made_, folder_, {}, kernels::WeightFormat::kInt4, /*threads=*/1,
                     [](double fraction) {
                       if (fraction > 0.3) raise(SIGKILL);
                     });
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(place_.Files().size(), 1u);
  EXPECT_EQ(place_.Files()[0].rfind("packing-", 0), 0u);
  EXPECT_EQ(Warning(folder_), "");
  ASSERT_EQ(place_.Files().size(), 1u);  // what was left is gone
  EXPECT_EQ(LoadPacked(made_, folder_)->source, place_.found());
}

TEST_P(PackedFaults, AFailedLoadLeavesNothing) {
  MadeCheckpoint bad(SmallConfig(true), DType::kBF16);
  bad.values["model.layers.1.mlp.up_proj.weight"][7] = INFINITY;
  bad.WriteFile();
  EXPECT_NE(LoadPacked(bad, folder_).status().message().find("infinity or NaN"), std::string::npos);
  EXPECT_TRUE(place_.Files().empty());
}

TEST_P(PackedFaults, AFullFolder) {
  const std::string told = Warning({.path = place_.folder(), .reserve_bytes = int64_t{1} << 60});
  const int64_t needed = LayoutOf().stored_bytes();
  EXPECT_NE(told.find("folder " + place_.folder() + " has no room: " + std::to_string(needed) +
                      " bytes are needed"),
            std::string::npos)
      << told;
  EXPECT_NE(told.find("--weight-cache"), std::string::npos);
  EXPECT_TRUE(place_.Files().empty());
}

TEST_P(PackedFaults, AFileLimit) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{1 << 20, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string told = Warning(folder_);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_NE(told.find("files are limited (ulimit -f)"), std::string::npos) << told;
  EXPECT_TRUE(place_.Files().empty());
}

TEST_P(PackedFaults, AFolderThatCanNotBeWritten) {
  EXPECT_NE(Warning({.path = place_.path() + "/missing/weights"}).find("can not be made"),
            std::string::npos);
  EXPECT_NE(Warning({.path = "/proc"}).find("no file can be made in /proc"), std::string::npos);
  EXPECT_NE(Warning({.path = made_.folder.File("config.json")}).find("config.json"),
            std::string::npos);
  if (geteuid() == 0) return;  // who may write everywhere
  ASSERT_TRUE(LoadPacked(made_, folder_).ok());
  ASSERT_EQ(chmod(place_.folder().c_str(), 0500), 0);
  EXPECT_EQ(LoadPacked(made_, folder_)->source, place_.found());
  FlipBit(place_.OnlyFile(), 3);
  EXPECT_EQ(LoadPacked(made_, folder_)->source, WeightSource::kCheckpoint);
  ASSERT_EQ(chmod(place_.folder().c_str(), 0700), 0);
}

}  // namespace
}  // namespace octet::worker
