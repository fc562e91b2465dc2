// kill -9 of worker ranks at random moments, while 32 streams run: each goes on where it was, token
// for token and log-probability for log-probability, and nothing is left over. Every service takes
// four losses, as many as it forgives. OCTET_KILL_SERVICES runs more than one service at each
// degree; 13 make 52 kills.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <sstream>

#include "tests/integration/crowd.h"
#include "tests/support/process_tree.h"
#include "tests/support/served.h"
#include "tests/support/temp_folder.h"

namespace octet {
namespace {

using testing::Crowd;
using testing::CrowdAnswer;

constexpr int kKills = 4;  // of one service
constexpr double kNextGroupSecondsMax = 60;

// Kills a rank now and then, sometimes of a group that is only starting.
void KillRanks(testing::Served* service, int ranks, std::mt19937_64* random) {
  for (int kill_index = 0; kill_index < kKills; ++kill_index) {
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(kNextGroupSecondsMax);
    std::vector<pid_t> alive;
    while (static_cast<int>(alive.size()) < ranks && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      alive = testing::Ranks(service->process().pid());
    }
    ASSERT_EQ(static_cast<int>(alive.size()), ranks) << service->process().err();
    std::this_thread::sleep_for(std::chrono::milliseconds((*random)() % 1500));
    alive = testing::Ranks(service->process().pid());
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
  std::vector<CrowdAnswer> undisturbed;
  {
    testing::Served service(GetParam());
    ASSERT_TRUE(service.ready()) << service.process().err();
    undisturbed = Crowd(service.address()).Join();
    service.process().Signal(SIGTERM);
    ASSERT_EQ(service.process().Wait(testing::kStopSeconds), 0);
  }
  for (int round = 0; round < services; ++round) {
    testing::Served service(GetParam());
    ASSERT_TRUE(service.ready()) << service.process().err();
    const std::set<std::string> folders = testing::SessionFolders(service.process().pid());
    EXPECT_GE(folders.size(), 2u);
    std::thread killer([&] { KillRanks(&service, GetParam(), &random); });
    const std::vector<CrowdAnswer> answers = Crowd(service.address()).Join();
    killer.join();
    testing::ExpectSame(answers, undisturbed);
    std::istringstream log(service.process().err());
    for (std::string line; std::getline(log, line);) {
      if (line.find("the workers are back") != std::string::npos) std::printf("%s\n", line.c_str());
    }
    if (HasFailure()) FAIL() << "round " << round << "\n" << service.process().err();
    const auto family = testing::Descendants(service.process().pid());
    service.process().Signal(SIGTERM);
    EXPECT_EQ(service.process().Wait(testing::kStopSeconds), 0) << service.process().err();
    for (const auto& [pid, name] : family) EXPECT_TRUE(testing::Ends(pid)) << name << " is left";
    for (const std::string& folder : folders) EXPECT_TRUE(testing::Vanishes(folder)) << folder;
    // Later groups took the weights as the first had packed them.
    EXPECT_NE(service.process().err().find("packed weights checked and mapped"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Degrees, Kill, ::testing::Values(2, 3),
                         [](const auto& info) { return "tp" + std::to_string(info.param); });

// Answers that run could only go on with other weights than they began with.
TEST(KillTest, FilesThatHaveChangedEndTheService) {
  namespace fs = std::filesystem;
  const octet::test::TempFolder folder;
  fs::copy(testing::kDemo, folder.File("model"), fs::copy_options::recursive);
  testing::Served service(1, {}, folder.File("model"));
  ASSERT_TRUE(service.ready()) << service.process().err();
  const fs::path weights = folder.File("model") + "/model.safetensors";
  fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(2));
  for (const pid_t rank : testing::Ranks(service.process().pid())) kill(rank, SIGKILL);
  EXPECT_EQ(service.process().Wait(testing::kStartSeconds), 2);
  EXPECT_NE(service.process().err().find("the model's files, or the program, have changed"),
            std::string::npos)
      << service.process().err();
}

}  // namespace
}  // namespace octet
