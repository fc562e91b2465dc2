// What a decode step of a real service takes beside the model: the coordinator and its link, MPI
// and sampling, as shares of the step's wall time on the critical path. `octet serve` with two CPU
// ranks of one thread, a made-up checkpoint of llama-1b's shape, int4 weights and an int8 cache.
//
//   octet_step_share_bench [BATCH [TEMPERATURE [STREAM_INTERVAL [CLIENT_REST_MS [CONNECTIONS
//                          [BIN]]]]]]
//
// The clients are in this program, on the ranks' and the coordinator's own cores, and whatever runs
// there is in all the times. A client of a real service is elsewhere, so they take as little as
// they can (patient_streams.h): one thread of low priority reads all connections, then rests for
// CLIENT_REST_MS. 0: a thread a client that reads at once. Each has a connection of its own unless
// told otherwise. The coordinator runs as it always does, and all it does is counted.
// BIN is a folder with another build's octet and octet-worker.
//
// A step's wall time is that between results. Of it: `between`, when no rank computes (a plan on
// its way); collectives of the rank that waits least for the others; sampling of the rank that
// takes longest for it. The rest is the model's own work. `by rank`: of each, all of a step's time
// that is not the model's; what keeps one rank from its step while the other waits for it in a
// collective is in neither the first nor the second of the three above, but it is here. The second
// line is the kernel's count.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "tests/bench/patient_streams.h"
#include "tests/bench/process_load.h"
#include "tests/bench/token_streams.h"
#include "tests/coordinator/support/program.h"
#include "tests/coordinator/support/tiny_model.h"
#include "tests/support/temp_folder.h"

namespace octet {
namespace {

constexpr double kStartSecondsMax = 60;
// The means of the ranks are of the ten seconds that end with their last heartbeats, which are a
// quarter of a second old in the middle. Their mean over three such windows is taken.
constexpr double kWindowSeconds = 10, kHeartbeatAgeSeconds = 0.25;
constexpr int kWindows = 3;
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
  int client_rest_ms = 500;
  int connections = 32;
  std::string bin = OCTET_BIN_DIR;
};

// The calls of all clients, each on its way when this is.
class Clients {
 public:
  Clients(const std::string& address, const Asked& asked) : rest_(asked.client_rest_ms) {
    const auto channels = Connections(address, asked.connections);
    if (rest_.count() > 0) {
      patient_.emplace(channels, asked.batch, kAnswerTokens, asked.temperature);
      return;
    }
    for (int i = 0; i < asked.batch; ++i)
      prompt_.push_back(std::make_unique<Stream>(channels[static_cast<size_t>(i) % channels.size()],
                                                 i, kAnswerTokens, asked.temperature));
  }
  int started() const {
    if (patient_.has_value()) return patient_->started();
    return static_cast<int>(
        std::count_if(prompt_.begin(), prompt_.end(), [](auto& s) { return s->tokens() > 0; }));
  }
  void Rest() {
    if (patient_.has_value()) patient_->SetRest(rest_);
  }

 private:
  const PatientStreams::Rest rest_;
  std::optional<PatientStreams> patient_;
  std::vector<std::unique_ptr<Stream>> prompt_;
};

// What the kernel counts of the coordinator, the two ranks, this program with its clients, and of
// whatever else runs on this machine.
struct Cores {
  std::chrono::steady_clock::time_point time;
  double idle_ms;
  std::vector<Load> loads;

  static Cores Of(pid_t coordinator) {
    Cores cores{std::chrono::steady_clock::now(), IdleMs(), {}};
    for (const pid_t rank : Descendants(coordinator, "octet-worker"))
      cores.loads.push_back(Load::Of(rank));
    OCTET_CHECK_EQ(cores.loads.size(), size_t{2});
    cores.loads.push_back(Load::Of(coordinator));
    cores.loads.push_back(Load::Of(getpid()));
    return cores;
  }

  void PrintSince(const Cores& before, double steps) const {
    const char* const names[] = {"a rank", "the other", "coordinator", "clients"};
    double others_ms = std::chrono::duration<double, std::milli>(time - before.time).count() *
                           static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)) -
                       (idle_ms - before.idle_ms);
    std::printf("  ms a step on a core, and ready without one (times taken off):");
    for (size_t i = 0; i < loads.size(); ++i) {
      const Load load = loads[i] - before.loads[i];
      others_ms -= load.run_ms;
      std::printf(" %s %.2f and %.2f (%.1f),", names[i], load.run_ms / steps, load.delay_ms / steps,
                  static_cast<double>(load.stops) / steps);
    }
    std::printf(" all else %.2f; idle %.2f\n", others_ms / steps,
                (idle_ms - before.idle_ms) / steps);
  }
};

// The step that has just ended, and when: a wall time from one such moment to another is one of
// whole steps.
struct StepEnd {
  std::chrono::steady_clock::time_point time;
  int64_t steps;

  static StepEnd Next(v1::Generation::Stub* stub) {
    const int64_t before = Stats(stub).steps();
    for (;;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const int64_t steps = Stats(stub).steps();
      if (steps != before) return {std::chrono::steady_clock::now(), steps};
    }
  }
};

// Of a step of one rank, in milliseconds.
struct RankTimes {
  double step = 0, collective = 0, sampling = 0;
  double model() const { return step - collective - sampling; }
};

// The means of both ranks over kWindows, which take kWindows * kWindowSeconds from now.
std::array<RankTimes, 2> MeasureRanks(v1::Generation::Stub* stub, const Asked& asked) {
  std::array<RankTimes, 2> means;
  for (int window = 0; window < kWindows; ++window) {
    const double late = window == 0 ? kHeartbeatAgeSeconds : 0;
    std::this_thread::sleep_for(std::chrono::duration<double>(kWindowSeconds + late));
    const v1::GetStatsResponse stats = Stats(stub);
    OCTET_CHECK_EQ(stats.requests_running(), int64_t{asked.batch});  // to the end
    OCTET_CHECK_EQ(stats.ranks_size(), 2);
    for (int r = 0; r < 2; ++r) {
      const v1::StatsOfRank& rank = stats.ranks(r);
      RankTimes& mean = means[static_cast<size_t>(r)];
      mean.step += rank.step_ms() / kWindows;
      mean.collective += rank.collective_ms() / kWindows;
      mean.sampling += rank.sampling_ms() / kWindows;
    }
  }
  return means;
}

void Measure(const std::string& address, pid_t coordinator, const Asked& asked) {
  const auto channel = Connect(address);
  const auto stub = v1::Generation::NewStub(channel);
  Clients clients(address, asked);
  while (clients.started() < asked.batch) {
    OCTET_CHECK(fakes::IsAlive(coordinator));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  clients.Rest();
  std::this_thread::sleep_for(std::chrono::duration<double>(2 * kHeartbeatAgeSeconds));
  const StepEnd start = StepEnd::Next(stub.get());
  const Cores before = Cores::Of(coordinator);
  const double processor_before = CpuSeconds(coordinator);
  const auto [a, b] = MeasureRanks(stub.get(), asked);
  const double coordinator_seconds = CpuSeconds(coordinator) - processor_before;
  const Cores cores_after = Cores::Of(coordinator);
  const StepEnd end = StepEnd::Next(stub.get());

  const auto steps = static_cast<double>(end.steps - start.steps);
  const std::chrono::duration<double, std::milli> wall = end.time - start.time;
  const std::chrono::duration<double, std::milli> counted = cores_after.time - before.time;
  const double wall_ms = wall.count() / steps;
  const double coordinator_ms = coordinator_seconds * 1e3 / (counted.count() / wall_ms);
  const double between_ms = wall_ms - std::max(a.step, b.step);
  const double collective_ms = std::min(a.collective, b.collective);
  const double sampling_ms = std::max(a.sampling, b.sampling);
  const auto percent = [wall_ms](double ms) { return 100 * ms / wall_ms; };
  std::printf(
      "%d streams over %d, temperature %.1f, interval %s: step %.2f ms; between %.2f (%.1f %%), "
      "collectives %.2f (%.1f %%; the other rank %.2f), sampling %.2f (%.1f %%): "
      "%.1f %% in all, by rank %.1f and %.1f %%; coordinator %.2f ms of processor (%.1f %% of two "
      "cores)\n",
      asked.batch, asked.connections, asked.temperature, asked.interval.c_str(), wall_ms,
      between_ms, percent(between_ms), collective_ms, percent(collective_ms),
      std::max(a.collective, b.collective), sampling_ms, percent(sampling_ms),
      percent(between_ms + collective_ms + sampling_ms), percent(wall_ms - a.model()),
      percent(wall_ms - b.model()), coordinator_ms, percent(coordinator_ms) / 2);
  cores_after.PrintSince(before, counted.count() / wall_ms);
}

int Run(const Asked& asked) {
  const test::TempFolder folder;
  folder.Write("config.json", kConfig);
  folder.Write("tokenizer.json", fakes::TinyTokenizerJson());
  WriteWeights(folder.path() + "/model.safetensors");
  fakes::Program service(
      {asked.bin + "/octet", "serve", folder.path(), "--tp", "2", "--threads", "1", "--weights",
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
  if (argc > 4) asked.client_rest_ms = std::atoi(argv[4]);
  asked.connections = argc > 5 ? std::atoi(argv[5]) : asked.batch;
  if (argc > 6) asked.bin = argv[6];
  return octet::Run(asked);
}
