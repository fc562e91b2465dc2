// Bad files through the real programs: `octet serve` with two ranks ends with 2, says one sentence
// once, and leaves no process behind.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/fault_table.h"
#include "tests/support/served.h"

namespace octet::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kRefusalSeconds = 30;
constexpr double kGoneSeconds = 5;

std::string Contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Processes whose command line has `part`: the launcher and the ranks of a service.
int ProcessesWith(const std::string& part) {
  int found = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    if (Contents(entry.path() / "cmdline").find(part) != std::string::npos) ++found;
  }
  return found;
}

int CountOf(const std::string& part, const std::string& text) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// The line without its time of day.
std::string LineWith(const std::string& part, const std::string& text) {
  const size_t at = text.find(part);
  if (at == std::string::npos) return "";
  const size_t begin = text.find(' ', text.rfind('\n', at) + 1) + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

class ServedBadFiles : public ::testing::Test {
 protected:
  ServedBadFiles() : model_(folder_.File("model")) { fs::copy(kDemo, model_); }

  void EditJson(const char* name, const std::function<void(json&)>& edit) {
    json value = json::parse(Contents(model_ / name));
    edit(value);
    std::ofstream(model_ / name) << value;
  }

  // Serves the folder, and expects the end that a bad model has to have.
  void ExpectRefused(const char* row, const std::string& injected, const std::string& said,
                     const std::vector<std::string>& more_flags = {}) {
    const auto start = std::chrono::steady_clock::now();
    Process serve(ServeCommand(model_.string(), FreeAddress(), 2, more_flags));
    EXPECT_EQ(serve.Wait(kRefusalSeconds), 2) << serve.err();
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_EQ(CountOf(said, serve.err()), 1) << serve.err();
    int left = ProcessesWith(model_.string());
    for (int i = 0; left > 0 && i < kGoneSeconds * 100; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      left = ProcessesWith(model_.string());
    }
    EXPECT_EQ(left, 0);
    char tail[80];
    std::snprintf(tail, sizeof(tail), " [exit 2 after %.1f s, said once, nothing left]", seconds);
    FaultSeen(row, "octet serve: " + injected, LineWith(said, serve.err()) + tail);
  }

  test::TempFolder folder_;
  fs::path model_;
};

TEST_F(ServedBadFiles, F1HeaderBeyondTheFile) {
  std::fstream file(model_ / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  const uint64_t length = 99'000'000;
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.close();
  ExpectRefused("F1", "header length beyond the file",
                "model.safetensors: header of 99000000 bytes does not fit into the file");
}

TEST_F(ServedBadFiles, F2BytesAfterTheLastTensor) {
  std::ofstream(model_ / "model.safetensors", std::ios::app) << "polyglot";
  ExpectRefused("F2", "8 bytes after the last tensor", "bytes follow the header, but its tensors");
}

// Whatever GPUs the machine has: none may be seen.
TEST_F(ServedBadFiles, F38NoGpuToComputeOn) {
  setenv("CUDA_VISIBLE_DEVICES", "", 1);
  ExpectRefused("F38", "--device cuda where no GPU is to be seen", "without", {"--device", "cuda"});
  unsetenv("CUDA_VISIBLE_DEVICES");
}

TEST_F(ServedBadFiles, F3IndexNamesAnotherFolder) {
  fs::remove(model_ / "model.safetensors");
  std::ofstream(model_ / "model.safetensors.index.json")
      << R"({"weight_map":{"model.norm.weight":"../../etc/passwd"}})";
  ExpectRefused("F3", "index names ../../etc/passwd", "is said to be in \"../../etc/passwd\"");
}

TEST_F(ServedBadFiles, F4NoHeads) {
  EditJson("config.json", [](json& config) { config["num_attention_heads"] = 0; });
  ExpectRefused("F4", "heads 0", "key \"num_attention_heads\" is 0, expected an integer in");
}

TEST_F(ServedBadFiles, F5Quantized) {
  EditJson("config.json", [](json& config) {
    config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 3}};
  });
  ExpectRefused("F5", "a GPTQ checkpoint of 3 bits", "key \"bits\" is 3, supported is 4 or 8");
}

// One rank alone meets the fault; the others must not be left in a collective.
class ServedFailingFiles : public ServedBadFiles {
 protected:
  void SetUp() override {
    // A sanitizer wants to be the first that is preloaded, and not to be in mpirun.
    if (std::string(OCTET_READ_FAULT_SANITIZED) == "1") GTEST_SKIP() << "a sanitizer's build";
    setenv("LD_PRELOAD", OCTET_READ_FAULT_LIBRARY, 1);
    setenv("OCTET_READ_FAULT_FILE", (model_ / "model.safetensors").c_str(), 1);
    setenv("OCTET_READ_FAULT_AT", "500000", 1);
  }
  void TearDown() override {
    for (const char* name : {"LD_PRELOAD", "OCTET_READ_FAULT", "OCTET_READ_FAULT_FILE",
                             "OCTET_READ_FAULT_RANK", "OCTET_READ_FAULT_MS"}) {
      unsetenv(name);
    }
  }
};

TEST_F(ServedFailingFiles, F7ReadFailsOnOneRank) {
  setenv("OCTET_READ_FAULT", "eio", 1);
  setenv("OCTET_READ_FAULT_RANK", "1", 1);
  ExpectRefused("F7", "read returns EIO on rank 1 alone",
                "model.safetensors: pread failed: Input/output error at byte");
}

TEST_F(ServedFailingFiles, F7FileIsReplacedWhileItIsLoaded) {
  setenv("OCTET_READ_FAULT", "replace", 1);
  setenv("OCTET_READ_FAULT_RANK", "0", 1);
  ExpectRefused("F7", "file replaced while rank 0 loads it",
                "model.safetensors: was replaced or removed while it was read");
}

TEST_F(ServedFailingFiles, F7FileIsCutWhileItIsLoaded) {
  setenv("OCTET_READ_FAULT", "cut", 1);
  setenv("OCTET_READ_FAULT_RANK", "1", 1);
  ExpectRefused("F7", "file cut to half while rank 1 loads it", "model.safetensors: ");
}

// A stall may pass, so the group is tried again, as often as any other that is lost.
TEST_F(ServedFailingFiles, F7AReadThatDoesNotComeBackEndsTheGroup) {
  setenv("OCTET_READ_FAULT", "stall", 1);
  setenv("OCTET_READ_FAULT_MS", "60000", 1);
  setenv("OCTET_READ_FAULT_RANK", "1", 1);
  Process serve(ServeCommand(model_.string(), FreeAddress(), 2, {"--load-stall", "1"}));
  EXPECT_EQ(serve.Wait(2 * kRefusalSeconds), 1) << serve.err();
  const std::string said = "no rank has got on with loading for 1 s; rank 1 (process ";
  EXPECT_EQ(CountOf(said, serve.err()), 5) << serve.err();
  EXPECT_EQ(ProcessesWith(model_.string()), 0);
  FaultSeen("F7", "octet serve: reads of rank 1 stall for 60 s, --load-stall 1",
            LineWith(said, serve.err()) + " [four times more, then exit code 1]");
}

TEST_F(ServedBadFiles, F8IllMerges) {
  EditJson("tokenizer.json", [](json& root) {
    root["model"]["merges"] = json::array({json::array({"", "a"})});
  });
  ExpectRefused("F8", "a merge with nothing", "model.merges[0] needs the token ``");
}

TEST_F(ServedBadFiles, F8SentencePiece) {
  fs::rename(model_ / "tokenizer.json", model_ / "tokenizer.model");
  ExpectRefused("F8", "a SentencePiece model that is none",
                "tokenizer.model: field 15 has wire type 3, expected 0, 1, 2 or 5");
}

// A model can be used without its template: the service starts, and says what it will refuse.
TEST_F(ServedBadFiles, F8BrokenChatTemplate) {
  std::ofstream(model_ / "chat_template.jinja") << "{% for %}";
  Process serve(ServeCommand(model_.string(), FreeAddress(), 2));
  for (int i = 0; i < kRefusalSeconds * 100 && CountOf("ready: ", serve.err()) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(CountOf("chat template, line 1: found `%}`, expected a name", serve.err()), 1);
  EXPECT_EQ(CountOf("ready: ", serve.err()), 1) << serve.err();
  serve.Signal(SIGTERM);
  EXPECT_EQ(serve.Wait(kStopSeconds), 0) << serve.err();
  FaultSeen("F8", "octet serve: a chat template that is not one",
            LineWith("chat template, line 1", serve.err()) + " [it serves texts all the same]");
}

}  // namespace
}  // namespace octet::testing
