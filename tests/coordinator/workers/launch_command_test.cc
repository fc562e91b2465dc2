#include "coordinator/workers/launch_command.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

namespace octet::workers {
namespace {

const LaunchOptions kOptions{"mpirun", {"--tag-output"}, "/bin/worker", {"--model", "m"}, 3};
const LaunchIdentity kIdentity{"unix:/tmp/s/link", 7, "secret", "/tmp/s", "/dev/shm/s"};

// Whether `part` stands in `all`, in one piece.
bool Contains(const std::vector<std::string>& all, const std::vector<std::string>& part) {
  return std::search(all.begin(), all.end(), part.begin(), part.end()) != all.end();
}

TEST(LaunchCommand, SaysWhatMpirunAndTheWorkerNeed) {
  const auto command = LaunchCommand(kOptions, kIdentity).arguments;
  EXPECT_EQ(command[0], "mpirun");
  EXPECT_TRUE(Contains(command, {"-n", "3", "--bind-to", "none", "--oversubscribe"}));
  EXPECT_TRUE(Contains(command, {"--tag-output", "/bin/worker"}));  // overrides what is before
  EXPECT_TRUE(Contains(command, {"--mca", "btl_vader_single_copy_mechanism", "none"}));
  EXPECT_TRUE(Contains(command, {"--mca", "btl_vader_backing_directory", "/dev/shm/s"}));
  EXPECT_TRUE(Contains(command, {"--mca", "orte_tmpdir_base", "/tmp/s"}));
  EXPECT_TRUE(Contains(command, {"/bin/worker", "--coordinator", "unix:/tmp/s/link", "--epoch", "7",
                                 "--model", "m"}));
  EXPECT_EQ(command.back(), "m");
  EXPECT_EQ(Contains(command, {"--allow-run-as-root"}), geteuid() == 0);
}

LaunchIdentity AcrossHosts() {
  LaunchIdentity identity = kIdentity;
  identity.link_address = "10.0.0.1:50052";
  return identity;
}

TEST(LaunchCommand, TheSecretIsInTheEnvironmentAlone) {
  for (const LaunchIdentity& identity : {kIdentity, AcrossHosts()}) {
    const ProcessOptions launch = LaunchCommand(kOptions, identity);
    EXPECT_TRUE(Contains(launch.environment, {"OCTET_LINK_SECRET=secret"}));
    for (const std::string& argument : launch.arguments)
      EXPECT_EQ(argument.find("secret"), std::string::npos);
  }
}

TEST(LaunchCommand, OtherHostsGetTheSecretAndNoFolderOfThisOne) {
  LaunchOptions options = kOptions;
  options.weight_cache = kWeightCacheAuto;
  const ProcessOptions launch = LaunchCommand(options, AcrossHosts());
  const auto& command = launch.arguments;
  EXPECT_TRUE(Contains(command, {"-x", "OCTET_LINK_SECRET"}));
  EXPECT_TRUE(Contains(command, {"/bin/worker", "--coordinator", "10.0.0.1:50052"}));
  EXPECT_FALSE(Contains(command, {"--packed-dir"}));
  EXPECT_FALSE(Contains(command, {"btl_vader_backing_directory"}));
  EXPECT_FALSE(Contains(command, {"orte_tmpdir_base"}));
  EXPECT_TRUE(Contains(launch.environment, {"TMPDIR=/tmp/s"}));
  options.weight_cache = "/var/cache/weights";  // that each host has
  EXPECT_TRUE(Contains(LaunchCommand(options, AcrossHosts()).arguments,
                       {"--packed-dir", "/var/cache/weights"}));
}

TEST(LaunchCommand, PackedWeightsLieInSharedMemoryOrWhereOneSays) {
  LaunchOptions options = kOptions;
  EXPECT_FALSE(Contains(LaunchCommand(options, kIdentity).arguments, {"--packed-dir"}));
  options.weight_cache = kWeightCacheAuto;
  EXPECT_TRUE(Contains(LaunchCommand(options, kIdentity).arguments,
                       {"--packed-dir", "/dev/shm/s/weights"}));
  LaunchIdentity on_disk = kIdentity;
  on_disk.shared_memory_path = on_disk.session_path;
  EXPECT_FALSE(Contains(LaunchCommand(options, on_disk).arguments, {"--packed-dir"}));
  options.weight_cache = "/var/cache/weights";
  EXPECT_TRUE(Contains(LaunchCommand(options, on_disk).arguments,
                       {"--packed-dir", "/var/cache/weights", "--model"}));
}

TEST(LaunchCommand, AHomeIsMadeUpOnlyWhenThereIsNone) {
  const std::string home = getenv("HOME") != nullptr ? getenv("HOME") : "";
  setenv("HOME", "/root", 1);
  EXPECT_FALSE(Contains(LaunchCommand(kOptions, kIdentity).environment, {"HOME=/tmp/s"}));
  setenv("HOME", "", 1);
  EXPECT_TRUE(Contains(LaunchCommand(kOptions, kIdentity).environment, {"HOME=/tmp/s"}));
  setenv("HOME", home.c_str(), 1);
}

TEST(CheckLaunchable, NamesWhatIsMissing) {
  LaunchOptions options{"sh", {}, "/bin/sh", {}, 1};
  EXPECT_TRUE(CheckLaunchable(options).ok());
  options.worker_binary = "/etc/passwd";  // no program
  EXPECT_EQ(CheckLaunchable(options).message(),
            "the worker '/etc/passwd' is not a program; it is built beside the other binaries");
  options.launcher = "no-such-mpirun";
  EXPECT_NE(CheckLaunchable(options).message().find("'no-such-mpirun'"), std::string::npos);
}

}  // namespace
}  // namespace octet::workers
