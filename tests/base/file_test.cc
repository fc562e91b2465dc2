#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/temp_folder.h"

namespace octet {
namespace {

using test::TempFolder;

TEST(ReadTextFile, ReadsTheWholeWithinTheLimit) {
  const TempFolder folder;
  folder.Write("a", "12345");
  EXPECT_EQ(*ReadTextFile(folder.File("a"), "a", 5), "12345");
  const auto long_one = ReadTextFile(folder.File("a"), "a.json", 4);
  EXPECT_EQ(long_one.status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(long_one.status().message(), "a.json: 5 bytes, the limit is 4");
}

TEST(ReadTextFile, RefusesWhatIsNotARegularFile) {
  const TempFolder folder;
  ASSERT_EQ(mkfifo(folder.File("fifo").c_str(), 0600), 0);
  for (const std::string& path : {folder.path(), folder.File("fifo"), std::string("/dev/zero")}) {
    const auto text = ReadTextFile(path, "x", 100);
    EXPECT_EQ(text.status().code(), StatusCode::kInvalidArgument) << path;
    EXPECT_EQ(text.status().message(), "x: is not a regular file");
  }
  EXPECT_EQ(ReadTextFile(folder.File("absent"), "x", 1).status().code(), StatusCode::kNotFound);
  std::filesystem::create_symlink("loop", folder.File("loop"));
  EXPECT_EQ(ReadTextFile(folder.File("loop"), "x", 1).status().code(), StatusCode::kUnavailable);
}

TEST(ReadOnlyFile, NoticesAnotherFileInItsPlace) {
  const TempFolder folder;
  folder.Write("a", "12345");
  auto file = ReadOnlyFile::Open(folder.File("a"), "a");
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->CheckUnchanged().ok());
  folder.Write("b", "12345");
  std::filesystem::rename(folder.File("b"), folder.File("a"));
  const ReadOnlyFile moved = std::move(*file);
  EXPECT_EQ(moved.CheckUnchanged().message(), "a: was replaced or removed while it was read");
  std::filesystem::remove(folder.File("a"));
  EXPECT_EQ(moved.CheckUnchanged().code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace octet
