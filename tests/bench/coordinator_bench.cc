// What a step costs the coordinator: plan, link, commit and streams, as the processor time of its
// whole process divided by the steps it ran, and of each of its threads. Nothing else is in that
// process: the ranks are one fake that only sleeps, the clients are threads of this program, each
// reading a stream that brings a token a step; all of them over one connection, or each over its
// own. What the kernel does to deliver a message on this machine is in the sender's time.
//
//   octet_coordinator_bench [STEP_MS [SERVE_PROGRAM [BATCH CONNECTIONS]]]
//   octet_coordinator_bench MODEL [OCTET [BATCH CONNECTIONS]]
//
// With a MODEL's folder the ranks are two real ones, of one thread, and steps are as long as they
// take; clients and ranks then share the processor with the coordinator. SERVE_PROGRAM and OCTET
// may be those of another build. Batch and connections are a table unless given.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "tests/bench/token_streams.h"
#include "tests/coordinator/support/program.h"
#include "tests/coordinator/support/tiny_model.h"

namespace octet {
namespace {

constexpr int64_t kStepsMeasured = 300;
constexpr int64_t kAnswerTokens = 480;
constexpr double kStartSecondsMax = 60;

void Measure(const std::string& address, pid_t coordinator, int batch, int connections) {
  const auto channels = Connections(address, connections);
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < batch; ++i)
    streams.push_back(std::make_unique<Stream>(channels[i % connections], i, kAnswerTokens));
  const auto wait = [coordinator](const auto& reached) {
    while (!reached()) {
      OCTET_CHECK(fakes::IsAlive(coordinator));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  };
  for (const auto& stream : streams) wait([&] { return stream->tokens() > 0; });
  // The one that began last: of a large batch the others are far already.
  const Stream& last =
      **std::min_element(streams.begin(), streams.end(),
                         [](const auto& a, const auto& b) { return a->tokens() < b->tokens(); });
  const auto all_messages = [&] {
    int64_t sum = 0;
    for (const auto& stream : streams) sum += stream->messages();
    return sum;
  };
  const int64_t tokens_before = last.tokens();
  const int64_t messages_before = all_messages();
  const Cost before = Cost::Of(coordinator);
  const auto start = std::chrono::steady_clock::now();
  const int64_t tokens_after = std::min(tokens_before + kStepsMeasured, kAnswerTokens);
  wait([&] { return last.tokens() >= tokens_after; });
  Cost after = Cost::Of(coordinator);
  const auto steps = static_cast<double>(last.tokens() - tokens_before);
  const auto messages = static_cast<double>(all_messages() - messages_before);
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%5d %11d %8.0f %8.2f %9.1f  ", batch, connections,
              (after.process - before.process) / steps * 1e6, wall / steps * 1e3, messages / steps);
  for (const auto& [name, seconds] : after.threads) {
    const auto found = before.threads.find(name);
    const double us = (seconds - (found == before.threads.end() ? 0 : found->second)) / steps * 1e6;
    if (us >= 1) std::printf(" %s %.0f", name.c_str(), us);
  }
  std::printf("\n");
  std::fflush(stdout);
}

struct Case {
  int batch, connections;
};

int Run(const std::string& what, fakes::Program coordinator, const std::vector<Case>& cases) {
  const std::string line = coordinator.WaitLine("127.0.0.1:", kStartSecondsMax);
  const size_t at = line.rfind("127.0.0.1:");
  if (line.empty()) {
    std::fprintf(stderr, "%s\n", coordinator.output().c_str());
    return 1;
  }
  const std::string address = line.substr(at, line.find_first_not_of("0123456789.:", at) - at);
  std::printf("%s; processor us a step\n%5s %11s %8s %8s %9s   %s\n", what.c_str(), "batch",
              "connections", "process", "wall ms", "messages", "threads");
  for (const Case& c : cases) Measure(address, coordinator.pid(), c.batch, c.connections);
  return 0;
}

int RunAsked(const std::string& what, const char* program, const std::vector<Case>& cases) {
  if (std::filesystem::is_directory(what)) {
    return Run(what,
               {{program != nullptr ? program : OCTET_BIN_DIR "/octet", "serve", what, "--tp", "2",
                 "--threads", "1", "--grpc", "127.0.0.1:0", "--max-num-seqs", "256"},
                {}},
               cases);
  }
  const fakes::TinyModel model;
  return Run(
      "steps of " + what + " ms",
      {{program != nullptr ? program : OCTET_BIN_DIR "/../tests/octet_serve_program", model.path(),
        "127.0.0.1:0", "1", OCTET_BIN_DIR "/../tests/octet_fake_worker"},
       {"OCTET_FAKE_STEP_MS=" + what, "OCTET_FAKE_SLOTS=256", "OCTET_FAKE_HEARTBEAT_MS=500"}},
      cases);
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  std::vector<octet::Case> cases = {{1, 1}, {32, 1}, {32, 32}, {256, 1}, {256, 256}};
  if (argc > 4) cases = {{std::atoi(argv[3]), std::atoi(argv[4])}};
  return octet::RunAsked(argc > 1 ? argv[1] : "10", argc > 2 ? argv[2] : nullptr, cases);
}
