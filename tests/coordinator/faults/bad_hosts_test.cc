// Machines that lack what a service needs (rows F35 and F37): said in one sentence with the remedy,
// before a rank is started. The folders are spoiled in a mount namespace of the test's own, which
// not every machine permits; then the case is skipped and says so.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "coordinator/workers/preflight.h"
#include "tests/coordinator/support/program.h"
#include "tests/coordinator/support/tiny_model.h"
#include "tests/support/fault_table.h"

namespace octet::coordinator {
namespace {

using fakes::Program;

constexpr double kWaitSeconds = 40;
constexpr const char* kStarted = "starting 2 ranks";  // told after the port and before any rank

class BadHosts : public ::testing::Test {
 protected:
  std::string Serve(const std::string& address) const {
    return std::string("exec ") + OCTET_SERVE_PROGRAM + " " + model_.path() + " '" + address +
           "' 2 " + OCTET_FAKE_WORKER;
  }
  std::unique_ptr<Program> Run(const std::string& script) const {
    return std::make_unique<Program>(std::vector<std::string>{"/bin/sh", "-c", script},
                                     std::vector<std::string>{"HOME="});
  }
  // `spoil` is done to the file systems that the program alone sees.
  std::unique_ptr<Program> RunApart(const std::string& spoil, const std::string& script) const {
    return std::make_unique<Program>(
        std::vector<std::string>{"/usr/bin/unshare", "-m", "/bin/sh", "-c",
                                 spoil + " || exit 77; " + script},
        std::vector<std::string>{"HOME="});
  }
  static bool MayMount() {
    return std::system(
               "unshare -m sh -c 'mount -t tmpfs -o size=64k tmpfs /dev/shm' 2>/dev/null") == 0;
  }

  // The last line of the log, without its time and level.
  static std::string LastSentence(const std::string& output) {
    std::string line = output.substr(0, output.find_last_not_of('\n') + 1);
    line = line.substr(line.rfind('\n') + 1);
    const size_t level = line.find("error: ");
    return level == std::string::npos ? line : line.substr(level + 7);
  }

  void ExpectRefused(const std::string& row, const std::string& injected, Program* program,
                     int exit_code, const std::string& sentence) {
    EXPECT_EQ(program->WaitExitCode(kWaitSeconds), exit_code) << injected << program->output();
    const std::string output = program->output();
    EXPECT_EQ(output.find(kStarted), std::string::npos) << injected << output;
    EXPECT_EQ(output.find("[workers]"), std::string::npos) << injected << output;
    EXPECT_EQ(LastSentence(output).substr(0, sentence.size()), sentence) << injected;
    testing::FaultSeen(row, injected,
                       "exit " + std::to_string(exit_code) + ": " + LastSentence(output));
  }
  void ExpectServes(const std::string& row, const std::string& injected, Program* program) {
    const std::string ready = program->WaitLine("ready: gRPC on ", kWaitSeconds);
    EXPECT_NE(ready, "") << injected << program->output();
    program->Signal(SIGTERM);
    EXPECT_EQ(program->WaitExitCode(kWaitSeconds), 0) << injected << program->output();
    testing::FaultSeen(row, injected, "serves: " + ready.substr(ready.find("ready")));
  }

  fakes::TinyModel model_;
  test::TempFolder folder_;
};

TEST_F(BadHosts, F35Addresses) {
  const auto first = Run(Serve("127.0.0.1:0"));
  const std::string ready = first->WaitLine("ready: gRPC on 127.0.0.1:", kWaitSeconds);
  ASSERT_NE(ready, "") << first->output();
  const std::string taken =
      "127.0.0.1:" + std::to_string(std::stoi(ready.substr(ready.find("127.0.0.1:") + 10)));
  ExpectRefused("F35", "a port in use", Run(Serve(taken)).get(), 1,
                "gRPC can not listen on " + taken + ": the address is in use by another process");
  first->Signal(SIGTERM);
  EXPECT_EQ(first->WaitExitCode(kWaitSeconds), 0);

  const std::string expected =
      "expected is an address like 127.0.0.1:50051, [::1]:50051 or unix:/path";
  for (const std::string address : {"", ":", ":50051", "127.0.0.1", "127.0.0.1:", "::1:50051",
                                    "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "[::1]"}) {
    const auto program = Run(Serve(address));
    ExpectRefused("F35", "the address '" + address + "'", program.get(), 2,
                  "gRPC can not listen on " + address + ": ");
    EXPECT_NE(program->output().find(expected), std::string::npos) << program->output();
  }
  ExpectRefused("F35", "an address of another machine", Run(Serve("192.0.2.1:50051")).get(), 1,
                "gRPC can not listen on 192.0.2.1:50051: Cannot assign requested address");
  ExpectRefused("F35", "a host that has no address", Run(Serve("no.such.host.invalid:1")).get(), 1,
                "gRPC can not listen on no.such.host.invalid:1: its host 'no.such.host.invalid' is "
                "not known");
  ExpectRefused("F35", "a socket in a folder that is not there",
                Run(Serve("unix:/no/such/folder/socket")).get(), 1,
                "gRPC can not listen on unix:/no/such/folder/socket: the socket can not be made in "
                "that folder");
}

TEST_F(BadHosts, F35IPv6Alone) {
  if (!std::filesystem::exists("/proc/net/if_inet6") ||
      std::ifstream("/proc/net/if_inet6").peek() == EOF)
    GTEST_SKIP() << "no interface has an IPv6 address here";
  ExpectServes("F35", "IPv6 alone, [::1]", Run(Serve("[::1]:0")).get());
}

TEST_F(BadHosts, F35APrivilegedPort) {
  int first_free = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first_free;
  if (first_free <= 1) GTEST_SKIP() << "every port is open to everybody here";
  // Root loses the one right that matters; others never had it.
  const std::string drop =
      geteuid() == 0 ? "exec setpriv --bounding-set -net_bind_service "
                       "--inh-caps -net_bind_service sh -c '" +
                           Serve("127.0.0.1:1").substr(0, Serve("127.0.0.1:1").find('\'')) +
                           "127.0.0.1:1 2 " + OCTET_FAKE_WORKER + "'"
                     : Serve("127.0.0.1:1");
  ExpectRefused(
      "F35", "a privileged port without the right to it", Run(drop).get(), 1,
      "gRPC can not listen on 127.0.0.1:1: the port needs a right that this process lacks "
      "(CAP_NET_BIND_SERVICE); take one from 1024 up");
}

TEST_F(BadHosts, F37Limits) {
  ExpectRefused("F37", "ulimit -n 24", Run("ulimit -n 24; " + Serve("127.0.0.1:0")).get(), 2,
                "a process may open 24 files and 2 ranks need 72; allow more with 'ulimit -n 4096' "
                "(docker: --ulimit nofile=4096)");
  ExpectServes("F37", "ulimit -n 72", Run("ulimit -n 72; " + Serve("127.0.0.1:0")).get());
  // Nothing here locks memory.
  ExpectServes("F37", "ulimit -l 0", Run("ulimit -l 0; " + Serve("127.0.0.1:0")).get());
}

// As under nohup, when the terminal goes.
TEST_F(BadHosts, F37AHangupThatIsIgnored) {
  const auto program = Run("trap '' HUP; " + Serve("127.0.0.1:0"));
  ASSERT_NE(program->WaitLine("ready: gRPC on ", kWaitSeconds), "") << program->output();
  program->Signal(SIGHUP);
  program->Signal(SIGTERM);
  EXPECT_EQ(program->WaitExitCode(kWaitSeconds), 0) << program->output();
  EXPECT_EQ(program->output().find("a second signal"), std::string::npos) << program->output();
}

TEST_F(BadHosts, F37TemporaryFolders) {
  const auto with = [this](const std::string& tmpdir) {
    return Run("export TMPDIR=" + tmpdir + "; " + Serve("127.0.0.1:0"));
  };
  folder_.Write("file", "x");
  ExpectRefused("F37", "TMPDIR is not there", with("/no/such/folder").get(), 2,
                "no folder can be made in /no/such/folder (No such file or directory); set TMPDIR "
                "to one where that is allowed");
  ExpectRefused("F37", "TMPDIR is a file", with(folder_.File("file")).get(), 2,
                "no folder can be made in " + folder_.File("file") + " (Not a directory)");
  ExpectRefused("F37", "TMPDIR is too long", with("/" + std::string(90, 'x')).get(), 2,
                "the temporary folder /" + std::string(90, 'x') +
                    " has a name of 91 bytes, too long for a socket below it; set TMPDIR to a "
                    "shorter one");
}

TEST_F(BadHosts, F37SpoiledFileSystems) {
  if (!MayMount()) GTEST_SKIP() << "no mount namespaces here: unshare -m or mount is not permitted";
  const std::string serve = Serve("127.0.0.1:0");
  ExpectRefused(
      "F37", "/tmp is read-only",
      RunApart("mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp; unset TMPDIR", serve)
          .get(),
      2,
      "no folder can be made in /tmp (Read-only file system); set TMPDIR to one where that is "
      "allowed");
  const std::string& place = folder_.path();
  ExpectRefused(
      "F37", "TMPDIR is full",
      RunApart("mount -t tmpfs -o size=64k tmpfs " + place + " && export TMPDIR=" + place, serve)
          .get(),
      2,
      "the temporary folder " + place + " has ");  // as much as others have left
  ExpectRefused("F37", "/dev/shm is full",
                RunApart("mount -t tmpfs -o size=1m tmpfs /dev/shm && head -c 1000000 /dev/zero > "
                         "/dev/shm/full",
                         serve)
                    .get(),
                2,
                "the shared memory /dev/shm has 44 KiB free and 2 ranks need 16 MiB; remove what "
                "is not used in it or make it larger with 'mount -o remount,size=1g /dev/shm' "
                "(docker: --shm-size=1g)");
}

// With real ranks, which use it.
TEST_F(BadHosts, F37SharedMemoryThatWillDo) {
  if (!MayMount()) GTEST_SKIP() << "no mount namespaces here: unshare -m or mount is not permitted";
  const std::string serve = std::string("exec ") + OCTET_BIN_DIR + "/octet serve " +
                            OCTET_SOURCE_DIR +
                            "/launch/demo_model/model --tp 2 --threads 1 --weights int4 --kv int8 "
                            "--grpc 127.0.0.1:0";
  ExpectServes("F37", "/dev/shm of 64 MB",
               RunApart("mount -t tmpfs -o size=64m tmpfs /dev/shm", serve).get());
  ExpectServes("F37", "/dev/shm of 16 MB",
               RunApart("mount -t tmpfs -o size=16m tmpfs /dev/shm", serve).get());
  ExpectServes("F37", "/dev/shm is read-only",
               RunApart("mount -t tmpfs -o ro tmpfs /dev/shm", serve).get());
}

}  // namespace
}  // namespace octet::coordinator
