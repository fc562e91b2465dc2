// Finding NCCL, and the sentences where there is none that will do.
#include "comm/nccl/nccl_library.h"

#include <gtest/gtest.h>

#include "tests/comm/nccl/loaded_fake.h"

namespace octet::comm {
namespace {

TEST(NcclLibraryTest, LoadsWhatHasAllFunctions) {
  const Result<NcclLibrary> library = NcclLibrary::Load(OCTET_FAKE_NCCL);
  ASSERT_TRUE(library.ok()) << library.status().message();
  EXPECT_EQ(library->version, NcclVersionCode(2, 28, 9));
  EXPECT_EQ(library->Reason(NcclResult::kRemoteError, nullptr),
            "remote process exited: the fake's last words");
}

TEST(NcclLibraryTest, SaysWhatToDoWhereThereIsNone) {
  const Result<NcclLibrary> library = NcclLibrary::Load("libnccl_of_nobody.so.2");
  ASSERT_FALSE(library.ok());
  EXPECT_EQ(library.status().message(),
            "NCCL can not be loaded (libnccl_of_nobody.so.2: cannot open shared object file: No "
            "such file or directory): several GPUs need NCCL 2.18.0 or later; install it "
            "(libnccl2) or add its folder to LD_LIBRARY_PATH");
}

TEST(NcclLibraryTest, RefusesAnotherLibrary) {
  const Result<NcclLibrary> library = NcclLibrary::Load("libm.so.6");
  ASSERT_FALSE(library.ok());
  EXPECT_EQ(library.status().message(), "libm.so.6 is not NCCL: it has no ncclGetVersion");
}

TEST(NcclLibraryTest, RefusesAnOldOne) {
  Fake().version = NcclVersionCode(2, 17, 1);
  const Result<NcclLibrary> library = NcclLibrary::Load(OCTET_FAKE_NCCL);
  Fake().version = NcclVersionCode(2, 28, 9);
  ASSERT_FALSE(library.ok());
  EXPECT_EQ(library.status().message(),
            std::string(OCTET_FAKE_NCCL) + " is NCCL 2.17.1, but 2.18.0 or later is needed");
}

TEST(NcclLibraryTest, NamesVersions) {
  EXPECT_EQ(NcclLibrary::VersionName(22809), "2.28.9");
  EXPECT_EQ(NcclLibrary::VersionName(21805), "2.18.5");
  EXPECT_EQ(NcclLibrary::VersionName(2708), "2.7.8");
}

TEST(NcclLibraryTest, TheInstalledOneHasAllFunctionsToo) {
  const Result<NcclLibrary> library = NcclLibrary::Load();
  if (!library.ok()) GTEST_SKIP() << library.status().message();
  EXPECT_GE(library->version, kNcclVersionMin);
}

}  // namespace
}  // namespace octet::comm
