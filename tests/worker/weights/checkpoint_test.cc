#include "worker/weights/checkpoint.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/safetensors_writer.h"
#include "tests/support/temp_folder.h"

namespace octet::worker {
namespace {

using test::Safetensors;
using test::TempFolder;

constexpr char kIndex[] = "model.safetensors.index.json";

std::string MessageOf(const TempFolder& folder) {
  const auto checkpoint = Checkpoint::Open(folder.path());
  EXPECT_FALSE(checkpoint.ok());
  return checkpoint.status().message();
}

std::string File(const std::string& tensor, const std::string& bytes) {
  return Safetensors({{tensor, "U8", {static_cast<int64_t>(bytes.size())}, bytes}});
}

// Two files, one tensor each, and the index that says so.
void WriteTwoFiles(const TempFolder& folder) {
  folder.Write("config.json", "{}");
  folder.Write("a.safetensors", File("x", "12"));
  folder.Write("b.safetensors", File("y", "345"));
  folder.Write(kIndex, R"({"metadata":{"total_size":5},
                           "weight_map":{"x":"a.safetensors","y":"b.safetensors"}})");
}

TEST(Checkpoint, OpensOneFile) {
  const TempFolder folder;
  folder.Write("config.json", "{\"a\":1}");
  folder.Write("model.safetensors", File("x", "12"));
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->config_json(), "{\"a\":1}");
  EXPECT_FALSE(checkpoint->generation_config_json().has_value());
  EXPECT_NE(checkpoint->Find("x"), nullptr);
  EXPECT_EQ(checkpoint->Find("y"), nullptr);
}

TEST(Checkpoint, OpensIndexedFiles) {
  const TempFolder folder;
  WriteTwoFiles(folder);
  folder.Write("generation_config.json", "{}");
  const auto checkpoint = Checkpoint::Open(folder.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->generation_config_json(), "{}");
  const Checkpoint::Tensor* y = checkpoint->Find("y");
  ASSERT_NE(y, nullptr);
  EXPECT_EQ(checkpoint->FileOf(*y), "b.safetensors");
  char out[3] = {};
  ASSERT_TRUE(checkpoint->ReadRows(*y, {0, 1, 1, 3}, reinterpret_cast<std::byte*>(out)).ok());
  EXPECT_STREQ(out, "45");
}

TEST(Checkpoint, NamesWhatIsMissing) {
  const TempFolder folder;
  EXPECT_EQ(Checkpoint::Open(folder.File("absent")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(MessageOf(folder), "config.json: not found in model folder \"" + folder.path() + "\"");
  folder.Write("config.json", "{}");
  EXPECT_EQ(MessageOf(folder),
            "model folder \"" + folder.path() +
                "\" has neither model.safetensors nor model.safetensors.index.json (other kinds "
                "of weight files are not read)");
  WriteTwoFiles(folder);
  std::filesystem::remove(folder.File("b.safetensors"));
  EXPECT_EQ(MessageOf(folder), "b.safetensors: not found in model folder \"" + folder.path() +
                                   "\" (named in model.safetensors.index.json)");
}

TEST(Checkpoint, RefusesNamesThatLeadElsewhere) {
  for (const std::string name :
       {"../../etc/passwd", "/etc/passwd", "sub/a.safetensors", "..", "", ".safetensors",
        ".a.safetensors", "a.bin", "..\\\\a.safetensors", "a\\u0000.safetensors"}) {
    const TempFolder folder;
    WriteTwoFiles(folder);
    folder.Write(kIndex, R"({"weight_map":{"x":")" + name + "\"}}");
    const std::string message = MessageOf(folder);
    EXPECT_EQ(message.find("model.safetensors.index.json: tensor \"x\" is said to be in "), 0u)
        << message;
  }
}

TEST(Checkpoint, RefusesLinksThatLeadOut) {
  const TempFolder outside;
  outside.Write("a.safetensors", File("x", "12"));
  const TempFolder folder;
  WriteTwoFiles(folder);
  std::filesystem::remove(folder.File("a.safetensors"));
  std::filesystem::create_symlink(outside.File("a.safetensors"), folder.File("a.safetensors"));
  EXPECT_EQ(MessageOf(folder), "a.safetensors: is a link that leads out of model folder \"" +
                                   folder.path() + "\" (named in model.safetensors.index.json)");
}

TEST(Checkpoint, FollowsLinksIntoTheBlobsOfItsCache) {
  namespace fs = std::filesystem;
  const TempFolder cache;
  fs::create_directories(cache.File("snapshots/rev"));
  fs::create_directories(cache.File("blobs"));
  cache.Write("blobs/c0", "{}");
  cache.Write("blobs/w0", File("x", "12"));
  fs::create_symlink("../../blobs/c0", cache.File("snapshots/rev/config.json"));
  fs::create_symlink("../../blobs/w0", cache.File("snapshots/rev/model.safetensors"));
  EXPECT_TRUE(Checkpoint::Open(cache.File("snapshots/rev")).ok());
}

TEST(Checkpoint, RefusesFilesAndIndexThatDisagree) {
  {
    const TempFolder folder;
    WriteTwoFiles(folder);
    folder.Write("b.safetensors", Safetensors({{"y", "U8", {1}, "1"}, {"x", "U8", {1}, "2"}}));
    EXPECT_EQ(MessageOf(folder), "tensor \"x\" is in two files, a.safetensors and b.safetensors");
  }
  {
    const TempFolder folder;
    WriteTwoFiles(folder);
    folder.Write(kIndex, R"({"weight_map":{"x":"b.safetensors","y":"a.safetensors"}})");
    EXPECT_EQ(MessageOf(folder),
              "model.safetensors.index.json: says that tensor \"x\" is in b.safetensors, which "
              "does not have it");
  }
  {
    const TempFolder folder;
    WriteTwoFiles(folder);
    folder.Write(kIndex, R"({"weight_map":{"x":"a.safetensors"}})");
    folder.Write("a.safetensors", Safetensors({{"y", "U8", {1}, "1"}, {"x", "U8", {1}, "2"}}));
    EXPECT_EQ(MessageOf(folder),
              "a.safetensors: tensor \"y\" is not named in model.safetensors.index.json");
  }
  {
    const TempFolder folder;
    WriteTwoFiles(folder);
    folder.Write(kIndex, R"({"weight_map":{"x":"a.safetensors","x":"b.safetensors"}})");
    EXPECT_EQ(MessageOf(folder),
              "model.safetensors.index.json: key \"x\" is given twice in one object");
  }
}

TEST(Checkpoint, RefusesABadIndex) {
  for (const std::string index : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
                                  R"({"weight_map":{"x":1}})"}) {
    const TempFolder folder;
    WriteTwoFiles(folder);
    folder.Write(kIndex, index);
    EXPECT_EQ(MessageOf(folder).find(kIndex), 0u) << index;
  }
}

TEST(Checkpoint, NamesTheFileOfABadHeader) {
  const TempFolder folder;
  WriteTwoFiles(folder);
  folder.Write("b.safetensors", "123");
  EXPECT_EQ(MessageOf(folder).find("b.safetensors: 3 bytes are too few"), 0u);
}

// Slices of matrices whose rows are short (read through), long (read one by one), and whole.
TEST(Checkpoint, ReadsSlices) {
  std::mt19937 random(3);
  for (const int64_t cols : {5, 300, 5000, 20000, 70000}) {
    const int64_t rows = cols > 1000 ? 7 : 400;
    std::string values(rows * cols * 2, '\0');
    for (char& byte : values) byte = static_cast<char>(random());
    const TempFolder folder;
    folder.Write("config.json", "{}");
    folder.Write("model.safetensors",
                 Safetensors({{"before", "U8", {3}, "abc"}, {"w", "BF16", {rows, cols}, values}}));
    const auto checkpoint = Checkpoint::Open(folder.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    for (int i = 0; i < 40; ++i) {
      int64_t r[2] = {static_cast<int64_t>(random() % (rows + 1)),
                      static_cast<int64_t>(random() % (rows + 1))};
      int64_t c[2] = {static_cast<int64_t>(random() % (cols + 1)),
                      static_cast<int64_t>(random() % (cols + 1))};
      if (i % 4 == 0) c[0] = 0, c[1] = cols;
      const MatrixSlice slice = {std::min(r[0], r[1]), std::max(r[0], r[1]), std::min(c[0], c[1]),
                                 std::max(c[0], c[1])};
      std::string expected;
      for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
        expected += values.substr((row * cols + slice.col_begin) * 2, slice.cols() * 2);
      }
      std::string out(expected.size(), '\0');
      ASSERT_TRUE(
          checkpoint
              ->ReadRows(*checkpoint->Find("w"), slice, reinterpret_cast<std::byte*>(out.data()))
              .ok());
      EXPECT_EQ(out, expected);
    }
  }
}

}  // namespace
}  // namespace octet::worker
