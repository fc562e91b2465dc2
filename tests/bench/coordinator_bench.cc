// What a step costs the coordinator: plan, link, commit and streams, as the processor time of its
// whole process divided by the steps it ran. The ranks are one fake that only sleeps, in a process
// of its own; the clients are threads of this one, each reading a stream that brings a token a
// step.
//
//   octet_coordinator_bench [step_ms]
#include <grpcpp/grpcpp.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "octet/v1/generation.grpc.pb.h"
#include "tests/coordinator/support/program.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet {
namespace {

constexpr int kStepsMeasured = 300;
constexpr int kPromptTokens = 16;
constexpr int kAnswerTokens = 480;
constexpr double kStartSecondsMax = 60;

double CpuSeconds(pid_t pid) {
  clockid_t clock;
  OCTET_CHECK_EQ(clock_getcpuclockid(pid, &clock), 0);
  timespec time{};
  OCTET_CHECK_EQ(clock_gettime(clock, &time), 0);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Of the threads of that name.
double CpuSeconds(pid_t pid, const std::string& thread_name) {
  double seconds = 0;
  const std::filesystem::path tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name != thread_name) continue;
    double nanoseconds = 0;
    std::ifstream(task.path() / "schedstat") >> nanoseconds;
    seconds += nanoseconds * 1e-9;
  }
  return seconds;
}

// Processor time so far.
struct Cost {
  double steps = 0, streams = 0, process = 0;
  static Cost Of(pid_t pid) {
    return {CpuSeconds(pid, "octet-steps"), CpuSeconds(pid, "octet-streams"), CpuSeconds(pid)};
  }
};

class Stream {
 public:
  Stream(v1::Generation::Stub* stub, int index)
      : thread_([this, stub, index] { Read(stub, index); }) {}
  ~Stream() {
    context_.TryCancel();
    thread_.join();
  }
  int64_t tokens() const { return tokens_; }
  int64_t messages() const { return messages_; }

 private:
  void Read(v1::Generation::Stub* stub, int index) {
    v1::GenerateRequest request;
    for (int i = 0; i < kPromptTokens; ++i) {
      request.mutable_token_ids()->add_ids((index * 31 + i * (index + 1)) % 256);
    }
    request.mutable_sampling_params()->set_temperature(0);
    request.mutable_sampling_params()->set_max_tokens(kAnswerTokens);
    const auto reader = stub->Generate(&context_, request);
    for (v1::GenerateResponse response; reader->Read(&response);) {
      if (!response.has_chunk()) continue;
      ++messages_;
      tokens_ += response.chunk().token_ids_size();
    }
    reader->Finish();
  }

  grpc::ClientContext context_;
  std::atomic<int64_t> tokens_{0};
  std::atomic<int64_t> messages_{0};
  std::thread thread_;
};

void Measure(v1::Generation::Stub* stub, pid_t coordinator, int batch) {
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < batch; ++i) streams.push_back(std::make_unique<Stream>(stub, i));
  const auto wait = [](const auto& reached) {
    while (!reached()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  for (const auto& stream : streams) wait([&] { return stream->tokens() > 0; });
  const Stream& first = *streams.front();
  const auto all_messages = [&] {
    int64_t sum = 0;
    for (const auto& stream : streams) sum += stream->messages();
    return sum;
  };
  const int64_t tokens_before = first.tokens();
  const int64_t messages_before = all_messages();
  const Cost before = Cost::Of(coordinator);
  const auto start = std::chrono::steady_clock::now();
  wait([&] { return first.tokens() >= tokens_before + kStepsMeasured; });
  const Cost after = Cost::Of(coordinator);
  const auto steps = static_cast<double>(first.tokens() - tokens_before);
  const auto messages = static_cast<double>(all_messages() - messages_before);
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto us = [&](double from, double to) { return (to - from) / steps * 1e6; };
  std::printf("%5d %12.0f %12.0f %12.0f %12.2f %14.1f\n", batch, us(before.steps, after.steps),
              us(before.streams, after.streams), us(before.process, after.process),
              wall / steps * 1e3, messages / steps);
}

int Run(const std::string& step_ms) {
  const std::string folder = OCTET_BIN_DIR "/../tests/";
  const fakes::TinyModel model;
  fakes::Program coordinator({folder + "octet_serve_program", model.path(), "127.0.0.1:0", "1",
                              folder + "octet_fake_worker"},
                             {"OCTET_FAKE_STEP_MS=" + step_ms, "OCTET_FAKE_SLOTS=256"});
  const std::string line = coordinator.WaitLine("127.0.0.1:", kStartSecondsMax);
  const size_t at = line.rfind("127.0.0.1:");
  if (line.empty()) {
    std::fprintf(stderr, "%s\n", coordinator.output().c_str());
    return 1;
  }
  const std::string address = line.substr(at, line.find_first_not_of("0123456789.:", at) - at);
  const auto stub =
      v1::Generation::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  std::printf("steps of %s ms; processor us a step\n%5s %12s %12s %12s %12s %14s\n",
              step_ms.c_str(), "batch", "plan thread", "stream thread", "process", "wall ms",
              "messages");
  for (const int batch : {1, 32, 256}) Measure(stub.get(), coordinator.pid(), batch);
  return 0;
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) { return octet::Run(argc > 1 ? argv[1] : "10"); }
