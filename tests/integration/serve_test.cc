// The whole as a person meets it: `octet serve` with the demo model on MPI ranks, `octet generate`
// against it, and what is said when something is wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/process_tree.h"
#include "tests/support/served.h"

namespace octet {
namespace {

using test::TempFolder;
using testing::FreeAddress;
using testing::kAnswerSeconds;
using testing::kDemo;
using testing::kStartSeconds;
using testing::kStopSeconds;
using testing::Process;
using testing::ServeCommand;
using testing::Served;

const std::vector<std::string> kPrompts = {"And it came to pass", "In the beginning God",
                                           "The LORD is my", "And Moses said unto"};
const std::vector<std::string> kSampled = {"--max-tokens", "24",     "--temperature",
                                           "0.8",          "--seed", "5"};

TEST(Serve, SameTokensAtEveryDegreeAndUnderLoad) {
  std::vector<std::string> alone;
  for (const int ranks : {1, 2, 3}) {
    Served service(ranks);
    ASSERT_TRUE(service.ready()) << service.process().err();
    for (size_t i = 0; i < kPrompts.size(); ++i) {
      const std::string greedy = service.Generate(kPrompts[i], {"--max-tokens", "24"});
      const std::string sampled = service.Generate(kPrompts[i], kSampled);
      if (ranks == 1) {
        EXPECT_GT(greedy.size(), 20u);
        alone.push_back(greedy);
        alone.push_back(sampled);
      }
      EXPECT_EQ(greedy, alone[2 * i]) << "tp " << ranks;
      EXPECT_EQ(sampled, alone[2 * i + 1]) << "tp " << ranks;
    }
    // All at once, twice over.
    std::vector<std::unique_ptr<Process>> crowd;
    for (int round = 0; round < 2; ++round) {
      for (const std::string& prompt : kPrompts) {
        crowd.push_back(service.Start(prompt, {"--max-tokens", "24"}));
        crowd.push_back(service.Start(prompt, kSampled));
      }
    }
    for (size_t i = 0; i < crowd.size(); ++i) {
      ASSERT_EQ(crowd[i]->Wait(kAnswerSeconds), 0) << crowd[i]->err();
      EXPECT_EQ(crowd[i]->out(), alone[i % alone.size()]) << "tp " << ranks;
    }
    service.process().Signal(SIGTERM);
    EXPECT_EQ(service.process().Wait(kStopSeconds), 0) << service.process().err();
  }
}

TEST(Serve, EveryOptionGivesTheSameAtEveryDegree) {
  std::string text;
  std::vector<std::string> told;
  for (const int ranks : {1, 3}) {
    Served service(ranks);
    ASSERT_TRUE(service.ready()) << service.process().err();
    EXPECT_EQ(service.Generate("add: 22+9=", {"--chat", "--max-tokens", "8", "--stop", "\n"}),
              "31\n");
    const auto process = service.Start(kPrompts[0], {"--n",
                                                     "2",
                                                     "--max-tokens",
                                                     "40",
                                                     "--temperature",
                                                     "0.9",
                                                     "--seed",
                                                     "5",
                                                     "--top-p",
                                                     "0.95",
                                                     "--repetition-penalty",
                                                     "1.2",
                                                     "--presence-penalty",
                                                     "0.2",
                                                     "--frequency-penalty",
                                                     "0.1",
                                                     "--logit-bias",
                                                     "100=-5",
                                                     "--min-tokens",
                                                     "6",
                                                     "--stop",
                                                     ".",
                                                     "--logprobs",
                                                     "3",
                                                     "--echo"});
    ASSERT_EQ(process->Wait(kAnswerSeconds), 0) << process->err();
    EXPECT_EQ(process->out().rfind(kPrompts[0], 0), 0u) << process->out();
    EXPECT_NE(process->err().find("answer 1, token"), std::string::npos) << process->err();
    // The two answers come as they come: line by line they are the same.
    std::vector<std::string> lines;
    std::istringstream in(process->err());
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    std::sort(lines.begin(), lines.end());
    if (ranks == 1) {
      text = process->out();
      told = lines;
    }
    EXPECT_EQ(process->out(), text);
    EXPECT_EQ(lines, told);
  }
}

TEST(Serve, AWeightCacheOutlivesTheService) {
  const TempFolder folder;
  const std::string cache = folder.File("a/b");
  std::string first;
  for (const bool again : {false, true}) {
    Served service(2, {"--weight-cache", cache});
    ASSERT_TRUE(service.ready()) << service.process().err();
    const std::string text = service.Generate(kPrompts[0], {"--max-tokens", "24"});
    service.process().Signal(SIGTERM);
    ASSERT_EQ(service.process().Wait(kStopSeconds), 0);
    const std::string told = service.process().err();
    EXPECT_EQ(told.find("rank 1: packed weights checked") != std::string::npos, again) << told;
    if (!again) first = text;
    EXPECT_EQ(text, first);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(cache), {}), 2);
}

// As ranks of several hosts do: they dial in over TCP, are started without a folder of this host,
// and send each other messages over TCP.
TEST(Serve, RanksMayBeOnOtherHosts) {
  const std::vector<std::string> kLong = {"--max-tokens", "900", "--ignore-eos"};
  std::string on_one_host;
  {
    Served service(2);
    ASSERT_TRUE(service.ready()) << service.process().err();
    on_one_host = service.Generate(kPrompts[0], kLong);
  }
  Served service(2, {"--link", FreeAddress(), "--mpirun-args", "--mca btl self,tcp"});
  ASSERT_TRUE(service.ready()) << service.process().err();
  const auto disturbed = service.Start(kPrompts[0], kLong);
  while (disturbed->out().empty() && !disturbed->Poll().has_value()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::vector<pid_t> ranks = testing::Ranks(service.process().pid());
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[1], SIGKILL);
  ASSERT_EQ(disturbed->Wait(kAnswerSeconds), 0) << disturbed->err();
  EXPECT_EQ(disturbed->out(), on_one_host);
  EXPECT_NE(service.process().err().find("the worker group is lost"), std::string::npos);
  service.process().Signal(SIGTERM);
  EXPECT_EQ(service.process().Wait(kStopSeconds), 0) << service.process().err();
}

TEST(Serve, SaysWhereRanksCanNotDialIn) {
  const auto error_of = [](std::vector<std::string> more, int code) {
    Process serve(ServeCommand(kDemo, FreeAddress(), 2, std::move(more)));
    EXPECT_EQ(serve.Wait(kStartSeconds), code) << serve.err();
    return serve.err();
  };
  for (const char* link : {"10.0.0.1", "0.0.0.0:7000", "10.0.0.1:0", ":7000"}) {
    EXPECT_NE(error_of({"--link", link}, 2).find(std::string("it is '") + link), std::string::npos);
  }
  EXPECT_NE(error_of({"--mpirun-args", "--hostfile hosts"}, 2).find("--link"), std::string::npos);
  EXPECT_NE(error_of({"--launcher", "external"}, 2).find("OCTET_LINK_SECRET"), std::string::npos);
}

// The demo model answers its tasks with int4 weights and an int8 cache too.
TEST(Serve, SolvesTasksItHasNotSeen) {
  std::ifstream file(std::string(OCTET_SOURCE_DIR) + "/launch/demo_model/heldout/tasks.jsonl");
  ASSERT_TRUE(file);
  Served service(2);
  ASSERT_TRUE(service.ready()) << service.process().err();
  std::vector<nlohmann::json> items;
  for (std::string line; std::getline(file, line);) items.push_back(nlohmann::json::parse(line));
  ASSERT_GE(items.size(), 100u);
  constexpr size_t kAsked = 40;
  size_t solved = 0;
  for (size_t i = 0; i < kAsked; ++i) {
    const nlohmann::json& item = items[i * items.size() / kAsked];
    const std::string answer =
        service.Generate(item["prompt"].get<std::string>(), {"--max-tokens", "32"});
    const std::string expected = item["answer"].get<std::string>();
    const std::string first_line = answer.substr(0, answer.find('\n'));
    solved += first_line == expected.substr(0, expected.find('\n'));
  }
  std::printf("solved %zu of %zu with int4 weights and int8 KV\n", solved, kAsked);
  EXPECT_GE(solved, kAsked * 8 / 10);
}

TEST(Serve, RefusesWhatItCanNotDo) {
  Served service(2, {"--max-model-len", "128"});
  ASSERT_TRUE(service.ready()) << service.process().err();

  std::string long_prompt;
  for (int i = 0; i < 400; ++i) long_prompt += "and he said ";
  const auto too_long = service.Start(long_prompt);
  EXPECT_NE(too_long->Wait(kAnswerSeconds), 0);
  EXPECT_NE(too_long->err().find("128"), std::string::npos) << too_long->err();
  const auto empty = service.Start("");
  EXPECT_NE(empty->Wait(kAnswerSeconds), 0);
  EXPECT_NE(empty->err().find("prompt"), std::string::npos) << empty->err();
  const auto hot = service.Start("x", {"--temperature", "-1"});
  EXPECT_NE(hot->Wait(kAnswerSeconds), 0);
  EXPECT_NE(hot->err().find("temperature"), std::string::npos) << hot->err();

  // Another service on the same port says so at once, and the first goes on.
  Process second(ServeCommand(kDemo, service.address(), 1));
  EXPECT_EQ(second.Wait(kStopSeconds), 1);
  EXPECT_NE(second.err().find(service.address()), std::string::npos) << second.err();
  EXPECT_FALSE(service.Generate("And he said", {"--max-tokens", "4"}).empty());
}

// Each in a copy of the demo model with one thing wrong; exit 2 and a sentence that names it.
class BadModel : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = dir_.File("model");
    std::filesystem::copy(kDemo, model_);
  }

  std::string ErrorOf(const std::string& model) {
    Process serve(ServeCommand(model, FreeAddress(), 2));
    EXPECT_EQ(serve.Wait(kStartSeconds), 2) << serve.err();
    return serve.err();
  }

  void EditConfig(const std::string& key, const nlohmann::json& value) {
    std::ifstream in(model_ / "config.json");
    nlohmann::json config = nlohmann::json::parse(in);
    config[key] = value;
    std::ofstream(model_ / "config.json") << config;
  }

  TempFolder dir_;
  std::filesystem::path model_;
};

TEST_F(BadModel, NotThere) {
  const std::string error = ErrorOf(dir_.File("nowhere"));
  EXPECT_NE(error.find("nowhere"), std::string::npos) << error;
}

TEST_F(BadModel, UnknownArchitecture) {
  EditConfig("architectures", {"FalconForCausalLM"});
  const std::string error = ErrorOf(model_.string());
  EXPECT_NE(error.find("FalconForCausalLM"), std::string::npos) << error;
  EXPECT_NE(error.find("LlamaForCausalLM"), std::string::npos) << error;
}

TEST_F(BadModel, WeightsMissing) {
  std::filesystem::remove(model_ / "model.safetensors");
  const std::string error = ErrorOf(model_.string());
  EXPECT_NE(error.find("model.safetensors"), std::string::npos) << error;
}

TEST_F(BadModel, WeightsTruncated) {
  const auto file = model_ / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  const std::string error = ErrorOf(model_.string());
  EXPECT_NE(error.find("model.safetensors"), std::string::npos) << error;
}

TEST_F(BadModel, HeaderLies) {
  std::fstream file(model_ / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  const uint64_t length = uint64_t{1} << 60;
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.close();
  const std::string error = ErrorOf(model_.string());
  EXPECT_NE(error.find("model.safetensors"), std::string::npos) << error;
}

TEST_F(BadModel, ConfigAndTensorsDisagree) {
  EditConfig("intermediate_size", 2048);
  const std::string error = ErrorOf(model_.string());
  EXPECT_NE(error.find("mlp"), std::string::npos) << error;
  EXPECT_NE(error.find("2048"), std::string::npos) << error;
}

TEST_F(BadModel, MoreRanksThanLeaves) {
  Process serve(ServeCommand(kDemo, FreeAddress(), 9));
  EXPECT_EQ(serve.Wait(kStartSeconds), 2) << serve.err();
  EXPECT_NE(serve.err().find("8"), std::string::npos) << serve.err();
}

}  // namespace
}  // namespace octet
