// kill -9 of worker ranks at random moments, while 32 streams run: each goes on where it was, token
// for token and log-probability for log-probability, and nothing is left over. Every service takes
// five losses, as many as it forgives. OCTET_KILL_SERVICES runs more than one service at each
// degree.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "octet/v1/generation.grpc.pb.h"
#include "tests/support/served.h"

namespace octet {
namespace {

constexpr int kStreams = 32;
constexpr int kKills = 5;  // of one service
constexpr auto kAnswerMax = std::chrono::seconds(240);
constexpr double kNextGroupSecondsMax = 60;

struct Answered {
  grpc::Status status;
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
};

bool SameBits(const Answered& a, const Answered& b) {
  return a.tokens == b.tokens && a.logprobs.size() == b.logprobs.size() &&
         std::memcmp(a.logprobs.data(), b.logprobs.data(), a.logprobs.size() * sizeof(float)) == 0;
}

// Long enough to be there for all kills; half greedy, half sampled.
v1::GenerateRequest RequestOf(int index) {
  v1::GenerateRequest request;
  for (int i = 0; i < 3 + index * 7; ++i) {
    request.mutable_token_ids()->add_ids(20 + (index * 131 + i * 37) % 2000);
  }
  v1::SamplingParams* sampling = request.mutable_sampling_params();
  sampling->set_max_tokens(760);
  sampling->set_ignore_eos(true);
  sampling->set_temperature(index % 2 == 0 ? 0.0f : 0.9f);
  if (index % 4 == 1) sampling->set_repetition_penalty(1.1f);
  sampling->set_seed(static_cast<uint64_t>(index));
  sampling->set_logprobs(2);
  return request;
}

std::vector<Answered> AskAll(const std::string& address) {
  const auto stub =
      v1::Generation::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  std::vector<Answered> answers(kStreams);
  std::vector<std::thread> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.emplace_back([&stub, answer = &answers[i], i] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + kAnswerMax);
      const auto reader = stub->Generate(&context, RequestOf(i));
      for (v1::GenerateResponse response; reader->Read(&response);) {
        if (!response.has_chunk()) continue;
        EXPECT_EQ(response.chunk().first_position(), static_cast<int64_t>(answer->tokens.size()));
        for (const int32_t token : response.chunk().token_ids()) answer->tokens.push_back(token);
        for (const v1::TokenLogprobs& told : response.chunk().logprobs()) {
          answer->logprobs.push_back(told.logprob());
          for (const float top : told.top_logprobs()) answer->logprobs.push_back(top);
        }
      }
      answer->status = reader->Finish();
    });
  }
  for (std::thread& client : clients) client.join();
  return answers;
}

// The processes below `root`, by name.
std::vector<std::pair<pid_t, std::string>> Descendants(pid_t root) {
  std::vector<std::tuple<pid_t, pid_t, std::string>> all;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    std::ifstream file(entry.path() / "stat");
    std::string line;
    if (pid <= 0 || !std::getline(file, line)) continue;
    const size_t open = line.find('('), close = line.rfind(')');
    pid_t parent = 0;
    char state = 0;
    if (std::sscanf(line.c_str() + close + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
      continue;
    all.emplace_back(pid, parent, line.substr(open + 1, close - open - 1));
  }
  std::vector<std::pair<pid_t, std::string>> found;
  std::set<pid_t> family = {root};
  for (bool grew = true; std::exchange(grew, false);) {
    for (const auto& [pid, parent, name] : all) {
      if (!family.contains(parent) || !family.insert(pid).second) continue;
      found.emplace_back(pid, name);
      grew = true;
    }
  }
  return found;
}

std::vector<pid_t> Ranks(pid_t root) {
  std::vector<pid_t> ranks;
  for (const auto& [pid, name] : Descendants(root)) {
    if (name == "octet-worker") ranks.push_back(pid);
  }
  return ranks;
}

// Whether the process ends within seconds; a dead one that nobody has reaped yet has ended.
bool Ends(pid_t pid) {
  for (int i = 0; i < 500; ++i) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    if (!std::getline(file, line)) return true;
    const size_t close = line.rfind(')');
    if (close != std::string::npos && line.compare(close + 1, 2, " Z") == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// What a service may leave behind outside its processes.
std::set<std::string> Traces() {
  std::set<std::string> traces;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    traces.insert(entry.path());
  }
  for (const auto& entry : std::filesystem::directory_iterator("/tmp")) {
    const std::string name = entry.path().filename();
    if (name.rfind("octet-", 0) == 0 || name.rfind("ompi", 0) == 0) traces.insert(entry.path());
  }
  return traces;
}

// Kills a rank now and then, sometimes of a group that is only starting.
void KillRanks(testing::Served* service, int ranks, std::mt19937_64* random) {
  for (int kill_index = 0; kill_index < kKills; ++kill_index) {
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(kNextGroupSecondsMax);
    std::vector<pid_t> alive;
    while (static_cast<int>(alive.size()) < ranks && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      alive = Ranks(service->process().pid());
    }
    ASSERT_EQ(static_cast<int>(alive.size()), ranks) << service->process().err();
    std::this_thread::sleep_for(std::chrono::milliseconds((*random)() % 1500));
    alive = Ranks(service->process().pid());
    if (alive.empty()) continue;
    kill(alive[(*random)() % alive.size()], SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

class Kill : public ::testing::TestWithParam<int> {};

TEST_P(Kill, NoTokenIsLostRepeatedOrChanged) {
  const char* more = std::getenv("OCTET_KILL_SERVICES");
  const int services = more != nullptr ? std::atoi(more) : 1;
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  const std::set<std::string> before = Traces();
  std::vector<Answered> undisturbed;
  {
    testing::Served service(GetParam());
    ASSERT_TRUE(service.ready()) << service.process().err();
    undisturbed = AskAll(service.address());
    service.process().Signal(SIGTERM);
    ASSERT_EQ(service.process().Wait(testing::kStopSeconds), 0);
  }
  for (int round = 0; round < services; ++round) {
    testing::Served service(GetParam());
    ASSERT_TRUE(service.ready()) << service.process().err();
    std::thread killer([&] { KillRanks(&service, GetParam(), &random); });
    const std::vector<Answered> answers = AskAll(service.address());
    killer.join();
    for (int i = 0; i < kStreams; ++i) {
      ASSERT_TRUE(answers[i].status.ok()) << i << ": " << answers[i].status.error_message() << "\n"
                                          << service.process().err();
      EXPECT_EQ(answers[i].tokens.size(), 760u);
      EXPECT_TRUE(SameBits(answers[i], undisturbed[i])) << "stream " << i << " of round " << round;
    }
    const std::vector<std::pair<pid_t, std::string>> family = Descendants(service.process().pid());
    service.process().Signal(SIGTERM);
    EXPECT_EQ(service.process().Wait(testing::kStopSeconds), 0) << service.process().err();
    for (const auto& [pid, name] : family) EXPECT_TRUE(Ends(pid)) << name << " is left";
    // Later groups took the weights as the first had packed them.
    EXPECT_NE(service.process().err().find("packed weights checked and mapped"), std::string::npos);
  }
  EXPECT_EQ(Traces(), before);
}

INSTANTIATE_TEST_SUITE_P(Degrees, Kill, ::testing::Values(2, 3),
                         [](const auto& info) { return "tp" + std::to_string(info.param); });

}  // namespace
}  // namespace octet
