// The commands of `octet` that need no service: what they print and how they refuse.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace octet {
namespace {

using testing::Process;

const std::string kOctet = std::string(OCTET_BIN_DIR) + "/octet";
const std::string kDemo = std::string(OCTET_SOURCE_DIR) + "/launch/demo_model/model";
constexpr double kSeconds = 120;

nlohmann::json JsonOf(std::vector<std::string> command) {
  command.insert(command.begin(), kOctet);
  Process process(command);
  EXPECT_EQ(process.Wait(kSeconds), 0) << process.err();
  return nlohmann::json::parse(process.out(), nullptr, /*allow_exceptions=*/false);
}

TEST(PlanCommand, SumsUpAndShrinksWithTheDegree) {
  int64_t whole = 0;
  for (const int ranks : {1, 2, 3, 5, 7, 8}) {
    const nlohmann::json plan =
        JsonOf({"plan", "qwen2.5-72b", "--tp", std::to_string(ranks), "--weights", "int4",
                "--context", "4096", "--device-memory", "141GB", "--json"});
    ASSERT_EQ(plan["ranks"].size(), static_cast<size_t>(ranks));
    int64_t heads = 0, ffn = 0, vocab = 0, weights = 0;
    for (const auto& rank : plan["ranks"]) {
      heads += rank["heads"].get<int64_t>();
      ffn += rank["ffn"].get<int64_t>();
      vocab += rank["vocab"].get<int64_t>();
      weights += rank["weight_bytes"].get<int64_t>();
      EXPECT_LE(rank["total_bytes"].get<int64_t>(), 141000000000);
      EXPECT_GT(rank["packed_file_bytes"], rank["weight_bytes"]);
      EXPECT_LT(rank["packed_file_bytes"], rank["weight_bytes"].get<int64_t>() + (1 << 17));
      EXPECT_EQ(rank["total_bytes"].get<int64_t>(), rank["weight_bytes"].get<int64_t>() +
                                                        rank["kv_bytes"].get<int64_t>() +
                                                        rank["activation_bytes"].get<int64_t>() +
                                                        rank["communication_bytes"].get<int64_t>());
    }
    EXPECT_EQ(heads, 64);
    EXPECT_EQ(ffn, 29568);
    EXPECT_EQ(vocab, 152064);
    if (ranks == 1) whole = weights;
    // 70.2 G weights in int4 with f16 scales, 1.25 G of int8 head, 1.25 G of bf16 embedding.
    EXPECT_GT(weights, 39000000000);
    EXPECT_LT(weights, whole * 101 / 100);  // nothing but norms is held twice
    EXPECT_GT(plan["full_context_sequences"].get<int64_t>(), 0);
  }
}

// Without a GPU: the same plan that a rank on one asserts when it starts.
TEST(PlanCommand, PlansForAGpuThatIsNotThere) {
  for (const char* model : {"qwen-72b", "qwen2.5-72b", "llama-3-70b"}) {
    const nlohmann::json plan = JsonOf({"plan", model, "--device", "cuda", "--weights", "int4",
                                        "--context", "4096", "--device-memory", "141GB", "--json"});
    EXPECT_EQ(plan["device"], "cuda");
    EXPECT_EQ(plan["activations"], "bf16");
    const auto& rank = plan["ranks"][0];
    const auto bytes = [&](const char* key) { return rank[key].get<int64_t>(); };
    EXPECT_GT(bytes("reserve_bytes"), 0);
    EXPECT_GT(bytes("pinned_host_bytes"), 0);
    EXPECT_EQ(bytes("total_bytes"), bytes("weight_bytes") + bytes("kv_bytes") +
                                        bytes("activation_bytes") + bytes("communication_bytes") +
                                        bytes("reserve_bytes"));
    EXPECT_LE(bytes("total_bytes"), 141000000000);
    EXPECT_GT(plan["full_context_sequences"].get<int64_t>(), 0) << model;
  }
}

TEST(PlanCommand, Refusals) {
  Process unknown({kOctet, "plan", "gpt-99"});
  EXPECT_EQ(unknown.Wait(kSeconds), 2);
  EXPECT_NE(unknown.err().find("gpt-99"), std::string::npos) << unknown.err();
  Process small({kOctet, "plan", "qwen2.5-72b", "--weights", "int4", "--device-memory", "8GiB"});
  EXPECT_NE(small.Wait(kSeconds), 0);
  EXPECT_NE(small.err().find("--device-memory"), std::string::npos) << small.err();
  Process wide({kOctet, "plan", kDemo, "--tp", "9"});
  EXPECT_EQ(wide.Wait(kSeconds), 2);
  EXPECT_NE(wide.err().find("9"), std::string::npos) << wide.err();
}

TEST(InspectCommand, SaysWhatIsStoredKeptAndHeld) {
  for (const int ranks : {1, 3}) {
    const nlohmann::json report =
        JsonOf({"inspect", kDemo, "--tp", std::to_string(ranks), "--check-values", "--json"});
    EXPECT_EQ(report["architecture"], "LlamaForCausalLM");
    EXPECT_EQ(report["quantization"], "");
    EXPECT_EQ(report["kept"]["down"], "bf16");
    EXPECT_EQ(report["tokenizer"], "4096 ids");
    EXPECT_EQ(report["problems"].size(), 0u);
    int64_t stored = 0, tensors = 0, heads = 0;
    for (const auto& tensor : report["tensors"]) {
      stored += tensor["bytes"].get<int64_t>();
      tensors += tensor["count"].get<int64_t>();
    }
    EXPECT_EQ(stored, report["stored_bytes"].get<int64_t>());
    EXPECT_EQ(tensors, 6 * 9 + 2);  // as card.md says: tied, no biases
    ASSERT_EQ(report["ranks"].size(), static_cast<size_t>(ranks));
    for (const auto& rank : report["ranks"]) heads += rank["heads"].get<int64_t>();
    EXPECT_EQ(heads, 8);
  }
  const nlohmann::json int4 = JsonOf({"inspect", kDemo, "--weights", "int4", "--json"});
  EXPECT_EQ(int4["kept"]["down"], "int4 in groups of 32, f16 scales");
}

TEST(InspectCommand, NamesEveryProblemAndGoesOn) {
  const test::TempFolder folder;
  for (const char* name : {"config.json", "model.safetensors"}) {
    std::filesystem::copy_file(kDemo + "/" + name, folder.File(name));
  }
  folder.Write("tokenizer.json", R"({"model": {"type": "WordPiece"}})");
  std::ifstream original(folder.File("config.json"));
  nlohmann::json config = nlohmann::json::parse(original);
  config["intermediate_size"] = 1000;
  folder.Write("config.json", config.dump());
  Process inspect({kOctet, "inspect", folder.path()});
  EXPECT_EQ(inspect.Wait(kSeconds), 2);
  const std::string out = inspect.out();
  EXPECT_NE(out.find("LlamaForCausalLM: 6 layers"), std::string::npos) << out;
  EXPECT_NE(out.find("wrong: model.safetensors: tensor \"model.layers.0.mlp."), std::string::npos)
      << out;
  EXPECT_NE(out.find("WordPiece"), std::string::npos) << out;
  EXPECT_EQ(out.find("nothing wrong"), std::string::npos) << out;

  Process nowhere({kOctet, "inspect", folder.File("none")});
  EXPECT_EQ(nowhere.Wait(kSeconds), 2);
  Process wide({kOctet, "inspect", kDemo, "--tp", "9"});
  EXPECT_EQ(wide.Wait(kSeconds), 2);
  EXPECT_NE(wide.out().find("9"), std::string::npos) << wide.out();
}

TEST(BenchCommand, OneJsonObjectWithStableKeys) {
  for (const std::string ranks : {"1", "2"}) {
    for (const std::vector<std::string>& model :
         {std::vector<std::string>{"--shape", kDemo}, std::vector<std::string>{kDemo}}) {
      std::vector<std::string> command = {"bench"};
      command.insert(command.end(), model.begin(), model.end());
      for (const char* argument : {"--weights", "int4", "--kv", "int8", "--threads", "1", "--batch",
                                   "1,3", "--prompt", "20", "--generate", "4", "--json", "--tp"}) {
        command.emplace_back(argument);
      }
      command.push_back(ranks);
      const nlohmann::json report = JsonOf(command);
      ASSERT_TRUE(report.is_object());
      EXPECT_GT(report["read_bandwidth_bytes_per_s"].get<double>(), 0);
      EXPECT_GT(report["read_sustained_bandwidth_bytes_per_s"].get<double>(), 0);
      EXPECT_LE(report["read_sustained_bandwidth_bytes_per_s"].get<double>(),
                report["read_bandwidth_bytes_per_s"].get<double>());
      EXPECT_GT(report["int8_peak_ops_per_s"].get<double>(), 0);
      ASSERT_EQ(report["results"].size(), 2u);
      for (const auto& result : report["results"]) {
        EXPECT_EQ(result["prompt_tokens"], 20);
        EXPECT_EQ(result["generated_tokens"], 4);
        EXPECT_GT(result["prefill_tokens_per_s"].get<double>(), 0);
        EXPECT_GT(result["decode_tokens_per_s"].get<double>(), 0);
        EXPECT_GT(result["decode_tokens_per_s_mean"].get<double>(), 0);
        EXPECT_GT(result["step_ms"].get<double>(), 0);
      }
      EXPECT_EQ(report["results"][1]["batch"], 3);
    }
  }
}

TEST(GenerateCommand, SaysThatNobodyAnswers) {
  Process generate({kOctet, "generate", "x", "--server", "127.0.0.1:1"});
  EXPECT_EQ(generate.Wait(kSeconds), 1);
  EXPECT_NE(generate.err().find("127.0.0.1:1"), std::string::npos) << generate.err();
  EXPECT_EQ(generate.out(), "");
  Process health({kOctet, "health", "--server", "127.0.0.1:1"});
  EXPECT_EQ(health.Wait(kSeconds), 1);
  Process stats({kOctet, "stats", "--server", "127.0.0.1:1", "--json"});
  EXPECT_EQ(stats.Wait(kSeconds), 1);
  EXPECT_NE(stats.err().find("127.0.0.1:1"), std::string::npos) << stats.err();
  EXPECT_EQ(stats.out(), "");
}

TEST(GenerateCommand, ALogitBiasThatIsNoneIsRefused) {
  for (const std::string bias : {"5", "x=1", "5=", "5=1x", "=1"}) {
    Process generate({kOctet, "generate", "x", "--server", "127.0.0.1:1", "--logit-bias", bias});
    EXPECT_EQ(generate.Wait(kSeconds), 2);
    EXPECT_EQ(generate.err(), "octet: --logit-bias is '" + bias +
                                  "'; it must be a token id, '=' and a number, like 42=-1.5\n");
  }
}

TEST(Command, WrongUsageIsTwo) {
  Process none({kOctet});
  EXPECT_EQ(none.Wait(kSeconds), 2);
  Process unknown({kOctet, "frobnicate"});
  EXPECT_EQ(unknown.Wait(kSeconds), 2);
  Process help({kOctet, "serve", "--help"});
  EXPECT_EQ(help.Wait(kSeconds), 0);
  EXPECT_NE(help.out().find("--kv-memory"), std::string::npos);
}

}  // namespace
}  // namespace octet
