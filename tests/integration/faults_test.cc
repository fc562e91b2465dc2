// What happens to ranks and to the coordinator at chosen moments, seen by 32 streams: each fault of
// the table (support/fault_table.h) is injected into the real service, and no answer may change.
#include <gtest/gtest.h>

#include <functional>

#include "octet/v1/generation.grpc.pb.h"
#include "tests/integration/crowd.h"
#include "tests/support/fault_table.h"
#include "tests/support/process_tree.h"
#include "tests/support/served.h"

namespace octet {
namespace {

using testing::Crowd;
using testing::CrowdAnswer;
using testing::FaultSeen;
using testing::Served;

constexpr double kWaitSeconds = 60;
// Prompts of 3 to 778 tokens, 64 of them a step: a prefill of some hundred steps. Under
// ThreadSanitizer, where a step takes some twenty times as long, fewer.
#ifdef __SANITIZE_THREAD__
constexpr testing::CrowdOptions kLongPrompts = {.max_tokens = 40, .prompt_tokens_step = 8};
#else
constexpr testing::CrowdOptions kLongPrompts = {.max_tokens = 200, .prompt_tokens_step = 25};
#endif
const std::vector<std::string> kSmallSteps = {"--max-num-batched-tokens", "64"};

bool WaitUntil(const std::function<bool()>& is_so, double seconds_max = kWaitSeconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds_max);
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

class Asked {  // of a service
 public:
  explicit Asked(const std::string& address)
      : stub_(v1::Generation::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {}
  v1::GetStatsResponse Stats() const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    v1::GetStatsResponse stats;
    stub_->GetStats(&context, {}, &stats);
    return stats;
  }

 private:
  std::unique_ptr<v1::Generation::Stub> stub_;
};

bool HasOpen(pid_t pid, const std::string& what) {
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error)) {
    const auto target = std::filesystem::read_symlink(entry.path(), error);
    if (!error && target.string().find(what) != std::string::npos) return true;
  }
  return false;
}

// The same at every degree, so asked once.
const std::vector<CrowdAnswer>& Undisturbed() {
  static const std::vector<CrowdAnswer> answers = [] {
    Served service(1, kSmallSteps);
    return Crowd(service.address(), kLongPrompts).Join();
  }();
  return answers;
}

class Faults : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    ASSERT_EQ(Undisturbed().size(), static_cast<size_t>(testing::kCrowdStreams));
    for (const CrowdAnswer& answer : Undisturbed()) {
      ASSERT_EQ(static_cast<int64_t>(answer.tokens.size()), kLongPrompts.max_tokens);
    }
  }
  int ranks() const { return GetParam(); }
  std::vector<pid_t> WaitRanks(Served* service, const std::set<pid_t>& but = {}) {
    std::vector<pid_t> found;
    EXPECT_TRUE(WaitUntil([&] {
      found.clear();
      for (const pid_t pid : testing::Ranks(service->process().pid())) {
        if (!but.contains(pid)) found.push_back(pid);
      }
      return static_cast<int>(found.size()) == ranks();
    })) << service->process().err();
    return found;
  }
  // What the service says of its last loss, once it has had `losses` of them.
  std::string CauseOf(Served* service, size_t losses) {
    std::string line;
    WaitUntil([&] {
      size_t seen = 0, at = 0;
      const std::string log = service->process().err();
      while ((at = log.find("the worker group is lost: ", at)) != std::string::npos) {
        line = log.substr(at, log.find('\n', at) - at);
        ++seen;
        ++at;
      }
      return seen >= losses;
    });
    return line;
  }
};

TEST_P(Faults, KilledInPrefillAtLoadInTheHandshakeAndInACollective) {
  // Without packed weights, so that there is a load that takes time.
  std::vector<std::string> options = kSmallSteps;
  options.insert(options.end(), {"--weight-cache", "none"});
  Served service(ranks(), options);
  ASSERT_TRUE(service.ready()) << service.process().err();
  const Asked asked(service.address());
  const std::set<std::string> folders = testing::SessionFolders(service.process().pid());
  Crowd crowd(service.address(), kLongPrompts);

  // In prefill: prompts are being computed, and most of them are not yet.
  std::vector<pid_t> group = WaitRanks(&service);
  int64_t prompt_tokens = 0;
  for (int i = 0; i < testing::kCrowdStreams; ++i) {
    prompt_tokens += 3 + i * kLongPrompts.prompt_tokens_step;
  }
  ASSERT_TRUE(WaitUntil([&] { return asked.Stats().prompt_tokens() > prompt_tokens / 20; }));
  kill(group.back(), SIGKILL);
  EXPECT_LT(crowd.streams_begun(), testing::kCrowdStreams);
  FaultSeen("F22", "kill -9 of the last rank in prefill, tp " + std::to_string(ranks()),
            CauseOf(&service, 1));

  // At load: a rank has the weights open.
  std::set<pid_t> killed(group.begin(), group.end());
  group = WaitRanks(&service, killed);
  bool loading = false;
  for (int i = 0; i < 20000 && !loading; ++i) {
    loading = HasOpen(group[0], "model.safetensors");
    if (asked.Stats().serving()) break;
  }
  EXPECT_TRUE(loading) << "the moment was missed";
  kill(group[0], SIGKILL);
  FaultSeen("F24", "kill -9 while weights are loaded, tp " + std::to_string(ranks()),
            CauseOf(&service, 2));

  // In the handshake: the processes have only just begun.
  killed.insert(group.begin(), group.end());
  group = WaitRanks(&service, killed);
  kill(group[0], SIGKILL);
  FaultSeen("F22", "kill -9 of a rank that has just started, tp " + std::to_string(ranks()),
            CauseOf(&service, 3));

  // In a collective: one rank is stopped, so the others wait for it in one; one of those is killed.
  killed.insert(group.begin(), group.end());
  group = WaitRanks(&service, killed);
  ASSERT_TRUE(WaitUntil([&] { return crowd.streams_begun() == testing::kCrowdStreams; }));
  kill(group.back(), SIGSTOP);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const int64_t told = crowd.tokens_told();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(crowd.tokens_told(), told);  // they wait indeed
  kill(group[0], SIGKILL);
  FaultSeen("F22", "kill -9 of rank 0 inside a collective, tp " + std::to_string(ranks()),
            CauseOf(&service, 4));

  testing::ExpectSame(crowd.Join(), Undisturbed());
  const v1::GetStatsResponse stats = asked.Stats();
  EXPECT_NE(stats.last_loss().find("signal 9 (Killed)"), std::string::npos) << stats.last_loss();
  FaultSeen("F22", "the four of them, 32 streams, tp " + std::to_string(ranks()),
            HasFailure() ? "FAILED" : "every token and log-probability as without");
  std::printf(
      "last recovery: %.2f s, of which %.2f to end, %.2f of waiting, %.2f to start, %.2f to "
      "load, %.2f for a step\n",
      stats.last_recovery().total_seconds(), stats.last_recovery().end_seconds(),
      stats.last_recovery().wait_seconds(), stats.last_recovery().hello_seconds(),
      stats.last_recovery().load_seconds(), stats.last_recovery().first_step_seconds());
  if (HasFailure()) std::printf("%s\n", service.process().err().c_str());
  service.process().Signal(SIGTERM);
  EXPECT_EQ(service.process().Wait(testing::kStopSeconds), 0) << service.process().err();
  for (const std::string& folder : folders) EXPECT_TRUE(testing::Vanishes(folder)) << folder;
}

// How long clients wait, seen from outside: said, not asserted.
TEST_P(Faults, TheTimeToServeAgainIsTold) {
  Served service(ranks());
  ASSERT_TRUE(service.ready()) << service.process().err();
  const Asked asked(service.address());
  Crowd crowd(service.address());
  ASSERT_TRUE(WaitUntil([&] { return crowd.streams_begun() == testing::kCrowdStreams; }));
  const std::vector<pid_t> group = WaitRanks(&service);
  const auto killed = std::chrono::steady_clock::now();
  const auto since = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - killed).count();
  };
  kill(group.back(), SIGKILL);
  ASSERT_TRUE(WaitUntil([&] { return !asked.Stats().serving(); }));
  const double noticed = since();
  const int64_t told = crowd.tokens_told();
  ASSERT_TRUE(WaitUntil([&] { return asked.Stats().serving(); }));
  const double serving = since();
  ASSERT_TRUE(WaitUntil([&] { return crowd.tokens_told() > told; }));
  char seen[120];
  std::snprintf(
      seen, sizeof(seen),
      "noticed after %.3f s, serving again after %.2f s, first resumed token after %.2f s", noticed,
      serving, since());
  FaultSeen("F22", "kill -9 of the last rank, tp " + std::to_string(ranks()), seen);
  EXPECT_NE(service.process().err().find("packed weights checked and mapped"), std::string::npos);
  const v1::RecoveryTimes times = asked.Stats().last_recovery();
  EXPECT_GT(times.total_seconds(), 0);
  EXPECT_NEAR(times.total_seconds(),
              times.end_seconds() + times.wait_seconds() + times.hello_seconds() +
                  times.load_seconds() + times.first_step_seconds(),
              1e-3);
}

TEST_P(Faults, ARankThatHangsIsReplacedAndASlowOneIsNot) {
  Served service(ranks(), kSmallSteps);
  ASSERT_TRUE(service.ready()) << service.process().err();
  const Asked asked(service.address());
  v1::GetStatsResponse slow;
  {
    std::atomic<bool> enough{false};
    std::thread crowds([&] {
      while (!enough && !HasFailure())
        testing::ExpectSame(Crowd(service.address(), kLongPrompts).Join(), Undisturbed());
    });
    const std::vector<pid_t> group = WaitRanks(&service);
    const pid_t last = group.back();
    EXPECT_EQ(testing::RankOf(last), ranks() - 1);
    // Some of the stops fall into a collective, where the rank waits anyway: on a crowded machine
    // most.
    const auto it_shows = [&] {
      slow = asked.Stats();
      return slow.ranks_size() == ranks() && slow.ranks(ranks() - 1).slowest_step_ms() > 150;
    };
    for (int second = 0; second < 60 && (second < 5 || !it_shows()); ++second) {
      kill(last, SIGSTOP);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      kill(last, SIGCONT);
      std::this_thread::sleep_for(std::chrono::milliseconds(800));
    }
    EXPECT_TRUE(it_shows());
    EXPECT_EQ(slow.groups_lost(), 0);
    std::string seen;
    for (const v1::StatsOfRank& rank : slow.ranks()) {
      char text[100];
      std::snprintf(text, sizeof(text), "rank %d: slowest step %.0f ms; ", rank.rank(),
                    rank.slowest_step_ms());
      seen += text;
    }
    FaultSeen("F26",
              "the last rank is stopped 200 ms of every second, tp " + std::to_string(ranks()),
              seen + "no loss");
    enough = true;
    crowds.join();
  }

  Crowd crowd(service.address(), kLongPrompts);
  ASSERT_TRUE(WaitUntil([&] { return crowd.tokens_told() > 0; }));
  const std::vector<pid_t> group = WaitRanks(&service);
  kill(group.back(), SIGSTOP);
  const auto stopped = std::chrono::steady_clock::now();
  EXPECT_TRUE(WaitUntil([&] { return !asked.Stats().serving(); }));
  const std::chrono::duration<double> unwell = std::chrono::steady_clock::now() - stopped;
  const std::string cause = CauseOf(&service, 1);
  testing::ExpectSame(crowd.Join(), Undisturbed());
  EXPECT_NE(cause.find("has not been heard of for"), std::string::npos) << cause;
  char seen[60];
  std::snprintf(seen, sizeof(seen), "NOT_SERVING after %.1f s; ", unwell.count());
  FaultSeen("F23", "SIGSTOP of a rank in decode, tp " + std::to_string(ranks()), seen + cause);
  EXPECT_TRUE(testing::Ends(group.back()));
}

TEST_P(Faults, RanksEndWithTheirCoordinator) {
  for (const bool one_is_stopped : {false, true}) {
    Served service(ranks());
    ASSERT_TRUE(service.ready()) << service.process().err();
    const auto family = testing::Descendants(service.process().pid());
    const std::set<std::string> folders = testing::SessionFolders(service.process().pid());
    Crowd crowd(service.address());
    ASSERT_TRUE(WaitUntil([&] { return crowd.tokens_told() > 0; }));
    if (one_is_stopped) kill(testing::Ranks(service.process().pid()).back(), SIGSTOP);
    const auto killed = std::chrono::steady_clock::now();
    service.process().Signal(SIGKILL);
    for (const auto& [pid, name] : family) {
      if (name == "sh") continue;  // the guardian, which cleans up after all others
      EXPECT_TRUE(testing::Ends(pid)) << name << " is left";
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - killed;
    for (const CrowdAnswer& answer : crowd.Join())
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
    for (const std::string& folder : folders) EXPECT_TRUE(testing::Vanishes(folder)) << folder;
    char seen[60];
    std::snprintf(seen, sizeof(seen), "all processes gone after %.1f s, and all folders",
                  took.count());
    FaultSeen("F31",
              std::string("kill -9 of the coordinator") +
                  (one_is_stopped ? ", a rank is stopped" : "") + ", tp " + std::to_string(ranks()),
              HasFailure() ? "FAILED" : seen);
  }
}

INSTANTIATE_TEST_SUITE_P(Degrees, Faults, ::testing::Values(2, 3),
                         [](const auto& info) { return "tp" + std::to_string(info.param); });

}  // namespace
}  // namespace octet
