// A service in this process, a good answer that runs beside whatever is done to it, and the line of
// the table of faults that each case prints. At the end of a test the good answer must be what the
// engine gives alone, and every KV block must be free.
#pragma once

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "coordinator/tokenizer/utf8.h"
#include "tests/coordinator/service/serving.h"
#include "tests/coordinator/support/fake_engine.h"
#include "tests/support/fault_table.h"

namespace octet::coordinator {

inline std::string CodeName(grpc::StatusCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  return kNames[code];
}

inline std::string Seen(const grpc::Status& status) {
  return CodeName(status.error_code()) +
         (status.error_message().empty() ? "" : ": " + status.error_message().substr(0, 160));
}

// The most memory that this process (client and service) had at once since ResetPeak.
inline void ResetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }
inline int64_t StatusKib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kib = 0;
    if (word == name + ":" && status >> kib) return kib;
  }
  return 0;
}

class Faults : public Serving {
 protected:
  Faults() {
    google::protobuf::SetLogHandler(nullptr);
    rank_options_.step_delay = std::chrono::milliseconds(1);
  }

  // The service is ready, and a good answer has begun.
  void StartBeside() {
    ASSERT_NO_FATAL_FAILURE(StartReady());
    good_ = std::thread([this] { good_answer_ = Ask(Prompt(kGoodPrompt, kGoodTokens)); });
  }

  // Anything after which the service must be as if nothing had been. Call it last.
  void ExpectUnharmed() {
    if (good_.joinable()) {
      good_.join();
      ExpectGood(good_answer_, kGoodPrompt, kGoodTokens);
    }
    ExpectGood(Ask(Prompt("afterwards", 20)), "afterwards", 20);
    EXPECT_TRUE(WaitAllFree());
    EXPECT_TRUE(WaitServing(true));
    grpc::ClientContext context;
    v1::GetStatsResponse stats;
    EXPECT_TRUE(stub().GetStats(&context, {}, &stats).ok());
    EXPECT_TRUE(stats.serving());
    EXPECT_EQ(stats.kv_blocks_used(), 0);
    EXPECT_EQ(stats.requests_waiting() + stats.requests_running(), 0);
    EXPECT_EQ(stats.groups_lost(), 0);
  }

  void ExpectGood(const Answered& answer, const std::string& prompt, int64_t tokens) {
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.tokens, fakes::FakeAnswer(fakes::BytesAsTokens(prompt), tokens, 0, 0));
  }

  void ExpectRefused(const std::string& row, const std::string& injected,
                     const v1::GenerateRequest& request, grpc::StatusCode code,
                     const std::string& sentence) {
    const Answered answer = Ask(request);
    EXPECT_EQ(CodeName(answer.status.error_code()), CodeName(code)) << injected;
    EXPECT_EQ(answer.status.error_message(), sentence) << injected;
    EXPECT_TRUE(answer.tokens.empty()) << injected;
    testing::FaultSeen(row, injected, Seen(answer.status));
  }
  void ExpectInvalid(const std::string& row, const std::string& injected,
                     const v1::GenerateRequest& request, const std::string& sentence) {
    ExpectRefused(row, injected, request, grpc::StatusCode::INVALID_ARGUMENT, sentence);
  }
  // Odd, but allowed: an answer of `tokens` tokens.
  void ExpectAnswered(const std::string& row, const std::string& injected,
                      const v1::GenerateRequest& request, int64_t tokens) {
    const Answered answer = Ask(request);
    EXPECT_TRUE(answer.status.ok()) << injected << ": " << answer.status.error_message();
    EXPECT_EQ(static_cast<int64_t>(answer.tokens.size()), tokens) << injected;
    testing::FaultSeen(row, injected, "OK: " + std::to_string(answer.tokens.size()) + " tokens");
  }

  static constexpr const char* kGoodPrompt = "a good request";
  static constexpr int64_t kGoodTokens = 200;

 private:
  std::thread good_;
  Answered good_answer_;
};

}  // namespace octet::coordinator
