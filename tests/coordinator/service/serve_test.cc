// Serve as a program: mpirun starts ranks, signals come, processes are killed. The ranks are
// octet_fake_worker.
#include "coordinator/serve.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "octet/v1/generation.grpc.pb.h"
#include "tests/coordinator/support/fake_engine.h"
#include "tests/coordinator/support/program.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet::coordinator {
namespace {

namespace fs = std::filesystem;
using fakes::FakeAnswer;
using fakes::Program;

constexpr double kWaitSeconds = 40;

class Serve : public ::testing::Test {
 protected:
  Serve() {
    environment_ = {"TMPDIR=" + folder_.path(), "OCTET_FAKE_PIDS=" + pids_.path(), "HOME="};
  }

  // A program that serves with `ranks`, on a port that it chooses.
  void Start(int ranks) {
    program_ = std::make_unique<Program>(
        std::vector<std::string>{OCTET_SERVE_PROGRAM, model_.path(), "127.0.0.1:0",
                                 std::to_string(ranks), OCTET_FAKE_WORKER},
        environment_);
  }

  void StartReady(int ranks) {
    Start(ranks);
    const std::string line = program_->WaitLine("ready: gRPC on 127.0.0.1:", kWaitSeconds);
    ASSERT_NE(line, "") << program_->output();
    const size_t port = line.find("127.0.0.1:") + 10;
    stub_ = v1::Generation::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(std::stoi(line.substr(port))),
                            grpc::InsecureChannelCredentials()));
  }

  std::vector<int32_t> Ask(int64_t max_tokens, grpc::Status* status) {
    v1::GenerateRequest request;
    for (const int32_t id : {1, 2, 3}) request.mutable_token_ids()->add_ids(id);
    request.mutable_sampling_params()->set_temperature(0);
    request.mutable_sampling_params()->set_max_tokens(max_tokens);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto reader = stub_->Generate(&context, request);
    std::vector<int32_t> tokens;
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
      tokens.insert(tokens.end(), response.chunk().token_ids().begin(),
                    response.chunk().token_ids().end());
      tokens_seen_ = static_cast<int64_t>(tokens.size());
    }
    *status = reader->Finish();
    return tokens;
  }

  void WaitTokens(int64_t tokens) {
    for (int i = 0; i < 2000 && tokens_seen_ < tokens; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_GE(tokens_seen_, tokens);
  }

  // The live processes that ran as ranks; of one rank, or of all (-1).
  std::set<pid_t> LiveRanks(int rank = -1) const {
    std::set<pid_t> live;
    for (const auto& entry : fs::directory_iterator(pids_.path())) {
      const auto pid = static_cast<pid_t>(std::stoi(entry.path().filename().string()));
      int number = -1;
      std::ifstream(entry.path()) >> number;
      if (fakes::IsAlive(pid) && (rank < 0 || number == rank)) live.insert(pid);
    }
    return live;
  }

  bool WaitNoRanks(double seconds_max) const {
    for (int i = 0; i < seconds_max * 50 && !LiveRanks().empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return LiveRanks().empty();
  }

  void ExpectNothingLeft() const {
    EXPECT_TRUE(WaitNoRanks(10));
    EXPECT_TRUE(fs::is_empty(folder_.path())) << *fs::directory_iterator(folder_.path());
  }

  fakes::TinyModel model_;
  test::TempFolder folder_;
  test::TempFolder pids_;
  std::vector<std::string> environment_;
  std::unique_ptr<Program> program_;
  std::unique_ptr<v1::Generation::Stub> stub_;
  std::atomic<int64_t> tokens_seen_{0};
};

TEST_F(Serve, ASignalDrainsAndEndsWithZero) {
  environment_.push_back("OCTET_FAKE_STEP_MS=20");
  StartReady(2);
  grpc::Status status;
  std::vector<int32_t> tokens;
  std::thread client([&] { tokens = Ask(60, &status); });
  WaitTokens(3);
  program_->Signal(SIGTERM);
  client.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(tokens, FakeAnswer({1, 2, 3}, 60, 0, 0));
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 0) << program_->output();
  ExpectNothingLeft();
}

TEST_F(Serve, ASecondSignalDoesNotWaitForAnswers) {
  environment_.push_back("OCTET_FAKE_STEP_MS=100");
  StartReady(1);
  grpc::Status status;
  std::thread client([&] { Ask(400, &status); });
  WaitTokens(1);
  program_->Signal(SIGINT);
  ASSERT_NE(program_->WaitLine("stopping", kWaitSeconds), "");
  program_->Signal(SIGINT);
  client.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 0) << program_->output();
  ExpectNothingLeft();
}

TEST_F(Serve, AKilledRankIsReplacedAndTheAnswerDoesNotChange) {
  environment_.push_back("OCTET_FAKE_STEP_MS=20");
  StartReady(2);
  grpc::Status status;
  std::vector<int32_t> tokens;
  std::thread client([&] { tokens = Ask(80, &status); });
  WaitTokens(5);
  const std::set<pid_t> before = LiveRanks();
  EXPECT_EQ(before.size(), 2u);
  kill(*LiveRanks(1).begin(), SIGKILL);
  client.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(tokens, FakeAnswer({1, 2, 3}, 80, 0, 0));
  for (const pid_t pid : LiveRanks()) EXPECT_FALSE(before.contains(pid));
  const std::string line = program_->WaitLine("the worker group is lost", 1);
  EXPECT_NE(line.find("lost: rank 1 "), std::string::npos) << line;
  EXPECT_NE(line.find("was ended by signal 9 (Killed)"), std::string::npos) << line;
  program_->Signal(SIGTERM);
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 0) << program_->output();
  ExpectNothingLeft();
}

TEST_F(Serve, AFailureToStartIsSaidOnceAndEndsWithTwo) {
  environment_.push_back("OCTET_FAKE_FAILURE=config.json: heads is 0; it must be at least 1");
  Start(2);
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 2);
  const std::string output = program_->output();
  const size_t first = output.find("config.json: heads is 0");
  EXPECT_NE(first, std::string::npos) << output;
  EXPECT_EQ(output.find("config.json: heads is 0", first + 1), std::string::npos) << output;
  ExpectNothingLeft();
}

TEST_F(Serve, ACrashBeforeTheHelloEndsWithOneAndItsCause) {
  environment_.push_back("OCTET_FAKE_CRASH=1");
  Start(2);
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 1);
  const std::string line = program_->WaitLine(" error: ", 1);
  EXPECT_NE(line.find("error: rank 1 on "), std::string::npos) << line;
  EXPECT_NE(line.find("was ended by signal 11 (Segmentation fault)"), std::string::npos) << line;
  ExpectNothingLeft();
}

TEST_F(Serve, RanksDoNotOutliveTheirCoordinator) {
  StartReady(2);
  EXPECT_EQ(LiveRanks().size(), 2u);
  program_->Signal(SIGKILL);
  program_->WaitExitCode(kWaitSeconds);
  EXPECT_TRUE(WaitNoRanks(10));
  // The guardian waits a little for them.
  for (int i = 0; i < 1000 && !fs::is_empty(folder_.path()); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(Serve, AStopWhileStartingIsAStop) {
  environment_.push_back("OCTET_FAKE_SILENT=1");
  Start(2);
  ASSERT_NE(program_->WaitLine("fake rank 1", kWaitSeconds), "");
  program_->Signal(SIGTERM);
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 0) << program_->output();
  ExpectNothingLeft();
}

TEST_F(Serve, AHungRankIsKilledAndReplaced) {
  environment_.push_back("OCTET_FAKE_STEP_MS=20");
  environment_.push_back("OCTET_TEST_HEARTBEAT_SECONDS=1");
  StartReady(2);
  grpc::Status status;
  std::vector<int32_t> tokens;
  std::thread client([&] { tokens = Ask(80, &status); });
  WaitTokens(5);
  const pid_t hung = *LiveRanks(1).begin();
  kill(hung, SIGSTOP);
  client.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(tokens, FakeAnswer({1, 2, 3}, 80, 0, 0));
  EXPECT_FALSE(fakes::IsAlive(hung));
  EXPECT_NE(program_->WaitLine(
                "rank 1 (process " + std::to_string(hung) + ") has not been heard of for 1 s", 1),
            "")
      << program_->output();
  program_->Signal(SIGTERM);
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 0) << program_->output();
  ExpectNothingLeft();
}

TEST_F(Serve, AMissingLauncherIsNamed) {
  program_ = std::make_unique<Program>(
      std::vector<std::string>{OCTET_SERVE_PROGRAM, model_.path(), "127.0.0.1:0", "2",
                               OCTET_FAKE_WORKER, "tests-sleep"},
      std::vector<std::string>{"TMPDIR=" + folder_.path(),
                               "PATH=" + folder_.path() + ":/usr/bin:/bin"});
  EXPECT_EQ(program_->WaitExitCode(kWaitSeconds), 2);
  EXPECT_NE(program_->output().find("the launcher 'tests-sleep' is not a program in PATH"),
            std::string::npos);
}

}  // namespace
}  // namespace octet::coordinator
