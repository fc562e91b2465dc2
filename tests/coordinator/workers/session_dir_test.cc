#include "coordinator/workers/session_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "tests/coordinator/support/tiny_model.h"

namespace octet::workers {
namespace {

namespace fs = std::filesystem;

class SessionDirTest : public ::testing::Test {
 protected:
  SessionDirTest() { setenv("TMPDIR", parent_.path().c_str(), 1); }
  ~SessionDirTest() override { unsetenv("TMPDIR"); }

  std::string MakeAbandoned(const std::string& name) {
    const std::string path = parent_.path() + "/" + name;
    fs::create_directory(path);
    std::ofstream(path + "/link") << "x";
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::hours(1));
    return path;
  }

  test::TempFolder parent_;
};

TEST_F(SessionDirTest, IsPrivateAndGoneInTheEnd) {
  std::optional<SessionDir> session;
  {
    auto created = SessionDir::Create();
    ASSERT_TRUE(created.ok()) << created.status().message();
    session.emplace(std::move(*created));
  }
  const std::string path = session->path(), shared = session->shared_memory_path();
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(stat(shared.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_LT(path.size() + std::string("/link").size(), 100u);
  std::ofstream(path + "/something") << "x";
  session.reset();
  EXPECT_FALSE(fs::exists(path));
  EXPECT_FALSE(fs::exists(shared));
}

TEST_F(SessionDirTest, RemovesWhatKilledServicesLeftAndNothingElse) {
  const std::string abandoned = MakeAbandoned("octet-session-aaaaaa");
  const std::string foreign = MakeAbandoned("other-session-aaaaaa");
  auto running = SessionDir::Create();
  ASSERT_TRUE(running.ok());
  EXPECT_FALSE(fs::exists(abandoned));
  EXPECT_TRUE(fs::exists(foreign));
  fs::last_write_time(running->path(), fs::file_time_type::clock::now() - std::chrono::hours(1));
  auto next = SessionDir::Create();
  ASSERT_TRUE(next.ok());
  EXPECT_TRUE(fs::exists(running->path()));
}

TEST_F(SessionDirTest, ATemporaryFolderThatWillNotDoIsNamed) {
  setenv("TMPDIR", "/no/such/folder", 1);
  EXPECT_EQ(
      SessionDir::Create().status().message(),
      "no folder can be made in /no/such/folder (No such file or directory); set TMPDIR to one "
      "where that is allowed");
  setenv("TMPDIR", ("/" + std::string(90, 'x')).c_str(), 1);
  EXPECT_NE(SessionDir::Create().status().message().find("too long for a socket"),
            std::string::npos);
}

}  // namespace
}  // namespace octet::workers
