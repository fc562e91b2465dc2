#include "coordinator/workers/preflight.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/temp_folder.h"

namespace octet::workers {
namespace {

TEST(CheckHost, WhatThisMachineHasWillDo) {
  const test::TempFolder folder;
  EXPECT_TRUE(CheckHost(2, {folder.path()}).ok());
  // No shared memory is no fault where the temporary folder has room.
  EXPECT_TRUE(CheckHost(2, {folder.path(), "/no/such/folder"}).ok());
  // A folder that is not there is somebody else's to name.
  EXPECT_TRUE(CheckHost(2, {"/no/such/folder"}).ok());
}

TEST(CheckHost, TooMuchIsRefusedWithTheRemedy) {
  const test::TempFolder folder;
  const int64_t many = int64_t{1} << 40;  // of ranks: more memory than any machine has
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_NE(CheckHost(many, {folder.path()}).message().find("'ulimit -n 4096'"), std::string::npos);
  rlimit few = before;
  few.rlim_cur = 71;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const Status refused = CheckHost(2, {folder.path()});
  EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(),
            "a process may open 71 files and 2 ranks need 72; allow more with 'ulimit -n 4096' "
            "(docker: --ulimit nofile=4096)");
  few.rlim_cur = 72;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  EXPECT_TRUE(CheckHost(2, {folder.path()}).ok());
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace octet::workers
