// F3 and F7: folders that lead elsewhere or contradict themselves, and files that fail or change
// under the reader.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <sys/stat.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>

#include "base/dtype.h"
#include "tests/integration/bad_files/bad_model.h"
#include "tests/support/fault_table.h"

namespace octet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr auto kBad = StatusCode::kInvalidArgument;
constexpr auto kLoss = StatusCode::kDataLoss;
constexpr int64_t kSmall = 256 << 10;
constexpr char kNorm[] = "model.norm.weight";

// The index says that the final norm is in `name`.
std::function<void(const BadModel&)> NormIsIn(const std::string& name) {
  return [name](const BadModel& m) {
    m.Split();
    m.EditIndex([&](json& index) { index["weight_map"][kNorm] = name; });
  };
}

void LinkTo(const BadModel& model, const std::string& name, const fs::path& target) {
  fs::remove(model.folder().File(name));
  fs::create_symlink(target, model.folder().File(name));
}

TEST(BadFiles, F3FoldersThatLeadElsewhere) {
  const test::TempFolder outside;
  outside.Write("x.safetensors", "");
  outside.Write("config.json", "{}");
  const auto said_to_be_in = [](const std::string& name) {
    return "model.safetensors.index.json: tensor \"model.norm.weight\" is said to be in \"" + name +
           "\", expected the plain name of a .safetensors file";
  };
  const std::string passwd = said_to_be_in("../../etc/passwd");
  const std::string absolute = said_to_be_in("/etc/x.safetensors");
  ExpectRefused(
      {{"F3", "index names ../../etc/passwd", NormIsIn("../../etc/passwd"), kBad, passwd.c_str()},
       {"F3", "index names an absolute path", NormIsIn("/etc/x.safetensors"), kBad,
        absolute.c_str()},
       {"F3", "index names ..", NormIsIn(".."), kBad, "is said to be in \"..\", expected"},
       {"F3", "index names a number",
        [](const BadModel& m) {
          m.Split();
          m.EditIndex([](json& index) { index["weight_map"][kNorm] = 7; });
        },
        kBad, "model.safetensors.index.json: the file of tensor \"model.norm.weight\" is not"},
       {"F3", "weights are a link out of the folder",
        [&](const BadModel& m) { LinkTo(m, "model.safetensors", outside.File("x.safetensors")); },
        kBad, "model.safetensors: is a link that leads out of model folder"},
       {"F3", "config.json is a link out of the folder",
        [&](const BadModel& m) { LinkTo(m, "config.json", outside.File("config.json")); }, kBad,
        "config.json: is a link that leads out of model folder"},
       {"F3", "weights are a link to themselves",
        [](const BadModel& m) { LinkTo(m, "model.safetensors", "model.safetensors"); },
        StatusCode::kNotFound, "model.safetensors: is a link in model folder"},
       {"F3", "weights are a link to what is not there",
        [](const BadModel& m) { LinkTo(m, "model.safetensors", "../../blobs/gone"); },
        StatusCode::kNotFound, "whose target is not there"},
       {"F3", "weights are a link to /dev/zero",
        [](const BadModel& m) { LinkTo(m, "model.safetensors", "/dev/zero"); }, kBad,
        "model.safetensors: is a link that leads out of model folder"},
       {"F3", "blobs that are not of this cache",
        [&](const BadModel& m) {
          fs::create_directories(m.folder().File("blobs"));
          fs::rename(m.folder().File("model.safetensors"), m.folder().File("blobs/w"));
          LinkTo(m, "model.safetensors", outside.File("x.safetensors"));
        },
        kBad, "model.safetensors: is a link that leads out of model folder"}},
      kSmall);
}

// The Hugging Face cache: snapshots/<revision>/<name> is a link to ../../blobs/<digest>.
TEST(BadFiles, F3TheCachesOwnLinksAreFollowed) {
  const BadModel model;
  const test::TempFolder cache;
  const std::string snapshot = cache.File("snapshots/0123");
  fs::create_directories(snapshot);
  fs::create_directories(cache.File("blobs"));
  for (const char* name : {"config.json", "model.safetensors"}) {
    fs::copy_file(model.folder().File(name), cache.File(std::string("blobs/sha_") + name));
    fs::create_symlink(std::string("../../blobs/sha_") + name, snapshot + "/" + name);
  }
  const Status status = LoadAsRank(snapshot);
  EXPECT_TRUE(status.ok()) << status.message();
  FaultSeen("F3", "links from snapshots/ into blobs/ of the same repository",
            status.ok() ? "followed: the model is loaded" : status.message());
  const Status elsewhere = [&] {
    fs::remove(snapshot + "/config.json");
    fs::create_symlink("../../refs", snapshot + "/config.json");
    fs::copy_file(model.folder().File("config.json"), cache.File("refs"));
    return LoadAsRank(snapshot);
  }();
  EXPECT_EQ(elsewhere.code(), kBad);
  FaultSeen("F3", "a link from snapshots/ to what is not in blobs/", elsewhere.message());
}

TEST(BadFiles, F3IndexAndFilesThatDisagree) {
  ExpectRefused(
      {{"F3", "a shard is missing",
        [](const BadModel& m) {
          m.Split();
          fs::remove(m.folder().File("b.safetensors"));
        },
        StatusCode::kNotFound, "b.safetensors: not found in model folder"},
       {"F3", "a tensor in two shards",
        [](const BadModel& m) {
          m.Split();
          fs::copy_file(m.folder().File("a.safetensors"), m.folder().File("b.safetensors"),
                        fs::copy_options::overwrite_existing);
        },
        kLoss, "is in two files, a.safetensors and b.safetensors"},
       {"F3", "index and shard disagree", NormIsIn("a.safetensors"), kLoss,
        "model.safetensors.index.json: says that tensor"},
       {"F3", "index does not name a tensor that is there",
        [](const BadModel& m) {
          m.Split();
          m.EditIndex([](json& index) { index["weight_map"].erase(kNorm); });
        },
        kLoss, "tensor \"model.norm.weight\" is not named in model.safetensors.index.json"},
       {"F3", "an index without weight_map",
        [](const BadModel& m) {
          m.Split();
          m.EditIndex([](json& index) { index.erase("weight_map"); });
        },
        kBad, "model.safetensors.index.json: key \"weight_map\" is missing or not an object"},
       {"F3", "a fifo for a shard",
        [](const BadModel& m) {
          m.Split();
          fs::remove(m.folder().File("b.safetensors"));
          ASSERT_EQ(mkfifo(m.folder().File("b.safetensors").c_str(), 0600), 0);
        },
        kBad, "b.safetensors: is not a regular file"}},
      kSmall);
}

TEST(BadFiles, F5NaNInWeightsThatAreRounded) {
  const std::map<std::string, uint16_t> values = {{"NaN", 0x7FC0}, {"infinity", 0xFF80}};
  for (const auto& [name, bits] : values) {
    const BadModel model;
    std::string data = model.data();
    std::memcpy(&data[data.size() / 2], &bits, sizeof(bits));
    model.WriteHeader(model.header(), data);
    const Status status = LoadAsRank(model.folder().path());
    EXPECT_EQ(status.code(), kLoss);
    EXPECT_NE(status.message().find("infinity or NaN in row "), std::string::npos)
        << status.message();
    FaultSeen("F5", name + " in a bf16 weight that is rounded to int4", status.message());
  }
}

// One fault in the environment, as read_fault.cc reads it, of a load in this process.
struct ReadFault {
  explicit ReadFault(const char* kind, const char* at = "100000") {
    static int generation = 0;
    setenv("OCTET_READ_FAULT", kind, 1);
    setenv("OCTET_READ_FAULT_AT", at, 1);
    setenv("OCTET_READ_FAULT_FILE", "/model.safetensors", 1);
    setenv("OCTET_READ_FAULT_MS", "300", 1);
    setenv("OCTET_READ_FAULT_GENERATION", std::to_string(++generation).c_str(), 1);
  }
  ~ReadFault() { unsetenv("OCTET_READ_FAULT_FILE"); }
};

TEST(BadFiles, F7FilesThatFailUnderTheReader) {
  const struct {
    const char* kind;
    const char* at;
    const char* injected;
    const char* said;
  } cases[] = {
      {"eio", "100000", "read returns EIO in the middle of the weights",
       "model.safetensors: pread failed: Input/output error at byte"},
      {"eio", "8", "read returns EIO in the header",
       "model.safetensors: pread failed: Input/output error at byte 8"},
      {"cut", "100000", "file cut to half while it is loaded", "while it is read; it had"},
      {"replace", "100000", "file replaced by another of the same bytes while it is loaded",
       "model.safetensors: was replaced or removed while it was read"},
  };
  for (const auto& c : cases) {
    const BadModel model;
    const ReadFault fault(c.kind, c.at);
    const Status status = LoadAsRank(model.folder().path());
    EXPECT_EQ(status.code(), kLoss) << c.injected;
    EXPECT_NE(status.message().find(c.said), std::string::npos)
        << c.injected << ": " << status.message();
    FaultSeen("F7", c.injected, status.message());
  }
}

// A read that does not come back cannot be ended from here; what ends the group is the deadline of
// whoever listens, and that needs news as long as there is any.
TEST(BadFiles, F7AStallIsSilenceInTheProgress) {
  const BadModel model;
  const ReadFault fault("stall");
  using Clock = std::chrono::steady_clock;
  Clock::time_point before = Clock::now();
  double longest_ms = 0;
  int reports = 0;
  const Status status = LoadAsRank(model.folder().path(), [&](double) {
    const auto now = Clock::now();
    longest_ms =
        std::max(longest_ms, std::chrono::duration<double, std::milli>(now - before).count());
    before = now;
    ++reports;
  });
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_GE(longest_ms, 300);
  EXPECT_GT(reports, 20);
  FaultSeen("F7", "a read that stalls for 300 ms, as NFS may for 60 s",
            "loaded in the end; " + std::to_string(reports) +
                " reports of progress, none while it stalled: the deadline is the coordinator's");
}

}  // namespace
}  // namespace octet::testing
