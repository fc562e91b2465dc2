// Caches as sysfs names them, in a folder of the test's own.
#include "kernels/roofline/last_level_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace octet::kernels {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;

class LastLevelCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (std::filesystem::temp_directory_path() / "octet_cache_XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    cpus_ = folder;
  }
  void TearDown() override { std::filesystem::remove_all(cpus_); }

  void AddCpu(int cpu) { std::filesystem::create_directory(Folder(cpu)); }

  void AddCache(int cpu, int index, int level, const char* size, const char* shared_by) {
    const std::filesystem::path cache = Folder(cpu) / "cache" / ("index" + std::to_string(index));
    std::filesystem::create_directories(cache);
    std::ofstream(cache / "level") << level << '\n';
    std::ofstream(cache / "size") << size << '\n';
    std::ofstream(cache / "shared_cpu_list") << shared_by << '\n';
  }

  std::filesystem::path Folder(int cpu) const { return cpus_ / ("cpu" + std::to_string(cpu)); }
  int64_t Bytes() const { return LastLevelCacheBytes(cpus_.string()); }

  std::filesystem::path cpus_;
};

TEST_F(LastLevelCacheTest, NoneIsNamed) {
  EXPECT_EQ(Bytes(), 0);
  EXPECT_EQ(LastLevelCacheBytes((cpus_ / "absent").string()), 0);
  AddCpu(0);
  EXPECT_EQ(Bytes(), 0);
}

TEST_F(LastLevelCacheTest, SharedOnesCountOnce) {
  for (int cpu = 0; cpu < 4; ++cpu) {
    const std::string own = std::to_string(cpu);
    AddCache(cpu, 0, 1, "48K", own.c_str());
    AddCache(cpu, 1, 3, "32768K", cpu < 2 ? "0-1" : "2-3");
    AddCache(cpu, 2, 2, "2048K", own.c_str());
  }
  EXPECT_EQ(Bytes(), 64 * kMiB);
}

TEST_F(LastLevelCacheTest, ProcessorsWithoutACacheArePassedOver) {
  AddCpu(0);  // as one that is offline
  AddCache(1, 0, 2, "1024K", "1");
  AddCache(2, 0, 2, "1024K", "2");
  EXPECT_EQ(Bytes(), 2 * kMiB);
}

TEST(ReadBufferBytes, FourTimesTheCachesWithinLimits) {
  EXPECT_EQ(ReadBufferBytes(0, 64 * kGiB), kGiB);
  EXPECT_EQ(ReadBufferBytes(32 * kMiB, 64 * kGiB), kGiB);
  EXPECT_EQ(ReadBufferBytes(300 * kMiB, 64 * kGiB), 1200 * kMiB);
  EXPECT_EQ(ReadBufferBytes(480 * kMiB, 64 * kGiB), 1920 * kMiB);
  EXPECT_EQ(ReadBufferBytes(kGiB, 64 * kGiB), 2 * kGiB);
  EXPECT_EQ(ReadBufferBytes(480 * kMiB, 8 * kGiB), kGiB);
  EXPECT_EQ(ReadBufferBytes(480 * kMiB, kGiB), 256 * kMiB);
}

}  // namespace
}  // namespace octet::kernels
