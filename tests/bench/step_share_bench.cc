// What a decode step of a real service takes beside the model: the coordinator and its link, MPI
// and sampling, as shares of the step's wall time on the critical path. `octet serve` with two CPU
// ranks of one thread, a made-up checkpoint of llama-1b's shape, int4 weights and an int8 cache;
// the clients are threads of this program. Whatever runs on the same cores is in all the times.
//
//   octet_step_share_bench [BATCH [TEMPERATURE [STREAM_INTERVAL]]]
//
// A step's wall time is that between results. Of it: `between`, when no rank computes (a plan on
// its way); collectives of the rank that waits least for the others; sampling of the rank that
// takes longest for it. The rest is the model's own work.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/bench/token_streams.h"
#include "tests/coordinator/support/program.h"
#include "tests/coordinator/support/tiny_model.h"
#include "tests/support/temp_folder.h"

namespace octet {
namespace {

constexpr double kStartSecondsMax = 60;
constexpr double kMeasuredSeconds = 11;  // the means of the ranks are of the last ten
constexpr int64_t kAnswerTokens = 900;
constexpr int64_t kVocab = 32000, kHidden = 2048, kInner = 8192, kKv = 512, kLayers = 16;

constexpr char kConfig[] = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
 "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
 "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 32000,
 "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
 "tie_word_embeddings": false, "hidden_act": "silu", "torch_dtype": "bfloat16",
 "bos_token_id": 1, "eos_token_id": 2})";

struct Shape {
  std::string name;
  int64_t rows, columns;  // 0 columns: a vector
  int64_t bytes() const { return 2 * rows * std::max<int64_t>(columns, 1); }
};

std::vector<Shape> Shapes() {
  std::vector<Shape> shapes = {{"model.embed_tokens.weight", kVocab, kHidden},
                               {"model.norm.weight", kHidden, 0},
                               {"lm_head.weight", kVocab, kHidden}};
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string at = "model.layers." + std::to_string(layer) + ".";
    for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
      shapes.push_back({at + norm, kHidden, 0});
    for (const char* name : {"q", "o"})
      shapes.push_back({at + "self_attn." + name + "_proj.weight", kHidden, kHidden});
    for (const char* name : {"k", "v"})
      shapes.push_back({at + "self_attn." + name + "_proj.weight", kKv, kHidden});
    for (const char* name : {"gate", "up"})
      shapes.push_back({at + "mlp." + name + "_proj.weight", kInner, kHidden});
    shapes.push_back({at + "mlp.down_proj.weight", kHidden, kInner});
  }
  return shapes;
}

// bf16 values within +-0.06, the same two million of them again and again.
void WriteWeights(const std::string& path) {
  std::string header = "{";
  int64_t bytes = 0;
  for (const Shape& shape : Shapes()) {
    if (bytes > 0) header += ",";
    header += "\"" + shape.name + "\":{\"dtype\":\"BF16\",\"shape\":[" + std::to_string(shape.rows);
    if (shape.columns > 0) header += "," + std::to_string(shape.columns);
    header += "],\"data_offsets\":[" + std::to_string(bytes) + ",";
    bytes += shape.bytes();
    header += std::to_string(bytes) + "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::mt19937 random(20);
  std::vector<uint16_t> block(2'000'003);
  for (uint16_t& value : block)
    value = static_cast<uint16_t>((random() & 0x8000) | (0x3c00 + random() % 0x180));
  std::ofstream file(path, std::ios::binary);
  const uint64_t header_bytes = header.size();
  file.write(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes));
  file << header;
  while (bytes > 0) {
    const int64_t piece = std::min<int64_t>(bytes, 2 * static_cast<int64_t>(block.size()));
    file.write(reinterpret_cast<const char*>(block.data()), piece);
    bytes -= piece;
  }
  OCTET_CHECK(file.good());
}

v1::GetStatsResponse Stats(v1::Generation::Stub* stub) {
  grpc::ClientContext context;
  v1::GetStatsResponse stats;
  OCTET_CHECK(stub->GetStats(&context, {}, &stats).ok());
  return stats;
}

struct Asked {
  int batch = 32;
  float temperature = 1;
  std::string interval = "1";
};

void Measure(const std::string& address, pid_t coordinator, const Asked& asked) {
  const auto channel = Connect(address);
  const auto stub = v1::Generation::NewStub(channel);
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < asked.batch; ++i)
    streams.push_back(
        std::make_unique<Stream>(Connect(address), i, kAnswerTokens, asked.temperature));
  for (const auto& stream : streams) {
    while (stream->tokens() == 0) {
      OCTET_CHECK(fakes::IsAlive(coordinator));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  const auto start = std::chrono::steady_clock::now();
  const int64_t steps_before = Stats(stub.get()).steps();
  const double processor_before = CpuSeconds(coordinator);
  std::this_thread::sleep_for(std::chrono::duration<double>(kMeasuredSeconds));
  const v1::GetStatsResponse after = Stats(stub.get());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto steps = static_cast<double>(after.steps() - steps_before);
  const double coordinator_ms = (CpuSeconds(coordinator) - processor_before) / steps * 1e3;
  OCTET_CHECK_EQ(after.requests_running(), int64_t{asked.batch});  // to the end
  OCTET_CHECK_EQ(after.ranks_size(), 2);
  const v1::StatsOfRank& a = after.ranks(0);
  const v1::StatsOfRank& b = after.ranks(1);
  const double wall_ms = seconds / steps * 1e3;
  const double between_ms = wall_ms - std::max(a.step_ms(), b.step_ms());
  const double collective_ms = std::min(a.collective_ms(), b.collective_ms());
  const double sampling_ms = std::max(a.sampling_ms(), b.sampling_ms());
  const auto percent = [wall_ms](double ms) { return 100 * ms / wall_ms; };
  std::printf(
      "%d streams, temperature %.1f, interval %s: step %.2f ms; between %.2f (%.1f %%), "
      "collectives %.2f (%.1f %%; the other rank %.2f), sampling %.2f (%.1f %%): "
      "%.1f %% in all; coordinator %.2f ms of processor (%.1f %% of two cores)\n",
      asked.batch, asked.temperature, asked.interval.c_str(), wall_ms, between_ms,
      percent(between_ms), collective_ms, percent(collective_ms),
      std::max(a.collective_ms(), b.collective_ms()), sampling_ms, percent(sampling_ms),
      percent(between_ms + collective_ms + sampling_ms), coordinator_ms,
      percent(coordinator_ms) / 2);
}

int Run(const Asked& asked) {
  const test::TempFolder folder;
  folder.Write("config.json", kConfig);
  folder.Write("tokenizer.json", fakes::TinyTokenizerJson());
  WriteWeights(folder.path() + "/model.safetensors");
  fakes::Program service(
      {OCTET_BIN_DIR "/octet", "serve", folder.path(), "--tp", "2", "--threads", "1", "--weights",
       "int4", "--kv", "int8", "--grpc", "127.0.0.1:0", "--max-num-seqs",
       std::to_string(asked.batch), "--max-model-len", "1024", "--stream-interval", asked.interval},
      {});
  const std::string line = service.WaitLine("ready: gRPC on 127.0.0.1:", kStartSecondsMax);
  const size_t at = line.rfind("127.0.0.1:");
  if (line.empty()) {
    std::fprintf(stderr, "%s\n", service.output().c_str());
    return 1;
  }
  Measure(line.substr(at, line.find_first_not_of("0123456789.:", at) - at), service.pid(), asked);
  return 0;
}

}  // namespace
}  // namespace octet

int main(int argc, char** argv) {
  octet::Asked asked;
  if (argc > 1) asked.batch = std::atoi(argv[1]);
  if (argc > 2) asked.temperature = static_cast<float>(std::atof(argv[2]));
  if (argc > 3) asked.interval = argv[3];
  return octet::Run(asked);
}
